//! The replicated command: etcd's `InternalRaftRequest`, so that what is in the log keeps its meaning
//! across releases.

use proto::etcdserverpb::{InternalRaftRequest, TxnRequest, request_op};

/// One entry of the log, decoded.
pub type Command = InternalRaftRequest;

/// Whether a transaction can be answered without the log: ranges only (etcd `isTxnReadonly`; it takes
/// every nested transaction for a write).
pub fn is_read_only(txn: &TxnRequest) -> bool {
    txn.success
        .iter()
        .chain(&txn.failure)
        .all(|op| matches!(op.request, Some(request_op::Request::RequestRange(_))))
}
