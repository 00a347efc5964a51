//! All controllers of one process, behind one election.

use crate::config::Config;
use crate::runner::{Controller, Executor, Fence, Informers, Runner};
use futures::future::BoxFuture;
use futures::future::join_all;
use kubeclient::{ClientError, EventRecorder, LeaderElection};
use std::sync::Arc;
use support::Env;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// A new leader that acts on its caches as they are; see `Env::sabotage`.
const TRUSTS_WARM_CACHES: &str = "trusts-warm-caches";

/// The component: `ControllerManager::new(config, env)?.run(cancel)`.
pub struct ControllerManager {
    config: Config,
    env: Env,
    client: kube::Client,
}

impl ControllerManager {
    /// # Errors
    /// When the client configuration can't be used.
    pub fn new(config: Config, env: Env) -> Result<Self, ClientError> {
        let client = kubeclient::client(&env, &config.client)?;
        Ok(Self { config, env, client })
    }

    /// As [`ControllerManager::new`] with a client made elsewhere.
    pub fn with_client(config: Config, env: Env, client: kube::Client) -> Self {
        Self { config, env, client }
    }

    /// Keeps caches warm, campaigns, and controls whenever it leads; returns after `cancel`, with the lease released.
    /// Boxed, so that the machine code of it all is made in this crate, and not again in every program and test
    /// that runs one.
    pub fn run(self, cancel: CancellationToken) -> BoxFuture<'static, ()> {
        Box::pin(self.stand_by(cancel))
    }

    async fn stand_by(self, cancel: CancellationToken) {
        let informers = Arc::new(Informers::new(self.client.clone(), &self.env));
        let controllers = crate::registry::controllers(&self.config, &self.env, &self.client, &informers);
        let events = EventRecorder::new(self.client.clone(), &self.env, "kube-controller-manager", None);
        let executor = Arc::new(Executor::new(self.client.clone(), events, self.env.sabotage));
        let runners: Vec<Arc<Runner>> = controllers
            .into_iter()
            .map(|controller: Arc<dyn Controller>| {
                Arc::new(Runner::new(
                    controller,
                    Arc::clone(&executor),
                    Arc::clone(&informers),
                    &self.env,
                ))
            })
            .collect();
        let _dispatchers = informers.start();
        let Some(election) = self.config.leader_election.clone() else {
            informers.synced().await;
            tokio::select! {
                biased;
                () = cancel.cancelled() => {}
                () = work(&runners, Fence::Open) => {}
            }
            return;
        };
        let election = LeaderElection::new(self.client.clone(), election, &self.env);
        election
            .run(&cancel, |leadership| {
                let (informers, runners) = (Arc::clone(&informers), runners.clone());
                let trusting = self.env.sabotage.is(TRUSTS_WARM_CACHES);
                async move {
                    informers.synced().await;
                    if !trusting {
                        // The caches may lag behind the leader before, and not all alike: a plan could see the owner
                        // after, and its pods before, what that leader wrote.
                        informers.refreshed().await;
                    }
                    informers.replay();
                    work(&runners, Fence::Leader(leadership)).await;
                }
            })
            .await;
    }
}

/// Runs all controllers until dropped.
async fn work(runners: &[Arc<Runner>], fence: Fence) {
    let tasks = runners.iter().map(|runner| {
        let (runner, fence) = (Arc::clone(runner), fence.clone());
        AbortOnDropHandle::new(tokio::spawn(async move { runner.run(fence).await }))
    });
    join_all(tasks.collect::<Vec<_>>()).await;
}
