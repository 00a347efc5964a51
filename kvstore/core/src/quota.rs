//! What a request costs against the quota (etcd `server/storage/quota.go`).

use proto::etcdserverpb::{PutRequest, RequestOp, TxnRequest, request_op};

/// What a key takes beside its bytes.
const KEY_OVERHEAD: u64 = 256;
/// What a lease takes.
pub const LEASE_COST: u64 = 64;

pub fn put_cost(request: &PutRequest) -> u64 {
    KEY_OVERHEAD + (request.key.len() + request.value.len()) as u64
}

/// The dearer of the two branches; 0 when neither puts anything.
pub fn txn_cost(request: &TxnRequest) -> u64 {
    branch_cost(&request.success).max(branch_cost(&request.failure))
}

fn branch_cost(ops: &[RequestOp]) -> u64 {
    ops.iter()
        .map(|op| match &op.request {
            Some(request_op::Request::RequestPut(put)) => put_cost(put),
            Some(request_op::Request::RequestTxn(txn)) => txn_cost(txn),
            _ => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::{put_cost, txn_cost};
    use proto::etcdserverpb::{DeleteRangeRequest, PutRequest, RequestOp, TxnRequest, request_op};

    fn put(bytes: usize) -> PutRequest {
        PutRequest {
            key: "k".into(),
            value: vec![0; bytes].into(),
            ..PutRequest::default()
        }
    }

    fn op(request: request_op::Request) -> RequestOp {
        RequestOp {
            request: Some(request),
        }
    }

    #[test]
    fn a_transaction_costs_its_dearer_branch_with_what_is_nested() {
        assert_eq!(put_cost(&put(43)), 300);
        let nested = TxnRequest {
            failure: vec![op(request_op::Request::RequestPut(put(243)))],
            ..TxnRequest::default()
        };
        let txn = TxnRequest {
            success: vec![
                op(request_op::Request::RequestPut(put(43))),
                op(request_op::Request::RequestTxn(nested)),
            ],
            failure: vec![op(request_op::Request::RequestPut(put(743)))],
            ..TxnRequest::default()
        };
        assert_eq!(txn_cost(&txn), 1000);
        let only_deletes = TxnRequest {
            success: vec![op(request_op::Request::RequestDeleteRange(
                DeleteRangeRequest::default(),
            ))],
            ..TxnRequest::default()
        };
        assert_eq!(txn_cost(&only_deletes), 0);
    }
}
