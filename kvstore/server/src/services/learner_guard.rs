//! What a learner serves: it may be far behind, and has no say (etcd
//! `server/etcdserver/api/v3rpc/{interceptor,util}.go`).

use crate::consensus::Consensus;
use crate::status;
use tonic::Status;

/// What a learner answers; the two in the middle look at the request themselves.
const SERVED: [&str; 4] = [
    "/etcdserverpb.Maintenance/Status",
    "/etcdserverpb.KV/Range",
    "/etcdserverpb.Cluster/MemberList",
    "/etcdserverpb.Maintenance/Snapshot",
];
const HEALTH: &str = "/grpc.health.v1.Health/";

/// Refuses calls while this member is a learner.
#[derive(Clone)]
pub struct LearnerGuard {
    consensus: Consensus,
}

impl LearnerGuard {
    pub fn new(consensus: Consensus) -> Self {
        Self { consensus }
    }

    /// # Errors
    /// When a learner doesn't serve what is called by this path, and this member is one.
    pub fn check(&self, path: &str) -> Result<(), Status> {
        if SERVED.contains(&path) || path.starts_with(HEALTH) || !self.consensus.is_learner(self.consensus.id)
        {
            return Ok(());
        }
        Err(status::not_for_learners())
    }
}
