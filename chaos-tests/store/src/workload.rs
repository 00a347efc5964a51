//! What clients do, in the two manners that matter, and what keeps the store moving meanwhile.
//!
//! Every written value is unique, so that a write can be told from any other wherever it shows up.

mod etcd_user;
mod kubernetes_user;
mod lease_holder;
mod operator;
mod prober;
mod replacer;
mod watcher;

pub use etcd_user::etcd_user;
pub use kubernetes_user::kubernetes_user;
pub use lease_holder::lease_holder;
pub use operator::{Duties, operator};
pub use prober::prober;
pub use replacer::replacer;
pub use watcher::{recorder, watcher};

use bytes::Bytes;
use proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use proto::etcdserverpb::{Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, request_op};

/// The keys of etcd-shaped clients.
pub const PLAIN: &str = "plain/";
/// The keys of Kubernetes-shaped clients.
pub const OBJECTS: &str = "/registry/things/";
/// The keys that are attached to leases.
pub const LEASED: &str = "leased/";

/// The end of the range of all keys that begin with `prefix`.
pub fn prefix_end(prefix: &str) -> Bytes {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end.into()
}

fn range(key: impl Into<Bytes>) -> RangeRequest {
    RangeRequest {
        key: key.into(),
        ..RangeRequest::default()
    }
}

fn range_op(range: RangeRequest) -> RequestOp {
    RequestOp {
        request: Some(request_op::Request::RequestRange(range)),
    }
}

fn put_op(put: PutRequest) -> RequestOp {
    RequestOp {
        request: Some(request_op::Request::RequestPut(put)),
    }
}

fn delete_op(key: impl Into<Bytes>) -> RequestOp {
    RequestOp {
        request: Some(request_op::Request::RequestDeleteRange(DeleteRangeRequest {
            key: key.into(),
            ..DeleteRangeRequest::default()
        })),
    }
}

fn mod_revision_is(key: impl Into<Bytes>, revision: i64) -> Compare {
    Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Mod.into(),
        key: key.into(),
        target_union: Some(TargetUnion::ModRevision(revision)),
        ..Compare::default()
    }
}
