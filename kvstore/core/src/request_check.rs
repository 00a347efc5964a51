//! What can be refused without looking at the state (etcd `server/etcdserver/api/v3rpc/key.go`).

use crate::key_range::KeyRange;
use crate::refusal::Refusal;
use bytes::Bytes;
use proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use proto::etcdserverpb::{DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, request_op};
use std::collections::BTreeSet;

/// # Errors
/// [`Refusal::EmptyKey`], [`Refusal::InvalidSortOption`].
pub fn check_range(request: &RangeRequest) -> Result<(), Refusal> {
    if request.key.is_empty() {
        return Err(Refusal::EmptyKey);
    }
    SortOrder::try_from(request.sort_order).map_err(|_| Refusal::InvalidSortOption)?;
    SortTarget::try_from(request.sort_target).map_err(|_| Refusal::InvalidSortOption)?;
    Ok(())
}

/// # Errors
/// [`Refusal::EmptyKey`], [`Refusal::ValueProvided`], [`Refusal::LeaseProvided`].
pub fn check_put(request: &PutRequest) -> Result<(), Refusal> {
    if request.key.is_empty() {
        return Err(Refusal::EmptyKey);
    }
    if request.ignore_value && !request.value.is_empty() {
        return Err(Refusal::ValueProvided);
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(Refusal::LeaseProvided);
    }
    Ok(())
}

/// # Errors
/// [`Refusal::EmptyKey`].
pub fn check_delete(request: &DeleteRangeRequest) -> Result<(), Refusal> {
    if request.key.is_empty() {
        return Err(Refusal::EmptyKey);
    }
    Ok(())
}

/// Checks a transaction and all that's nested in it: at most `max_ops` operations in the longest list
/// (nested ones get what is left), and no key written twice by one branch.
///
/// # Errors
/// [`Refusal::TooManyOps`], [`Refusal::DuplicateKey`], or what is wrong with an operation.
pub fn check_txn(request: &TxnRequest, max_ops: usize) -> Result<(), Refusal> {
    check_ops(request, max_ops)?;
    writes(&request.success)?;
    writes(&request.failure)?;
    Ok(())
}

fn check_ops(request: &TxnRequest, max_ops: usize) -> Result<(), Refusal> {
    let longest = request
        .compare
        .len()
        .max(request.success.len())
        .max(request.failure.len());
    let left = max_ops.checked_sub(longest).ok_or(Refusal::TooManyOps)?;
    if request.compare.iter().any(|compare| compare.key.is_empty()) {
        return Err(Refusal::EmptyKey);
    }
    for op in request.success.iter().chain(&request.failure) {
        match &op.request {
            Some(request_op::Request::RequestRange(range)) => check_range(range)?,
            Some(request_op::Request::RequestPut(put)) => check_put(put)?,
            Some(request_op::Request::RequestDeleteRange(delete)) => check_delete(delete)?,
            Some(request_op::Request::RequestTxn(txn)) => check_ops(txn, left)?,
            None => return Err(Refusal::KeyNotFound),
        }
    }
    Ok(())
}

/// What a branch may write, whichever way its nested transactions go.
struct Writes {
    puts: BTreeSet<Bytes>,
    deletes: Vec<KeyRange>,
}

impl Writes {
    fn deletes(&self, key: &[u8]) -> bool {
        self.deletes.iter().any(|range| range.contains(key))
    }
}

/// etcd's `checkIntervals`, but for one thing: etcd takes a delete with an open end for an empty one here and
/// so lets a key be written twice in a revision. A key is put at most once and no put meets a delete. The two branches of one
/// nested transaction exclude each other, so both may put the same key.
fn writes(ops: &[RequestOp]) -> Result<Writes, Refusal> {
    let mut all = Writes {
        puts: BTreeSet::new(),
        deletes: Vec::new(),
    };
    for op in ops {
        if let Some(request_op::Request::RequestDeleteRange(delete)) = &op.request {
            all.deletes
                .push(KeyRange::new(delete.key.clone(), delete.range_end.clone()));
        }
    }
    for op in ops {
        let Some(request_op::Request::RequestTxn(txn)) = &op.request else {
            continue;
        };
        let then = writes(&txn.success)?;
        let otherwise = writes(&txn.failure)?;
        for key in &then.puts {
            if all.puts.contains(key) || all.deletes(key) {
                return Err(Refusal::DuplicateKey);
            }
        }
        for key in &otherwise.puts {
            if all.puts.contains(key) || all.deletes(key) {
                return Err(Refusal::DuplicateKey);
            }
        }
        all.puts.extend(then.puts);
        all.puts.extend(otherwise.puts);
        all.deletes.extend(then.deletes);
        all.deletes.extend(otherwise.deletes);
    }
    for op in ops {
        if let Some(request_op::Request::RequestPut(put)) = &op.request
            && (all.deletes(&put.key) || !all.puts.insert(put.key.clone()))
        {
            return Err(Refusal::DuplicateKey);
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::check_txn;
    use crate::refusal::Refusal;
    use bytes::Bytes;
    use proto::etcdserverpb::request_op::Request;
    use proto::etcdserverpb::{DeleteRangeRequest, PutRequest, RequestOp, TxnRequest};

    fn put(key: &'static str) -> RequestOp {
        op(Request::RequestPut(PutRequest {
            key: Bytes::from_static(key.as_bytes()),
            ..PutRequest::default()
        }))
    }

    fn delete(key: &'static str, end: &'static str) -> RequestOp {
        op(Request::RequestDeleteRange(DeleteRangeRequest {
            key: Bytes::from_static(key.as_bytes()),
            range_end: Bytes::from_static(end.as_bytes()),
            prev_kv: false,
        }))
    }

    fn op(request: Request) -> RequestOp {
        RequestOp {
            request: Some(request),
        }
    }

    fn txn(success: Vec<RequestOp>, failure: Vec<RequestOp>) -> TxnRequest {
        TxnRequest {
            compare: Vec::new(),
            success,
            failure,
        }
    }

    fn nested(success: Vec<RequestOp>, failure: Vec<RequestOp>) -> RequestOp {
        op(Request::RequestTxn(txn(success, failure)))
    }

    #[test]
    fn a_branch_puts_a_key_at_most_once_and_never_beside_a_delete_of_it() {
        let refused = [
            vec![put("a"), put("a")],
            vec![put("a"), delete("a", "")],
            vec![delete("a", "c"), put("b")],
            vec![nested(vec![put("a")], vec![]), put("a")],
            vec![nested(vec![put("a")], vec![]), nested(vec![], vec![put("a")])],
            vec![nested(vec![delete("a", "\0")], vec![]), put("b")],
        ];
        for ops in refused {
            assert_eq!(check_txn(&txn(vec![], ops), 128), Err(Refusal::DuplicateKey));
        }
        let allowed = [
            vec![delete("a", "c"), delete("a", "b"), put("c")],
            vec![nested(vec![put("a")], vec![put("a")])],
        ];
        for ops in allowed {
            assert_eq!(check_txn(&txn(ops, vec![]), 128), Ok(()));
        }
    }

    #[test]
    fn nested_transactions_share_the_limit() {
        let inner = || nested(vec![put("x"), put("y")], vec![]);
        assert_eq!(check_txn(&txn(vec![inner(), put("a")], vec![]), 4), Ok(()));
        assert_eq!(
            check_txn(&txn(vec![inner(), put("a")], vec![]), 3),
            Err(Refusal::TooManyOps)
        );
        assert_eq!(
            check_txn(&txn(vec![RequestOp { request: None }], vec![]), 3),
            Err(Refusal::KeyNotFound)
        );
    }
}
