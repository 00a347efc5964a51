//! Nodes that only pretend: real agents inside this program, on the bridge, with a runtime that runs nothing.

use super::keys::Keys;
use crate::shell::run;
use chaos_store::Violation;
use chaos_store::history::now;
use chaos_tests::invariants::once_each;
use nodeagent_server::{FakeHost, FakeRuntime, NodeAgent, NodeAgentConfig};
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use support::Env;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The first node's address ends so; machines come before.
const FIRST: u8 = 101;

/// All agents; they end with this.
pub struct Nodes {
    runtimes: Vec<(&'static str, Arc<FakeRuntime>)>,
    agents: JoinSet<(&'static str, String)>,
}

impl Nodes {
    /// Starts an agent for each name.
    ///
    /// # Errors
    /// When an address or a certificate can't be made.
    pub fn start(
        names: &[&'static str],
        servers: &[String],
        (keys, folder): (&Keys, &Path),
        env: &dyn Fn() -> Env,
    ) -> anyhow::Result<Self> {
        let mut nodes = Self {
            runtimes: Vec::new(),
            agents: JoinSet::new(),
        };
        for (number, name) in (1_u8..).zip(names.iter().copied()) {
            let address = Ipv4Addr::new(10, 213, 0, FIRST + number);
            run(&format!("ip addr add {address}/24 dev stores"))?;
            let env = env();
            let runtime = FakeRuntime::new(Arc::clone(&env.clock), &format!("10.244.{number}"));
            let runtime = Arc::new(runtime);
            nodes.runtimes.push((name, Arc::clone(&runtime)));
            let (data, run) = (folder.join(name), folder.join(name).join("run"));
            let mut config = NodeAgentConfig::new(name, address.into(), data, run);
            config.api_servers = servers.to_vec();
            config.ca_pem = Some(keys.ca()?);
            config.identity = Some(keys.node(name, &env)?);
            let agent = NodeAgent::new(config, env, runtime, Arc::new(FakeHost::new(8, 16 << 30)));
            nodes.agents.spawn(async move {
                let ended = match agent.run(CancellationToken::new()).await {
                    Ok(()) => "without being asked".to_owned(),
                    Err(error) => format!("{error:#}"),
                };
                (name, ended)
            });
        }
        Ok(nodes)
    }

    /// Whether every agent still runs, and no pod runs twice.
    ///
    /// # Errors
    /// A violation, when not.
    pub fn look(&mut self) -> Result<(), Violation> {
        let ended = self.agents.try_join_next();
        if let Some(Ok((name, why))) = ended {
            return Err(Violation::crash(
                "an agent goes on",
                format!("{name} ended: {why}"),
            ));
        }
        let running = self
            .runtimes
            .iter()
            .map(|(name, runtime)| (*name, runtime.running()));
        once_each(running, now())
    }
}
