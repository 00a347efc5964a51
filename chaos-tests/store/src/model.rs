//! A naive twin of the store: what a request does to a state, and what it answers.
//!
//! Written from etcd's documentation of its API, without looking at ours. It knows what the workloads use:
//! put, delete, range and transactions without nesting.

use crate::history::{Answer, Request};
use bytes::Bytes;
use proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use proto::etcdserverpb::{
    Compare, DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse, RangeRequest, RangeResponse,
    ResponseOp, TxnRequest, TxnResponse, request_op, response_op,
};
use proto::mvccpb::event::EventType;
use proto::mvccpb::{Event, KeyValue};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Bound;

/// All live keys as of one revision.
#[derive(Debug, Clone)]
pub struct State {
    pub revision: i64,
    pub keys: BTreeMap<Bytes, KeyValue>,
}

impl Default for State {
    /// An empty store stands at revision 1.
    fn default() -> Self {
        Self {
            revision: 1,
            keys: BTreeMap::new(),
        }
    }
}

/// What a request does and answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Effect {
    /// Of the next revision; empty when the request changes nothing.
    pub events: Vec<Event>,
    /// Headers are left out.
    pub answer: Answer,
}

impl State {
    /// What `request` does to this state; `None` when it isn't about keys.
    pub fn evaluate(&self, request: &Request) -> Option<Effect> {
        let mut step = Step {
            next: self.revision + 1,
            keys: self.keys.clone(),
            events: Vec::new(),
        };
        let answer = match request {
            Request::Put(put) => Answer::Put(step.put(put)),
            Request::Delete(delete) => Answer::Delete(step.delete(delete)),
            Request::Range(range) => Answer::Range(step.range(range)),
            Request::Txn(txn) => Answer::Txn(step.txn(txn)),
            _ => return None,
        };
        Some(Effect {
            events: step.events,
            answer,
        })
    }

    /// Moves on by the events of one revision.
    pub fn advance(&mut self, revision: i64, events: &[Event]) {
        self.revision = revision;
        for event in events {
            let Some(kv) = &event.kv else { continue };
            match event.r#type() {
                EventType::Put => self.keys.insert(kv.key.clone(), kv.clone()),
                EventType::Delete => self.keys.remove(&kv.key),
            };
        }
    }
}

struct Step {
    next: i64,
    keys: BTreeMap<Bytes, KeyValue>,
    events: Vec<Event>,
}

impl Step {
    fn put(&mut self, put: &PutRequest) -> PutResponse {
        let old = self.keys.get(&put.key).cloned();
        let kv = KeyValue {
            key: put.key.clone(),
            value: put.value.clone(),
            create_revision: old.as_ref().map_or(self.next, |old| old.create_revision),
            mod_revision: self.next,
            version: old.as_ref().map_or(1, |old| old.version + 1),
            lease: put.lease,
        };
        self.keys.insert(put.key.clone(), kv.clone());
        self.events.push(Event {
            r#type: EventType::Put.into(),
            kv: Some(kv),
            prev_kv: old.clone(),
        });
        PutResponse {
            header: None,
            prev_kv: old.filter(|_| put.prev_kv),
        }
    }

    fn delete(&mut self, delete: &DeleteRangeRequest) -> DeleteRangeResponse {
        let gone: Vec<KeyValue> = in_range(&self.keys, &delete.key, &delete.range_end)
            .cloned()
            .collect();
        for old in &gone {
            self.keys.remove(&old.key);
            self.events.push(Event {
                r#type: EventType::Delete.into(),
                kv: Some(KeyValue {
                    key: old.key.clone(),
                    mod_revision: self.next,
                    ..KeyValue::default()
                }),
                prev_kv: Some(old.clone()),
            });
        }
        DeleteRangeResponse {
            header: None,
            deleted: i64::try_from(gone.len()).unwrap_or(i64::MAX),
            prev_kvs: if delete.prev_kv { gone } else { Vec::new() },
        }
    }

    fn range(&self, range: &RangeRequest) -> RangeResponse {
        let found: Vec<&KeyValue> = in_range(&self.keys, &range.key, &range.range_end).collect();
        let limit = usize::try_from(range.limit).unwrap_or(0);
        let shown = if limit == 0 {
            found.len()
        } else {
            limit.min(found.len())
        };
        RangeResponse {
            header: None,
            more: shown < found.len(),
            count: i64::try_from(found.len()).unwrap_or(i64::MAX),
            kvs: found[..shown].iter().map(|kv| (*kv).clone()).collect(),
        }
    }

    fn txn(&mut self, txn: &TxnRequest) -> TxnResponse {
        let succeeded = txn.compare.iter().all(|compare| self.holds(compare));
        let branch = if succeeded { &txn.success } else { &txn.failure };
        let mut responses = Vec::new();
        for op in branch {
            let response = match &op.request {
                Some(request_op::Request::RequestRange(range)) => {
                    response_op::Response::ResponseRange(self.range(range))
                }
                Some(request_op::Request::RequestPut(put)) => {
                    response_op::Response::ResponsePut(self.put(put))
                }
                Some(request_op::Request::RequestDeleteRange(delete)) => {
                    response_op::Response::ResponseDeleteRange(self.delete(delete))
                }
                _ => continue,
            };
            responses.push(ResponseOp {
                response: Some(response),
            });
        }
        TxnResponse {
            header: None,
            succeeded,
            responses,
        }
    }

    /// A key that is not there compares as zeros; its value compares with nothing.
    fn holds(&self, compare: &Compare) -> bool {
        let kv = self.keys.get(&compare.key);
        let number = |of: fn(&KeyValue) -> i64| kv.map_or(0, of);
        let ordering = match (&compare.target_union, compare.target()) {
            (Some(TargetUnion::Value(value)), CompareTarget::Value) => match kv {
                None => return false,
                Some(kv) => kv.value.cmp(value),
            },
            (Some(TargetUnion::Version(wanted)), _) => number(|kv| kv.version).cmp(wanted),
            (Some(TargetUnion::CreateRevision(wanted)), _) => number(|kv| kv.create_revision).cmp(wanted),
            (Some(TargetUnion::ModRevision(wanted)), _) => number(|kv| kv.mod_revision).cmp(wanted),
            (Some(TargetUnion::Lease(wanted)), _) => number(|kv| kv.lease).cmp(wanted),
            _ => return false,
        };
        match compare.result() {
            CompareResult::Equal => ordering == Ordering::Equal,
            CompareResult::NotEqual => ordering != Ordering::Equal,
            CompareResult::Greater => ordering == Ordering::Greater,
            CompareResult::Less => ordering == Ordering::Less,
        }
    }
}

/// The keys of a range as etcd writes it: no end is one key, an end of one zero byte is no end.
fn in_range<'a>(
    keys: &'a BTreeMap<Bytes, KeyValue>,
    key: &'a Bytes,
    end: &'a Bytes,
) -> impl Iterator<Item = &'a KeyValue> {
    let upper = if end.is_empty() {
        Bound::Included(key)
    } else if end.as_ref() == [0] {
        Bound::Unbounded
    } else {
        Bound::Excluded(end)
    };
    // A range whose end is before its start holds nothing, and `BTreeMap::range` would refuse it.
    let empty = matches!(upper, Bound::Excluded(end) if end <= key);
    let range = (!empty).then(|| keys.range::<Bytes, _>((Bound::Included(key), upper)));
    range.into_iter().flatten().map(|(_, kv)| kv)
}

/// Whether `key` is in a range as [`in_range`] reads it.
pub fn contains(key: &Bytes, end: &Bytes, candidate: &Bytes) -> bool {
    if end.is_empty() {
        candidate == key
    } else {
        candidate >= key && (end.as_ref() == [0] || candidate < end)
    }
}

/// The answer without what the model leaves out.
pub fn without_headers(answer: &Answer) -> Answer {
    let mut answer = answer.clone();
    match &mut answer {
        Answer::Put(put) => put.header = None,
        Answer::Delete(delete) => delete.header = None,
        Answer::Range(range) => range.header = None,
        Answer::Txn(txn) => {
            txn.header = None;
            for response in &mut txn.responses {
                match &mut response.response {
                    Some(response_op::Response::ResponsePut(put)) => put.header = None,
                    Some(response_op::Response::ResponseDeleteRange(delete)) => delete.header = None,
                    Some(response_op::Response::ResponseRange(range)) => range.header = None,
                    _ => {}
                }
            }
        }
        _ => {}
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::State;
    use crate::history::{Answer, Request};
    use proto::etcdserverpb::{PutRequest, RangeRequest};

    #[test]
    fn a_second_put_keeps_the_create_revision_and_counts_the_version() {
        let mut state = State::default();
        for value in ["a", "b"] {
            let put = Request::Put(PutRequest {
                key: "k".into(),
                value: value.into(),
                ..PutRequest::default()
            });
            let effect = state.evaluate(&put).unwrap();
            state.advance(state.revision + 1, &effect.events);
        }
        let range = Request::Range(RangeRequest {
            key: "k".into(),
            ..RangeRequest::default()
        });
        let Answer::Range(found) = state.evaluate(&range).unwrap().answer else {
            panic!("a range answers a range");
        };
        let kv = &found.kvs[0];
        assert_eq!((kv.create_revision, kv.mod_revision, kv.version), (2, 3, 2));
    }
}
