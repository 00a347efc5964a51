//! Concurrent clients of three members while the leader dies: is there one order that explains every answer?
//!
//! The store names the order itself: each write has a revision, each read is of a revision. So the check needs no
//! search. With the history as a watcher tells it at the end, it is enough that
//! - every acknowledged write is in the history, at the revision that it was told, and nothing is there twice;
//! - every read is what the history says at the revision of its header, and every comparison too;
//! - the revisions respect real time: who began after another had ended is not before it.

use super::harness::{PATIENCE, kv, put_soon, runtime};
use super::trio::Trio;
use super::watching::Watching;
use bytes::Bytes;
use proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use proto::etcdserverpb::request_op::Request as Op;
use proto::etcdserverpb::response_op::Response as Answer;
use proto::etcdserverpb::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, ResponseHeader, TxnRequest,
    WatchCreateRequest,
};
use proto::mvccpb::{Event, KeyValue};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::Random;

const KEYS: u64 = 4;
const CLIENTS: u64 = 9;

type State = BTreeMap<Bytes, KeyValue>;

/// What a client saw.
#[derive(Debug)]
enum Seen {
    /// Of the key as it was.
    Read {
        key: Bytes,
        kv: Option<KeyValue>,
        stale: bool,
    },
    Put {
        key: Bytes,
        value: Bytes,
    },
    Delete {
        key: Bytes,
        deleted: i64,
    },
    /// The key was put if its revision was the expected one, else looked at.
    Swap {
        key: Bytes,
        value: Bytes,
        expected: i64,
        found: Option<Option<KeyValue>>,
    },
}

#[derive(Debug)]
struct Operation {
    client: u64,
    began: Instant,
    ended: Instant,
    revision: i64,
    seen: Seen,
}

struct Client {
    number: u64,
    random: Random,
    addresses: Vec<String>,
    done: Vec<Operation>,
    /// What it knows of each key.
    known: BTreeMap<Bytes, i64>,
}

impl Client {
    async fn run(mut self, stop: Arc<AtomicBool>) -> Vec<Operation> {
        let mut at = self.number as usize % 3;
        let mut client = kv(&self.addresses[at]);
        let mut write = 0;
        while !stop.load(Ordering::Relaxed) {
            write += 1;
            let key = Bytes::from(format!("k/{}", self.random.below(0..KEYS)));
            let value = Bytes::from(format!("{}/{write}", self.number));
            let began = Instant::now();
            let work = async {
                let kind = self.random.below(0..10);
                Ok::<_, tonic::Status>(match kind {
                    0..3 | 9 => {
                        let stale = kind == 9;
                        let request = RangeRequest {
                            key: key.clone(),
                            serializable: stale,
                            ..RangeRequest::default()
                        };
                        let answer = client.range(request).await?.into_inner();
                        let kv = answer.kvs.into_iter().next();
                        (
                            answer.header,
                            Seen::Read {
                                key: key.clone(),
                                kv,
                                stale,
                            },
                        )
                    }
                    3..5 => {
                        let request = PutRequest {
                            key: key.clone(),
                            value: value.clone(),
                            ..PutRequest::default()
                        };
                        let answer = client.put(request).await?.into_inner();
                        (
                            answer.header,
                            Seen::Put {
                                key: key.clone(),
                                value,
                            },
                        )
                    }
                    5 => {
                        let request = DeleteRangeRequest {
                            key: key.clone(),
                            ..DeleteRangeRequest::default()
                        };
                        let answer = client.delete_range(request).await?.into_inner();
                        let deleted = answer.deleted;
                        (
                            answer.header,
                            Seen::Delete {
                                key: key.clone(),
                                deleted,
                            },
                        )
                    }
                    _ => {
                        let expected = self.known.get(&key).copied().unwrap_or(0);
                        let answer = client.txn(swap(&key, &value, expected)).await?.into_inner();
                        let found = match answer
                            .responses
                            .into_iter()
                            .next()
                            .and_then(|first| first.response)
                        {
                            Some(Answer::ResponseRange(found)) => Some(found.kvs.into_iter().next()),
                            _ => None,
                        };
                        assert_eq!(answer.succeeded, found.is_none());
                        let seen = Seen::Swap {
                            key: key.clone(),
                            value,
                            expected,
                            found,
                        };
                        (answer.header, seen)
                    }
                })
            };
            let answer = tokio::time::timeout(Duration::from_secs(2), work).await;
            let ended = Instant::now();
            if let Ok(Ok((header, seen))) = answer {
                self.note(
                    key,
                    header,
                    Operation {
                        client: self.number,
                        began,
                        ended,
                        revision: 0,
                        seen,
                    },
                );
            } else {
                // What became of it is unknown; it may happen later. On to another member.
                at = (at + 1) % 3;
                client = kv(&self.addresses[at]);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        self.done
    }

    fn note(&mut self, key: Bytes, header: Option<ResponseHeader>, mut operation: Operation) {
        operation.revision = header.expect("every answer has a header").revision;
        let known = match &operation.seen {
            Seen::Read { kv, .. } | Seen::Swap { found: Some(kv), .. } => {
                kv.as_ref().map_or(0, |kv| kv.mod_revision)
            }
            Seen::Delete { .. } => 0,
            Seen::Put { .. } | Seen::Swap { .. } => operation.revision,
        };
        self.known.insert(key, known);
        self.done.push(operation);
    }
}

fn swap(key: &Bytes, value: &Bytes, expected: i64) -> TxnRequest {
    let op = |request| RequestOp {
        request: Some(request),
    };
    TxnRequest {
        compare: vec![Compare {
            result: CompareResult::Equal as i32,
            target: CompareTarget::Mod as i32,
            key: key.clone(),
            target_union: Some(TargetUnion::ModRevision(expected)),
            range_end: Bytes::new(),
        }],
        success: vec![op(Op::RequestPut(PutRequest {
            key: key.clone(),
            value: value.clone(),
            ..PutRequest::default()
        }))],
        failure: vec![op(Op::RequestRange(RangeRequest {
            key: key.clone(),
            ..RangeRequest::default()
        }))],
    }
}

/// The state at every revision, and what led to it.
struct History {
    states: BTreeMap<i64, State>,
    events: BTreeMap<i64, Vec<Event>>,
}

impl History {
    async fn read(address: &str, to: i64) -> Self {
        let mut watch = Watching::open(address).await;
        let created = watch
            .create(WatchCreateRequest {
                key: Bytes::from_static(&[0]),
                range_end: Bytes::from_static(&[0]),
                start_revision: 1,
                ..WatchCreateRequest::default()
            })
            .await;
        assert!(created.created && !created.canceled);
        let mut events: BTreeMap<i64, Vec<Event>> = BTreeMap::new();
        while events.last_key_value().is_none_or(|(revision, _)| *revision < to) {
            for event in watch.next().await.events {
                events
                    .entry(event.kv.as_ref().unwrap().mod_revision)
                    .or_default()
                    .push(event);
            }
        }
        let (mut states, mut state) = (BTreeMap::from([(1, State::new())]), State::new());
        for (revision, events) in &events {
            for event in events {
                let kv = event.kv.clone().unwrap();
                if event.r#type == 0 {
                    state.insert(kv.key.clone(), kv);
                } else {
                    state.remove(&kv.key);
                }
            }
            states.insert(*revision, state.clone());
        }
        assert!(events.keys().copied().eq(2..=to), "every revision has events");
        Self { states, events }
    }

    fn at(&self, revision: i64, key: &Bytes) -> Option<&KeyValue> {
        let state = self.states.get(&revision);
        state
            .unwrap_or_else(|| panic!("an answer at revision {revision}, which never was"))
            .get(key)
    }

    fn check(&self, operation: &Operation) {
        let revision = operation.revision;
        let wrote = |key: &Bytes, value: &Bytes| {
            let events = &self.events[&revision];
            assert_eq!(events.len(), 1, "{operation:?}");
            let kv = events[0].kv.as_ref().unwrap();
            assert_eq!((&kv.key, &kv.value), (key, value), "{operation:?}");
        };
        match &operation.seen {
            Seen::Read { key, kv, .. } => assert_eq!(kv.as_ref(), self.at(revision, key), "{operation:?}"),
            Seen::Put { key, value } => wrote(key, value),
            Seen::Delete { key, deleted: 0 } => assert_eq!(self.at(revision, key), None, "{operation:?}"),
            Seen::Delete { key, .. } => {
                assert!(
                    self.at(revision - 1, key).is_some() && self.at(revision, key).is_none(),
                    "{operation:?}"
                );
            }
            Seen::Swap {
                key,
                value,
                expected,
                found: None,
            } => {
                let before = self.at(revision - 1, key).map_or(0, |kv| kv.mod_revision);
                assert_eq!(before, *expected, "{operation:?}");
                wrote(key, value);
            }
            Seen::Swap {
                key,
                expected,
                found: Some(found),
                ..
            } => {
                let now = self.at(revision, key);
                assert_eq!(found.as_ref(), now, "{operation:?}");
                assert_ne!(now.map_or(0, |kv| kv.mod_revision), *expected, "{operation:?}");
            }
        }
    }

    /// A write that was made twice, by whoever tried again, would be here twice.
    fn check_unique(&self) {
        let mut seen = BTreeMap::new();
        for (revision, events) in &self.events {
            for event in events {
                let kv = event.kv.as_ref().unwrap();
                if event.r#type == 0 && kv.key.starts_with(b"k/") {
                    let before = seen.insert(kv.value.clone(), *revision);
                    assert_eq!(before, None, "{:?} was written at {revision} too", kv.value);
                }
            }
        }
    }
}

/// Whether an answer is of the newest state, and whether it made that state.
fn kind(operation: &Operation) -> (bool, bool) {
    match &operation.seen {
        Seen::Read { stale, .. } => (!stale, false),
        Seen::Put { .. } | Seen::Swap { found: None, .. } => (true, true),
        Seen::Delete { deleted, .. } => (true, *deleted > 0),
        Seen::Swap { .. } => (true, false),
    }
}

fn check_real_time(operations: &mut [Operation]) {
    // By beginning, while a second hand goes through them by end.
    let mut ends: Vec<(Instant, i64)> = (operations.iter())
        .map(|done| (done.ended, done.revision))
        .collect();
    ends.sort_unstable();
    operations.sort_by_key(|operation| operation.began);
    let (mut ended, mut newest) = (ends.into_iter().peekable(), 0);
    for operation in operations.iter() {
        while let Some((_, revision)) = ended.next_if(|(end, _)| *end < operation.began) {
            newest = newest.max(revision);
        }
        let (fresh, write) = kind(operation);
        if fresh {
            assert!(
                operation.revision >= newest + i64::from(write),
                "after {newest}: {operation:?}"
            );
        }
    }
    // What one client reads of one member never goes back, stale or not; clients change members only after an
    // unknown outcome, so this is looked at for fresh answers alone.
    let mut newest: BTreeMap<u64, i64> = BTreeMap::new();
    for operation in operations.iter().filter(|operation| kind(operation).0) {
        let newest = newest.entry(operation.client).or_insert(0);
        assert!(operation.revision >= *newest, "{operation:?}");
        *newest = operation.revision;
    }
}

#[test]
fn answers_have_one_order_while_the_leader_dies() {
    let mut trio = Trio::start(500);
    runtime().block_on(async {
        put_soon(trio.address(0), "begun", "").await;
        let stop = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let client = Client {
                    number,
                    random: Random::seeded(number),
                    addresses: trio.addresses(),
                    done: Vec::new(),
                    known: BTreeMap::new(),
                };
                tokio::spawn(client.run(Arc::clone(&stop)))
            })
            .collect();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let leader = trio.leader(0).await;
        trio.kill(leader);
        tokio::time::sleep(Duration::from_secs(2)).await;
        trio.restart(leader);
        tokio::time::sleep(Duration::from_secs(1)).await;
        // And one that only stops for a while, longer than an election.
        let leader = trio.leader((leader + 1) % 3).await;
        trio.pause(leader, Duration::from_millis(1500));
        tokio::time::sleep(Duration::from_secs(3)).await;
        stop.store(true, Ordering::Relaxed);
        let mut operations = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        for client in clients {
            assert!(Instant::now() < deadline);
            operations.extend(client.await.unwrap());
        }
        let last = trio.agree().await;
        let history = History::read(trio.address(0), last).await;
        history.check_unique();
        for operation in &operations {
            history.check(operation);
        }
        check_real_time(&mut operations);
        let writes = operations.iter().filter(|operation| kind(operation).1).count();
        let stale = operations.iter().filter(|operation| !kind(operation).0).count();
        eprintln!(
            "{} answers, {writes} writes, {stale} reads that may be stale",
            operations.len()
        );
        assert!(
            writes > 100 && operations.len() > 300,
            "{writes} writes of {}",
            operations.len()
        );
    });
}
