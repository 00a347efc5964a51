//! The gRPC services of a member: etcd v3 for clients, and the leader's for followers.

mod auth;
mod caller;
mod cluster;
mod contest;
mod downgrade;
mod election;
mod encoded;
mod integrity;
mod kv;
mod kv_range;
mod kv_stream;
mod leader;
mod learner_guard;
mod lease;
mod lock;
mod maintenance;
mod reply;
mod snapshot_stream;
mod watch;

pub use auth::AuthService;
pub use cluster::ClusterService;
pub use election::ElectionService;
pub use encoded::Encoded;
pub use integrity::IntegrityService;
pub use kv::KvService;
pub use kv_range::{PATH as RANGE_PATH, RangeMethod};
pub use leader::LeaderService;
pub use learner_guard::LearnerGuard;
pub use lease::LeaseService;
pub use lock::LockService;
pub use maintenance::MaintenanceService;
pub use reply::{decode_reply, encode_reply};
pub use watch::{PATH as WATCH_PATH, WatchMethod};

use crate::auth::{Access, Settings};
use crate::config::MemberConfig;
use crate::consensus::Consensus;
use crate::quota::Quota;
use crate::read_barrier::ReadBarrier;
use crate::reclaimer::Reclaimer;
use crate::status;
use crate::store::Store;
use kvstore_core::Refusal;
use snapshot_stream::Snapshots;
use std::sync::Arc;
use std::time::Duration;
use support::Random;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status};

/// The etcd version that clients see. Kubernetes asks for watch progress only from versions it trusts
/// (3.4.31 on, 3.5.13 on).
pub const ETCD_VERSION: &str = "3.6.5";
/// The version of etcd's data that this store's is a match for.
pub const STORAGE_VERSION: &str = "3.6.0";

/// Election timeouts without a leader before a stream that requires one ends.
const LEADER_PATIENCE: u32 = 3;

/// Minor version of the cluster, as etcd tells it (`3.6`): that of its members, which are all of one version.
pub fn cluster_version() -> &'static str {
    ETCD_VERSION
        .rsplit_once('.')
        .map_or(ETCD_VERSION, |(minor, _patch)| minor)
}

/// What every service needs.
#[derive(Clone)]
pub struct Shared {
    pub store: Arc<Store>,
    pub consensus: Consensus,
    pub barrier: ReadBarrier,
    pub access: Access,
    pub random: Random,
    pub max_txn_ops: usize,
    pub max_request_bytes: usize,
    pub progress_interval: Duration,
    pub election: Duration,
    pub quota: Quota,
    pub reclaimer: Reclaimer,
    /// Asks the leader's check to hurry.
    pub check_soon: Arc<Notify>,
    pub snapshots: Snapshots,
    /// Ends the streams when the member stops.
    pub cancel: CancellationToken,
}

impl Shared {
    pub fn new(
        config: &MemberConfig,
        store: Arc<Store>,
        consensus: Consensus,
        barrier: ReadBarrier,
        auth: Arc<Settings>,
        random: Random,
        cancel: CancellationToken,
    ) -> Self {
        Self {
            quota: Quota::new(config.quota_bytes, Arc::clone(&store), consensus.clone()),
            reclaimer: Reclaimer::new(Arc::clone(store.engine()), cancel.clone()),
            check_soon: Arc::default(),
            snapshots: Snapshots::new(Arc::clone(&store), &config.data_dir, cancel.clone()),
            access: Access::new(auth, Arc::clone(&store), barrier.clone()),
            store,
            consensus,
            barrier,
            random,
            max_txn_ops: config.max_txn_ops,
            max_request_bytes: config.max_request_bytes,
            progress_interval: config.progress_interval,
            election: config.election_max,
            cancel,
        }
    }

    /// Whether this member must not serve, because what it holds is wrong.
    pub fn is_stopped(&self) -> bool {
        self.store.alarms.stops(self.consensus.id)
    }

    /// Refuses what a corrupt member must not serve, and a request that must not be served without a leader
    /// when there is none.
    fn check_leader<T>(&self, request: &Request<T>) -> Result<(), Status> {
        if self.is_stopped() {
            return Err(status::refused(Refusal::Corrupt));
        }
        if requires_leader(request) && self.consensus.leader_in_touch().is_none() {
            return Err(status::no_leader());
        }
        Ok(())
    }

    /// Ends when this member has been without a leader for three election timeouts, if the client of a stream
    /// `requires` one (etcd `server/etcdserver/api/v3rpc/interceptor.go`, `monitorLeader`).
    async fn lost_leader(&self, requires: bool) {
        if !requires {
            return std::future::pending().await;
        }
        let mut missing = 0;
        while missing < LEADER_PATIENCE {
            tokio::time::sleep(self.election).await;
            missing = match self.consensus.leader_in_touch() {
                Some(_) => 0,
                None => missing + 1,
            };
        }
    }

    /// Refuses what a learner doesn't serve, because it may be far behind.
    fn check_voter(&self) -> Result<(), Status> {
        if self.consensus.is_learner(self.consensus.id) {
            return Err(status::not_for_learners());
        }
        Ok(())
    }

    fn check_size(&self, message: &impl prost::Message) -> Result<(), Status> {
        if message.encoded_len() > self.max_request_bytes {
            return Err(status::too_large());
        }
        Ok(())
    }
}

/// Whether the client asked to be served only by a member that knows a leader.
fn requires_leader<T>(request: &Request<T>) -> bool {
    request
        .metadata()
        .get("hasleader")
        .is_some_and(|value| value == "true")
}
