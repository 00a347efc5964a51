//! The core against a naive twin that keeps every revision as a whole map.

use bytes::Bytes;
use kvstore_core::{
    Command, Crc, Meta, Overlay, Read, Refusal, Response, Space, StoredBytes, apply, compaction_step,
    event_bytes, hash_kv, range, state_hash, write_added,
};
use kvstore_storage::{Engine, MemoryDisk};
use proptest::prelude::*;
use proto::etcdserverpb::{CompactionRequest, DeleteRangeRequest, PutRequest, RangeRequest};
use proto::mvccpb::KeyValue;
use std::collections::BTreeMap;
use std::time::Duration;

type State = BTreeMap<Vec<u8>, KeyValue>;

#[derive(Debug, Clone)]
enum Op {
    Put(u8, u8),
    Delete(u8, u8),
    Compact(u8),
    /// Removes compacted versions from disk.
    Clean,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0_u8..40, any::<u8>()).prop_map(|(key, value)| Op::Put(key, value)),
        3 => (0_u8..40, 0_u8..6).prop_map(|(key, length)| Op::Delete(key, length)),
        1 => any::<u8>().prop_map(Op::Compact),
        1 => Just(Op::Clean),
    ]
}

/// Keys of different lengths, some a prefix of others, with zero bytes.
fn key(number: u8) -> Vec<u8> {
    let mut key = vec![b'a' + number % 5];
    key.extend(std::iter::repeat_n(0, usize::from(number / 5 % 3)));
    if number >= 15 {
        key.push(number);
    }
    key
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

struct World {
    engine: Box<dyn Engine>,
    /// The state at every revision; index 0 is revision 1.
    history: Vec<State>,
    compacted: i64,
}

impl World {
    fn new() -> Self {
        Self {
            engine: Box::new(MemoryDisk::new().open(Duration::ZERO)),
            history: vec![State::new()],
            compacted: -1,
        }
    }

    fn revision(&self) -> i64 {
        self.history.len() as i64
    }

    fn apply(&self, command: &Command) -> Result<Response, Refusal> {
        let view = self.engine.view();
        let mut state = Overlay::new(&*view);
        let applied = apply(&mut state, command).expect("the store is readable");
        let stored = StoredBytes::read(&*view).expect("readable").unwrap_or_default();
        let added: u64 = applied.events.iter().map(event_bytes).sum();
        write_added(&mut state, stored.added + added);
        let batch = state.into_batch();
        self.engine.write(&batch).expect("the disk works");
        applied.reply
    }

    fn run(&mut self, op: &Op) {
        let mut next = self.history.last().expect("never empty").clone();
        let revision = self.revision() + 1;
        match op {
            Op::Put(number, value) => {
                let request = PutRequest {
                    key: key(*number).into(),
                    value: vec![*value].into(),
                    ..PutRequest::default()
                };
                let command = Command {
                    put: Some(request),
                    ..Command::default()
                };
                self.apply(&command).expect("a put is never refused");
                let old = next.get(&key(*number));
                let kv = KeyValue {
                    key: key(*number).into(),
                    value: vec![*value].into(),
                    create_revision: old.map_or(revision, |old| old.create_revision),
                    version: old.map_or(1, |old| old.version + 1),
                    mod_revision: revision,
                    lease: 0,
                };
                next.insert(key(*number), kv);
                self.history.push(next);
            }
            Op::Delete(number, length) => {
                let (start, end) = (key(*number), key(number.saturating_add(*length)));
                let single = *length == 0;
                let request = DeleteRangeRequest {
                    key: start.clone().into(),
                    range_end: if single { Bytes::new() } else { end.clone().into() },
                    prev_kv: false,
                };
                let command = Command {
                    delete_range: Some(request),
                    ..Command::default()
                };
                let Ok(Response::DeleteRange(answer)) = self.apply(&command) else {
                    panic!("a delete is never refused");
                };
                let before = next.len();
                next.retain(|key, _| {
                    if single {
                        *key != start
                    } else {
                        *key < start || *key >= end
                    }
                });
                assert_eq!(answer.deleted as usize, before - next.len());
                if next.len() < before {
                    self.history.push(next);
                }
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
                assert_eq!(self.apply(&command).err(), expected);
            }
            Op::Clean => {
                let before = hashes(&*self.engine);
                loop {
                    let step = compaction_step(&*self.engine.view(), 3).expect("readable");
                    self.engine.write(&step.batch).expect("the disk works");
                    if step.finished {
                        break;
                    }
                }
                assert_eq!(hashes(&*self.engine), before);
                let stored = StoredBytes::read(&*self.engine.view()).expect("readable");
                assert_eq!(
                    stored.unwrap_or_default().kept(),
                    kept_bytes(&*self.engine.view())
                );
            }
        }
    }

    fn check(&self) {
        let view = self.engine.view();
        assert_eq!(Meta::read(&*view).expect("readable").revision, self.revision());
        for revision in 1..=self.revision() {
            for (start, end, limit) in [
                (vec![0], vec![0], 0),
                (b"b".to_vec(), b"d".to_vec(), 3),
                (b"b\0".to_vec(), vec![0], 1),
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
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

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
    let mut world = World::new();
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
    // Scattered, so that stretches are cut in the middle.
    for step in 0..3000 {
        world.apply(&put(step * 7919 % 3000)).expect("applies");
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
    world.apply(&delete).expect("applies");
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
    drop(stretches);
    drop(view);
    world.history.clear();
}
