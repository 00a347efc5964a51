//! The core against a naive twin that keeps every revision as a whole map.

use bytes::Bytes;
use kvstore_core::{
    Command, Crc, EncodedRange, Meta, Overlay, PageLimits, Read, Refusal, Response, Space, StoredBytes,
    apply, check_txn, compaction_step, encoded_range, event_bytes, hash_kv, history_page, lease_keys, leases,
    range, state_hash, write_added,
};
use kvstore_storage::{Engine, MemoryDisk};
use proptest::prelude::*;
use prost::Message as _;
use proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use proto::etcdserverpb::request_op::Request;
use proto::etcdserverpb::{
    CompactionRequest, Compare, DeleteRangeRequest, LeaseGrantRequest, LeaseRevokeRequest, PutRequest,
    RangeRequest, RangeResponse, RequestOp, TxnRequest, response_op,
};
use proto::mvccpb::{Event, KeyValue};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

type State = BTreeMap<Vec<u8>, KeyValue>;

#[derive(Debug, Clone)]
enum Write {
    Put {
        key: u8,
        value: u8,
        lease: u8,
        keep: Keep,
    },
    Delete(u8, u8),
}

/// What a put takes over from the key as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keep {
    Nothing,
    Value,
    Lease,
}

#[derive(Debug, Clone)]
enum Op {
    Write(Write),
    /// The first writes if the key exists, else the others.
    Txn(u8, Vec<Write>, Vec<Write>),
    Grant(u8),
    Revoke(u8),
    Compact(u8),
    /// Removes some compacted versions from disk.
    CleanSome,
    /// Removes all of them.
    Clean,
}

fn write() -> impl Strategy<Value = Write> {
    let keep = prop_oneof![8 => Just(Keep::Nothing), 1 => Just(Keep::Value), 1 => Just(Keep::Lease)];
    let lease = prop_oneof![3 => Just(0_u8), 1 => 1_u8..4];
    prop_oneof![
        3 => (0_u8..40, any::<u8>(), lease, keep)
            .prop_map(|(key, value, lease, keep)| Write::Put { key, value, lease, keep }),
        1 => (0_u8..40, 0_u8..6).prop_map(|(key, length)| Write::Delete(key, length)),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let writes = || prop::collection::vec(write(), 0..5);
    prop_oneof![
        9 => write().prop_map(Op::Write),
        4 => (0_u8..40, writes(), writes()).prop_map(|(key, then, other)| Op::Txn(key, then, other)),
        2 => (0_u8..4).prop_map(Op::Grant),
        1 => (0_u8..4).prop_map(Op::Revoke),
        1 => any::<u8>().prop_map(Op::Compact),
        1 => Just(Op::CleanSome),
        1 => Just(Op::Clean),
    ]
}

/// Keys of different lengths, some a prefix of others, with bytes at both ends of the order.
fn key(number: u8) -> Vec<u8> {
    let mut key = vec![[b'a', b'b', b'c', b'd', 0xff][usize::from(number % 5)]];
    key.extend(std::iter::repeat_n(0, usize::from(number / 5 % 3)));
    if number >= 15 {
        key.push(number.wrapping_sub(16));
    }
    key
}

impl Write {
    fn request(&self) -> Request {
        match self {
            Self::Put {
                key: number,
                value,
                lease,
                keep,
            } => Request::RequestPut(PutRequest {
                key: key(*number).into(),
                // Some values are empty.
                value: if *keep == Keep::Value || *value < 30 {
                    Bytes::new()
                } else {
                    vec![*value].into()
                },
                lease: if *keep == Keep::Lease {
                    0
                } else {
                    i64::from(*lease)
                },
                prev_kv: true,
                ignore_value: *keep == Keep::Value,
                ignore_lease: *keep == Keep::Lease,
            }),
            Self::Delete(number, length) => Request::RequestDeleteRange(DeleteRangeRequest {
                key: key(*number).into(),
                range_end: if *length == 0 {
                    Bytes::new()
                } else {
                    key(number.saturating_add(*length)).into()
                },
                prev_kv: true,
            }),
        }
    }
}

/// All that members compare, and all that a client can ask for.
fn hashes(engine: &dyn Engine) -> (Option<Crc>, Option<u32>) {
    let view = engine.view();
    (
        hash_kv(&*view, 0, &mut || true).expect("readable"),
        state_hash(&*view, &mut || true).expect("readable"),
    )
}

/// What the records of the kept versions take, counted.
fn kept_bytes(view: &dyn Read) -> u64 {
    let mut bytes = 0;
    for space in [Space::History, Space::Keys] {
        let mut cursor = view.cursor(space);
        cursor.seek(&[]).expect("readable");
        while let Some((key, value)) = cursor.entry() {
            bytes += (key.len() + value.len()) as u64;
            cursor.advance().expect("readable");
        }
    }
    bytes
}

/// The naive way to change a state.
struct Draft {
    next: State,
    revision: i64,
    events: Vec<Event>,
}

impl Draft {
    fn put(&mut self, put: &PutRequest) -> Option<KeyValue> {
        let old = self.next.get(put.key.as_ref()).cloned();
        let kept = old.clone().unwrap_or_default();
        let kv = KeyValue {
            key: put.key.clone(),
            value: if put.ignore_value {
                kept.value
            } else {
                put.value.clone()
            },
            lease: if put.ignore_lease { kept.lease } else { put.lease },
            create_revision: old.as_ref().map_or(self.revision, |old| old.create_revision),
            version: old.as_ref().map_or(1, |old| old.version + 1),
            mod_revision: self.revision,
        };
        self.next.insert(put.key.to_vec(), kv.clone());
        self.events.push(Event {
            r#type: 0,
            kv: Some(kv),
            prev_kv: old.clone(),
        });
        old
    }

    fn delete(&mut self, delete: &DeleteRangeRequest) -> Vec<KeyValue> {
        let gone: Vec<KeyValue> = self
            .next
            .values()
            .filter(|kv| {
                if delete.range_end.is_empty() {
                    kv.key == delete.key
                } else {
                    kv.key >= delete.key && kv.key < delete.range_end
                }
            })
            .cloned()
            .collect();
        for old in &gone {
            self.next.remove(old.key.as_ref());
            self.events.push(Event {
                r#type: 1,
                kv: Some(KeyValue {
                    key: old.key.clone(),
                    mod_revision: self.revision,
                    ..KeyValue::default()
                }),
                prev_kv: Some(old.clone()),
            });
        }
        gone
    }
}

struct World {
    engine: Box<dyn Engine>,
    /// Given the same commands, but never cleaned.
    uncleaned: Box<dyn Engine>,
    /// The state at every revision; index 0 is revision 1.
    history: Vec<State>,
    /// The events of every revision, as `history`.
    events: Vec<Vec<Event>>,
    leases: BTreeSet<i64>,
    compacted: i64,
}

impl World {
    fn new() -> Self {
        Self {
            engine: Box::new(MemoryDisk::new().open(Duration::ZERO)),
            uncleaned: Box::new(MemoryDisk::new().open(Duration::ZERO)),
            history: vec![State::new()],
            events: vec![Vec::new()],
            leases: BTreeSet::new(),
            compacted: -1,
        }
    }

    fn revision(&self) -> i64 {
        self.history.len() as i64
    }

    fn now(&self) -> &State {
        self.history.last().expect("never empty")
    }

    fn draft(&self) -> Draft {
        Draft {
            next: self.now().clone(),
            revision: self.revision() + 1,
            events: Vec::new(),
        }
    }

    fn keep(&mut self, draft: Draft) {
        if !draft.events.is_empty() {
            self.history.push(draft.next);
            self.events.push(draft.events);
        }
    }

    /// Gives the reply and checks the events, which must be those of `expected`.
    fn apply(&self, command: &Command, expected: &[Event]) -> Result<Response, Refusal> {
        let [reply, other] = [&self.engine, &self.uncleaned].map(|engine| {
            let view = engine.view();
            let mut state = Overlay::new(&*view);
            let applied = apply(&mut state, command).expect("the store is readable");
            let stored = StoredBytes::read(&*view).expect("readable").unwrap_or_default();
            let added: u64 = applied.events.iter().map(event_bytes).sum();
            write_added(&mut state, stored.added + added);
            let batch = state.into_batch();
            engine.write(&batch).expect("the disk works");
            assert_eq!(applied.events, expected);
            applied.reply
        });
        assert_eq!(reply, other, "what is still on disk must not matter");
        reply
    }

    /// What a put of a write outside of a transaction is refused with; inside the key comes first.
    fn refusal(&self, put: &PutRequest, alone: bool) -> Option<Refusal> {
        let no_lease = put.lease != 0 && !self.leases.contains(&put.lease);
        let no_key = (put.ignore_value || put.ignore_lease) && !self.now().contains_key(put.key.as_ref());
        match (no_lease, no_key) {
            (false, false) => None,
            (true, false) => Some(Refusal::LeaseNotFound),
            (false, true) => Some(Refusal::KeyNotFound),
            (true, true) if alone => Some(Refusal::LeaseNotFound),
            (true, true) => Some(Refusal::KeyNotFound),
        }
    }

    fn run(&mut self, op: &Op) {
        match op {
            Op::Write(write) => self.write(write),
            Op::Txn(number, then, other) => self.txn(*number, then, other),
            Op::Grant(id) => {
                let id = i64::from(*id);
                let command = Command {
                    lease_grant: Some(LeaseGrantRequest { ttl: 5, id }),
                    ..Command::default()
                };
                let expected = if id == 0 {
                    Some(Refusal::LeaseNotFound)
                } else if self.leases.insert(id) {
                    None
                } else {
                    Some(Refusal::LeaseExists)
                };
                assert_eq!(self.apply(&command, &[]).err(), expected);
            }
            Op::Revoke(id) => {
                let id = i64::from(*id);
                let command = Command {
                    lease_revoke: Some(LeaseRevokeRequest { id }),
                    ..Command::default()
                };
                let mut draft = self.draft();
                let known = self.leases.remove(&id);
                if known {
                    let attached: Vec<_> = self.now().values().filter(|kv| kv.lease == id).collect();
                    for kv in attached {
                        draft.delete(&DeleteRangeRequest {
                            key: kv.key.clone(),
                            ..DeleteRangeRequest::default()
                        });
                    }
                }
                let refused = self.apply(&command, &draft.events).err();
                assert_eq!(refused, (!known).then_some(Refusal::LeaseNotFound));
                self.keep(draft);
            }
            Op::Compact(at) => {
                let at = i64::from(*at) % (self.revision() + 2);
                let command = Command {
                    compaction: Some(CompactionRequest {
                        revision: at,
                        physical: false,
                    }),
                    ..Command::default()
                };
                let expected = if at <= self.compacted {
                    Some(Refusal::Compacted)
                } else if at > self.revision() {
                    Some(Refusal::FutureRevision)
                } else {
                    self.compacted = at;
                    None
                };
                assert_eq!(self.apply(&command, &[]).err(), expected);
            }
            Op::CleanSome => self.clean(1),
            Op::Clean => self.clean(usize::MAX),
        }
    }

    fn write(&mut self, write: &Write) {
        let mut draft = self.draft();
        match write.request() {
            Request::RequestPut(put) => {
                let refusal = self.refusal(&put, true);
                let previous = refusal.is_none().then(|| draft.put(&put));
                let command = Command {
                    put: Some(put),
                    ..Command::default()
                };
                match self.apply(&command, &draft.events) {
                    Ok(Response::Put(answer)) => assert_eq!(Some(answer.prev_kv), previous),
                    other => assert_eq!(other, Err(refusal.expect("a put is answered"))),
                }
            }
            Request::RequestDeleteRange(delete) => {
                let gone = draft.delete(&delete);
                let command = Command {
                    delete_range: Some(delete),
                    ..Command::default()
                };
                let Ok(Response::DeleteRange(answer)) = self.apply(&command, &draft.events) else {
                    panic!("a delete is never refused");
                };
                assert_eq!((answer.deleted as usize, &answer.prev_kvs), (gone.len(), &gone));
                assert_eq!(
                    answer.header.expect("has one").revision,
                    self.revision() + i64::from(!gone.is_empty())
                );
            }
            _ => unreachable!("only these are made"),
        }
        self.keep(draft);
    }

    fn txn(&mut self, number: u8, then: &[Write], other: &[Write]) {
        let ops = |writes: &[Write]| {
            let ops = writes.iter().map(|write| RequestOp {
                request: Some(write.request()),
            });
            // The last word is a look at everything.
            let look = RangeRequest {
                key: vec![0].into(),
                range_end: vec![0].into(),
                count_only: true,
                ..RangeRequest::default()
            };
            let look = RequestOp {
                request: Some(Request::RequestRange(look)),
            };
            ops.chain([look]).collect::<Vec<_>>()
        };
        let request = TxnRequest {
            compare: vec![Compare {
                result: CompareResult::Greater as i32,
                target: CompareTarget::Version as i32,
                key: key(number).into(),
                target_union: Some(TargetUnion::Version(0)),
                range_end: Bytes::new(),
            }],
            success: ops(then),
            failure: ops(other),
        };
        if check_txn(&request, 128).is_err() {
            return;
        }
        let succeeded = self.now().contains_key(&key(number));
        let chosen = if succeeded {
            &request.success
        } else {
            &request.failure
        };
        let refusal = chosen.iter().find_map(|op| match &op.request {
            Some(Request::RequestPut(put)) => self.refusal(put, false),
            _ => None,
        });
        let mut draft = self.draft();
        if refusal.is_none() {
            for op in chosen {
                match &op.request {
                    Some(Request::RequestPut(put)) => {
                        draft.put(put);
                    }
                    Some(Request::RequestDeleteRange(delete)) => {
                        draft.delete(delete);
                    }
                    _ => {}
                }
            }
        }
        let command = Command {
            txn: Some(request),
            ..Command::default()
        };
        match self.apply(&command, &draft.events) {
            Ok(Response::Txn(answer)) => {
                assert_eq!(refusal, None);
                assert_eq!(answer.succeeded, succeeded);
                let Some(response_op::Response::ResponseRange(look)) =
                    answer.responses.into_iter().last().and_then(|last| last.response)
                else {
                    panic!("a range is answered by a range");
                };
                assert_eq!(
                    look.count as usize,
                    draft.next.len(),
                    "a look at one's own writes"
                );
            }
            refused => assert_eq!(refused, Err(refusal.expect("a transaction is answered"))),
        }
        self.keep(draft);
    }

    /// Removes compacted versions in steps of three events, `steps` of them.
    fn clean(&mut self, steps: usize) {
        let before = hashes(&*self.engine);
        let mut taken = 0;
        while taken < steps {
            taken += 1;
            let step = compaction_step(&*self.engine.view(), 3).expect("readable");
            self.engine.write(&step.batch).expect("the disk works");
            if step.finished {
                break;
            }
            assert!(taken <= self.history.len(), "every step gets further");
        }
        assert_eq!(hashes(&*self.engine), before);
        let stored = StoredBytes::read(&*self.engine.view()).expect("readable");
        assert_eq!(
            stored.unwrap_or_default().kept(),
            kept_bytes(&*self.engine.view())
        );
    }

    fn check(&self) {
        let view = self.engine.view();
        assert_eq!(Meta::read(&*view).expect("readable").revision, self.revision());
        for revision in 1..=self.revision() {
            self.check_ranges(revision);
            let hashes = [&self.engine, &self.uncleaned]
                .map(|engine| hash_kv(&*engine.view(), revision, &mut || true));
            assert_eq!(hashes[0], hashes[1], "what is still on disk must not matter");
            if revision >= self.compacted {
                self.check_events(revision);
            }
        }
        let granted: Vec<i64> = self.leases.iter().copied().collect();
        let found = leases(&*view).expect("readable");
        assert_eq!(found.iter().map(|lease| lease.id).collect::<Vec<_>>(), granted);
        for id in 0..4 {
            let attached = self.now().values().filter(|kv| kv.lease == id && id != 0);
            let attached: Vec<Bytes> = attached.map(|kv| kv.key.clone()).collect();
            assert_eq!(lease_keys(&*view, id).expect("readable"), attached);
        }
    }

    fn check_ranges(&self, revision: i64) {
        let view = self.engine.view();
        for (start, end, limit) in [
            (vec![0], vec![0], 0),
            (b"b".to_vec(), b"d".to_vec(), 3),
            (b"b\0".to_vec(), vec![0], 1),
            (vec![0xff], vec![0], 2),
            (key(17), Vec::new(), 0),
            (b"d".to_vec(), b"b".to_vec(), 0),
        ] {
            let request = RangeRequest {
                key: start.clone().into(),
                range_end: end.clone().into(),
                limit,
                revision,
                ..RangeRequest::default()
            };
            let answer = range(&*view, &request);
            if revision < self.compacted {
                assert_eq!(answer, Err(Refusal::Compacted.into()));
                assert_eq!(encoded_range(&*view, &request), Err(Refusal::Compacted.into()));
                continue;
            }
            let answer = answer.expect("not compacted");
            let found: Vec<&KeyValue> = self.history[revision as usize - 1]
                .iter()
                .filter(|(key, _)| match end.as_slice() {
                    [] => **key == start,
                    [0] => **key >= start,
                    end => **key >= start && key.as_slice() < end,
                })
                .map(|(_, kv)| kv)
                .collect();
            let shown = if limit == 0 {
                found.len()
            } else {
                found.len().min(limit as usize)
            };
            assert_eq!(answer.count as usize, found.len(), "count of {request:?}");
            assert_eq!(answer.more, shown < found.len());
            assert_eq!(answer.kvs.iter().collect::<Vec<_>>(), found[..shown]);
            let EncodedRange {
                revision: at,
                kvs,
                more,
                count,
            } = encoded_range(&*view, &request)
                .expect("not compacted")
                .expect("a plain range");
            let decoded = RangeResponse::decode(kvs.concat().as_slice()).expect("fields of an answer");
            assert_eq!(
                (at, &decoded.kvs, more, count),
                (self.revision(), &answer.kvs, answer.more, answer.count)
            );
            let counted = range(
                &*view,
                &RangeRequest {
                    count_only: true,
                    ..request
                },
            );
            assert_eq!(counted.expect("not compacted").count as usize, found.len());
        }
    }

    /// Everything that happened from `from` on, page by page.
    fn check_events(&self, from: i64) {
        let view = self.engine.view();
        let everything = kvstore_core::KeyRange::new(Bytes::from_static(&[0]), Bytes::from_static(&[0]));
        let limits = PageLimits {
            revisions: 2,
            bytes: 40,
        };
        let (mut events, mut next) = (Vec::new(), from);
        while next <= self.revision() {
            let page =
                history_page(&*view, &everything, (next, self.revision()), true, limits).expect("readable");
            assert!(page.next_revision > next, "every page gets further");
            events.extend(page.events);
            next = page.next_revision;
        }
        let mut expected: Vec<Event> = self.events[from as usize - 1..].concat();
        for event in &mut expected {
            // What was before the bound is gone for everyone.
            let revision = event.kv.as_ref().expect("has one").mod_revision;
            event.prev_kv = event.prev_kv.take().filter(|_| revision > self.compacted);
        }
        assert_eq!(events, expected, "from {from}, compacted {}", self.compacted);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_kept_revision_reads_as_in_the_naive_twin(ops in prop::collection::vec(op(), 1..60)) {
        let mut world = World::new();
        for op in &ops {
            world.run(op);
        }
        world.check();
    }
}

#[test]
fn counts_stay_exact_across_many_stretches() {
    let world = World::new();
    let put = |number: usize| Command {
        put: Some(PutRequest {
            key: format!("key/{number:05}").into(),
            ..PutRequest::default()
        }),
        ..Command::default()
    };
    let count = |world: &World, start: &str, end: &str| {
        let request = RangeRequest {
            key: Bytes::from(start.to_owned()),
            range_end: Bytes::from(end.to_owned()),
            count_only: true,
            ..RangeRequest::default()
        };
        range(&*world.engine.view(), &request).expect("readable").count
    };
    let run = |world: &World, command: &Command| {
        let view = world.engine.view();
        let mut state = Overlay::new(&*view);
        apply(&mut state, command)
            .expect("readable")
            .reply
            .expect("applies");
        world.engine.write(&state.into_batch()).expect("the disk works");
    };
    // Scattered, so that stretches are cut in the middle.
    for step in 0..3000 {
        run(&world, &put(step * 7919 % 3000));
    }
    assert_eq!(count(&world, "key/", "key0"), 3000);
    assert_eq!(count(&world, "key/00500", "key/02500"), 2000);
    assert_eq!(count(&world, "key/00501", "\0"), 2499);
    let delete = Command {
        delete_range: Some(DeleteRangeRequest {
            key: "key/00400".into(),
            range_end: "key/02000".into(),
            prev_kv: false,
        }),
        ..Command::default()
    };
    run(&world, &delete);
    assert_eq!(count(&world, "key/", "key0"), 1400);
    assert_eq!(count(&world, "key/00399", "key/02001"), 2);
    assert_eq!(count(&world, "key/00400", "key/02000"), 0);
    let view = world.engine.view();
    let mut stretches = view.cursor(Space::Counts);
    stretches.seek(&[]).expect("readable");
    let mut seen = 0;
    while stretches.entry().is_some() {
        seen += 1;
        stretches.advance().expect("readable");
    }
    assert!(seen > 2, "the table has {seen} stretches");
}
