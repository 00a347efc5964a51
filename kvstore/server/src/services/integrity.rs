//! What members tell each other of what they hold.

use super::Shared;
use crate::checkpoints::Checkpoint;
use kvstore_core::STATE_HASH_DEFINITION;
use proto::raftpb::state_hash_response::Progress;
use proto::raftpb::{StateHashRequest, StateHashResponse, integrity_server};
use tonic::{Request, Response, Status};

/// The peer protocol's Integrity service.
#[derive(Clone)]
pub struct IntegrityService {
    shared: Shared,
}

impl IntegrityService {
    pub fn new(shared: Shared) -> Self {
        Self { shared }
    }
}

#[tonic::async_trait]
impl integrity_server::Integrity for IntegrityService {
    async fn state_hash(
        &self,
        request: Request<StateHashRequest>,
    ) -> Result<Response<StateHashResponse>, Status> {
        let store = &self.shared.store;
        let applied = store.applied.get();
        let (progress, hash) = match store.checkpoints.look(request.into_inner().index, applied) {
            Checkpoint::Pending => (Progress::Pending, 0),
            Checkpoint::Hash(hash) => (Progress::Done, hash),
            Checkpoint::Unknown => (Progress::Unknown, 0),
        };
        Ok(Response::new(StateHashResponse {
            progress: progress as i32,
            hash,
            definition: STATE_HASH_DEFINITION,
        }))
    }
}
