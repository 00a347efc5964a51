//! Lock: whoever holds a name, by a lease (etcd `server/etcdserver/api/v3lock`).
//!
//! A lock is no more than a hint, as in etcd: a holder whose lease has run out isn't stopped. What must not
//! happen twice is fenced by the revision at which the key was created.

use super::caller::Caller;
use super::contest::{self, Entry};
use crate::local::Local;
use crate::status;
use bytes::Bytes;
use proto::v3lockpb::{LockRequest, LockResponse, UnlockRequest, UnlockResponse, lock_server};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

/// etcd's Lock service, built on KV, Watch and Lease.
#[derive(Clone)]
pub struct LockService {
    services: Local,
    cancel: CancellationToken,
}

impl LockService {
    pub fn new(services: Local, cancel: CancellationToken) -> Self {
        Self { services, cancel }
    }
}

#[tonic::async_trait]
impl lock_server::Lock for LockService {
    async fn lock(&self, request: Request<LockRequest>) -> Result<Response<LockResponse>, Status> {
        let (caller, request) = Caller::of(&self.services, request);
        let entry = Entry {
            name: request.name,
            lease: request.lease,
            value: Bytes::new(),
        };
        let place = contest::enter(&caller, entry).await?;
        let held = contest::hold(caller, place, status::session_expired, self.cancel.clone()).await?;
        Ok(Response::new(LockResponse {
            header: held.header,
            key: held.key,
        }))
    }

    async fn unlock(&self, request: Request<UnlockRequest>) -> Result<Response<UnlockResponse>, Status> {
        let (caller, request) = Caller::of(&self.services, request);
        let deleted = caller.delete(request.key).await?;
        Ok(Response::new(UnlockResponse {
            header: deleted.header,
        }))
    }
}
