//! Transactions: choose the branches against the state before, then run them in order
//! (etcd `server/etcdserver/txn/txn.go`).

use crate::compare;
use crate::key_range::KeyRange;
use crate::lease;
use crate::meta::Meta;
use crate::mutation::Mutation;
use crate::overlay::Overlay;
use crate::range::{range, range_at};
use crate::read::{Read, Space};
use crate::refusal::{Error, Refusal};
use proto::etcdserverpb::{
    DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse, RangeRequest, RequestOp,
    ResponseHeader, ResponseOp, TxnRequest, TxnResponse, request_op, response_op,
};
use proto::mvccpb::Event;

/// Applies a transaction as one revision.
pub fn txn(state: &mut Overlay<'_>, request: &TxnRequest) -> Result<(TxnResponse, Vec<Event>), Error> {
    let chosen = Branch::choose(state, request)?;
    let meta = Meta::read(state)?;
    chosen.check_puts(state)?;
    chosen.check_ranges(meta)?;
    let mut mutation = Mutation::begin(state)?;
    let mut response = run(&mut mutation, meta, &chosen)?;
    let (revision, events) = mutation.finish();
    response.header = Some(header(revision));
    Ok((response, events))
}

/// Answers a transaction that only reads.
///
/// # Errors
/// As [`range`].
pub fn read_only_txn(view: &dyn Read, request: &TxnRequest) -> Result<TxnResponse, Error> {
    let branch = if compare::all_hold(view, &request.compare)? {
        &request.success
    } else {
        &request.failure
    };
    let succeeded = std::ptr::eq(branch, &request.success);
    let mut responses = Vec::with_capacity(branch.len());
    for op in branch {
        let response = match &op.request {
            Some(request_op::Request::RequestRange(range_request)) => {
                response_op::Response::ResponseRange(range(view, range_request)?)
            }
            Some(request_op::Request::RequestTxn(nested)) => {
                response_op::Response::ResponseTxn(read_only_txn(view, nested)?)
            }
            // The caller has made sure that there are no writes.
            _ => return Err(Refusal::KeyNotFound.into()),
        };
        responses.push(ResponseOp {
            response: Some(response),
        });
    }
    Ok(TxnResponse {
        header: Some(header(Meta::read(view)?.revision)),
        succeeded,
        responses,
    })
}

/// Whether `put` may go ahead in `view`: the key that it keeps things of, and its lease, must exist.
pub fn check_put_state(view: &dyn Read, put: &PutRequest) -> Result<(), Error> {
    if (put.ignore_value || put.ignore_lease) && view.get(Space::Live, &put.key)?.is_none() {
        return Err(Refusal::KeyNotFound.into());
    }
    check_lease(view, put)
}

/// Whether the lease of `put` exists, if it names one.
pub fn check_lease(view: &dyn Read, put: &PutRequest) -> Result<(), Error> {
    if put.lease != 0 && lease::lease(view, put.lease)?.is_none() {
        return Err(Refusal::LeaseNotFound.into());
    }
    Ok(())
}

/// A put whose checks have passed.
pub fn put(mutation: &mut Mutation<'_, '_>, request: &PutRequest) -> Result<PutResponse, Error> {
    let (mut value, mut lease) = (request.value.clone(), request.lease);
    if (request.ignore_value || request.ignore_lease)
        && let Some(kept) = mutation.get(&request.key)?
    {
        if request.ignore_value {
            value = kept.value;
        }
        if request.ignore_lease {
            lease = kept.lease;
        }
    }
    let previous = mutation.put(request.key.clone(), value, lease)?;
    Ok(PutResponse {
        header: Some(header(mutation.revision())),
        prev_kv: previous.filter(|_| request.prev_kv),
    })
}

pub fn delete_range(
    mutation: &mut Mutation<'_, '_>,
    request: &DeleteRangeRequest,
) -> Result<DeleteRangeResponse, Error> {
    let deleted = mutation.delete(&KeyRange::new(request.key.clone(), request.range_end.clone()))?;
    Ok(DeleteRangeResponse {
        header: Some(header(mutation.revision())),
        deleted: i64::try_from(deleted.len()).unwrap_or(i64::MAX),
        prev_kvs: if request.prev_kv { deleted } else { Vec::new() },
    })
}

pub fn header(revision: i64) -> ResponseHeader {
    ResponseHeader {
        revision,
        ..ResponseHeader::default()
    }
}

/// A branch taken, and the branches taken by the transactions nested in it, in order.
struct Branch<'a> {
    succeeded: bool,
    ops: &'a [RequestOp],
    nested: Vec<Branch<'a>>,
}

impl<'a> Branch<'a> {
    fn choose(view: &dyn Read, request: &'a TxnRequest) -> Result<Self, Error> {
        let succeeded = compare::all_hold(view, &request.compare)?;
        let ops = if succeeded {
            &request.success
        } else {
            &request.failure
        };
        let mut nested = Vec::new();
        for op in ops {
            if let Some(request_op::Request::RequestTxn(txn)) = &op.request {
                nested.push(Self::choose(view, txn)?);
            }
        }
        Ok(Self {
            succeeded,
            ops,
            nested,
        })
    }

    /// In the order of the request, nested ones where they stand: the first fault is the one that is told.
    fn check_puts(&self, view: &dyn Read) -> Result<(), Error> {
        let mut nested = self.nested.iter();
        for op in self.ops {
            match &op.request {
                Some(request_op::Request::RequestPut(put)) => check_put_state(view, put)?,
                Some(request_op::Request::RequestTxn(_)) => {
                    nested.next().map_or(Ok(()), |branch| branch.check_puts(view))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// As [`Self::check_puts`].
    fn check_ranges(&self, meta: Meta) -> Result<(), Error> {
        let mut nested = self.nested.iter();
        for op in self.ops {
            match &op.request {
                Some(request_op::Request::RequestRange(RangeRequest { revision, .. })) => {
                    if *revision > meta.revision {
                        return Err(Refusal::FutureRevision.into());
                    }
                    if *revision != 0 && *revision < meta.compacted {
                        return Err(Refusal::Compacted.into());
                    }
                }
                Some(request_op::Request::RequestTxn(_)) => {
                    nested.next().map_or(Ok(()), |branch| branch.check_ranges(meta))?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn run(mutation: &mut Mutation<'_, '_>, meta: Meta, branch: &Branch<'_>) -> Result<TxnResponse, Error> {
    let mut responses = Vec::with_capacity(branch.ops.len());
    let mut nested = branch.nested.iter();
    for op in branch.ops {
        let response = match &op.request {
            Some(request_op::Request::RequestRange(request)) => {
                let current = mutation.revision();
                response_op::Response::ResponseRange(range_at(mutation.state, request, meta, current)?)
            }
            Some(request_op::Request::RequestPut(request)) => {
                response_op::Response::ResponsePut(put(mutation, request)?)
            }
            Some(request_op::Request::RequestDeleteRange(request)) => {
                response_op::Response::ResponseDeleteRange(delete_range(mutation, request)?)
            }
            Some(request_op::Request::RequestTxn(_)) => match nested.next() {
                Some(branch) => response_op::Response::ResponseTxn(run(mutation, meta, branch)?),
                None => return Err(Refusal::KeyNotFound.into()),
            },
            None => return Err(Refusal::KeyNotFound.into()),
        };
        responses.push(ResponseOp {
            response: Some(response),
        });
    }
    Ok(TxnResponse {
        // etcd leaves the header of a nested transaction empty.
        header: Some(ResponseHeader::default()),
        succeeded: branch.succeeded,
        responses,
    })
}
