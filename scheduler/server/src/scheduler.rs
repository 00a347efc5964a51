//! The component: it watches from the start and decides while it leads.

use crate::leading::Leading;
use crate::watches::Watches;
use futures::future::BoxFuture;
use kubeclient::{EventRecorder, LeaderElection, LeaderElectionConfig};
use support::Env;
use tokio_util::sync::CancellationToken;

/// What a scheduler needs to know.
#[derive(Clone)]
pub struct SchedulerConfig {
    pub client: kube::Client,
    /// Who this candidate is, such as the node's name.
    pub identity: String,
    /// Pods with this `spec.schedulerName` are ours.
    pub scheduler_name: String,
}

impl SchedulerConfig {
    /// The default scheduler.
    pub fn new(client: kube::Client, identity: &str) -> Self {
        Self {
            client,
            identity: identity.to_owned(),
            scheduler_name: "default-scheduler".to_owned(),
        }
    }
}

pub struct Scheduler {
    config: SchedulerConfig,
    env: Env,
}

impl Scheduler {
    pub fn new(config: SchedulerConfig, env: Env) -> Self {
        Self { config, env }
    }

    /// Stands by and schedules whenever it leads, until cancelled; then releases the lease. Boxed, so that the machine
    /// code of it all is made in this crate, and not again in every program and test that runs one.
    pub fn run(self, cancel: CancellationToken) -> BoxFuture<'static, ()> {
        Box::pin(self.stand_by(cancel))
    }

    async fn stand_by(self, cancel: CancellationToken) {
        let Self { config, env } = self;
        let watches = Watches::start(&config.client, &env);
        let events = EventRecorder::new(config.client.clone(), &env, &config.scheduler_name, None);
        let election = LeaderElection::new(
            config.client.clone(),
            LeaderElectionConfig::new("kube-scheduler", &config.identity),
            &env,
        );
        election
            .run(&cancel, |leadership| {
                let leading = Leading::new(&config, &env, &watches, events.clone(), leadership);
                leading.run()
            })
            .await;
    }
}
