//! One address for several API servers, for clients that know only one: `kubectl` above all.
//!
//! - Bytes are passed on as they are: clients see the API server's own certificate, and it sees theirs.
//! - A new connection goes to a server that says it is ready. What a client has sent is kept until the server's first
//!   byte: one that refuses, hangs up or stays silent before that has seen no request, and another one is asked instead, or the
//!   same one again for a while.
//! - Connections to a server that answers nothing any more are ended, so that clients connect anew.
//!
//! A request that was under way to a server that dies is lost to its client: what became of it nobody can know.

mod backends;
mod probe;
mod relay;

use crate::cli;
use crate::files;
use anyhow::Context as _;
use backends::Backends;
use probe::Prober;
use std::sync::Arc;
use std::time::Duration;
use support::Env;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Connections at a time: two descriptors each; further clients wait to be accepted.
const CONNECTIONS: usize = 4096;
/// Out of descriptors and the like: the next accept may work again.
const PAUSE: Duration = Duration::from_millis(50);

/// Balances until cancelled.
///
/// # Errors
/// When it can't listen, or the certificate can't be used.
pub async fn run(options: cli::Balancer, cancel: CancellationToken) -> anyhow::Result<()> {
    let env = Env::production();
    let ca_pem = files::read(&options.ca)?;
    let listener = env
        .net
        .listen(&options.listen)
        .await
        .with_context(|| format!("listening on {}", options.listen))?;
    let backends = Arc::new(Backends::new(options.servers));
    let mut probing = JoinSet::new();
    for number in 0..backends.len() {
        probing.spawn(Prober::new(&env, &ca_pem, &backends, number)?.run());
    }
    tracing::info!(listen = options.listen, servers = backends.len(), "balancing");
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let accepting = async {
        loop {
            let place = Arc::clone(&places).acquire_owned().await?;
            match listener.accept().await {
                Ok((client, _)) => {
                    let (env, backends) = (env.clone(), Arc::clone(&backends));
                    tokio::spawn(async move {
                        if let Err(error) = relay::relay(client, &env, &backends).await {
                            tracing::debug!(%error, "a connection ended");
                        }
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "accepting connections");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = cancel.cancelled() => Ok(()),
        ended = accepting => ended,
    }
}
