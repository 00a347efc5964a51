//! A state goes into a backup and comes out the same.

use bytes::Bytes;
use kvstore_backup::{
    Database, ImportError, Imported, Origin, OriginMember, RevisionBump, Target, export, hash_history,
    import, status,
};
use kvstore_core::{
    Batch, Command, KeptMeta, KeyRange, MIN_LEASE_TTL, Meta, Overlay, PageLimits, Read, ReadError, Space,
    StoredBytes, apply, compaction_step, each_event, event_bytes, history_page, range,
};
use kvstore_storage::{Engine, MemoryDisk, MemoryEngine, StorageError};
use proptest::prelude::*;
use proto::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, LeaseGrantRequest, LeaseRevokeRequest, PutRequest, RangeRequest,
    RequestOp, TxnRequest, request_op::Request,
};
use proto::mvccpb::Event;
use std::io::Cursor;
use std::time::Duration;

struct State(MemoryEngine);

impl State {
    fn empty() -> Self {
        Self(MemoryDisk::new().open(Duration::ZERO))
    }

    fn run(&self, command: &Command) {
        let batch = {
            let view = self.0.view();
            let mut state = Overlay::new(&*view);
            apply(&mut state, command).expect("applies");
            state.into_batch()
        };
        self.0.write(&batch).expect("writes");
    }

    /// The bytes that kept versions take, as they are counted.
    fn stored_bytes(&self) -> u64 {
        let stored = StoredBytes::read(&*self.0.view()).expect("reads");
        stored.map_or(0, StoredBytes::kept)
    }

    fn sweep(&self, events: usize) -> bool {
        let step = compaction_step(&*self.0.view(), events).expect("plans");
        self.0.write(&step.batch).expect("writes");
        step.finished
    }

    fn file(&self) -> Vec<u8> {
        let origin = Origin {
            index: 77,
            term: 3,
            members: vec![OriginMember {
                id: 0xabc,
                name: "one".to_owned(),
                peer_urls: vec!["http://127.0.0.1:2380".to_owned()],
                client_urls: Vec::new(),
                is_learner: false,
            }],
        };
        let (out, _) = export(&*self.0.view(), &origin, Cursor::new(Vec::new())).expect("exports");
        out.into_inner()
    }

    fn records(&self, space: Space) -> Vec<(Vec<u8>, Vec<u8>)> {
        let view = self.0.view();
        let mut cursor = view.cursor(space);
        cursor.seek(&[]).expect("reads");
        let mut found = Vec::new();
        while let Some((key, value)) = cursor.entry() {
            found.push((key.to_vec(), value.to_vec()));
            cursor.advance().expect("reads");
        }
        found
    }
}

impl Target for State {
    type Error = StorageError;

    fn write(&self, batch: &Batch) -> Result<(), StorageError> {
        self.0.write(batch)
    }

    fn view(&self) -> Box<dyn Read + '_> {
        self.0.view()
    }
}

fn restore(
    file: Vec<u8>,
    bump: Option<RevisionBump>,
) -> Result<(State, Imported), ImportError<StorageError>> {
    let state = State::empty();
    let imported = import(&Database::open(file)?, bump, &state)?;
    Ok((state, imported))
}

fn put(key: &[u8], value: &[u8], lease: i64) -> PutRequest {
    PutRequest {
        key: Bytes::copy_from_slice(key),
        value: Bytes::copy_from_slice(value),
        lease,
        ..PutRequest::default()
    }
}

fn put_command(key: &[u8], value: &[u8], lease: i64) -> Command {
    Command {
        put: Some(put(key, value, lease)),
        ..Command::default()
    }
}

fn delete_command(key: &[u8], range_end: &[u8]) -> Command {
    Command {
        delete_range: Some(DeleteRangeRequest {
            key: Bytes::copy_from_slice(key),
            range_end: Bytes::copy_from_slice(range_end),
            ..DeleteRangeRequest::default()
        }),
        ..Command::default()
    }
}

fn compact_command(revision: i64) -> Command {
    Command {
        compaction: Some(CompactionRequest {
            revision,
            ..CompactionRequest::default()
        }),
        ..Command::default()
    }
}

fn grant_command(id: i64, ttl: i64) -> Command {
    Command {
        lease_grant: Some(LeaseGrantRequest { id, ttl }),
        ..Command::default()
    }
}

fn any_command() -> impl Strategy<Value = Command> {
    let key = prop::sample::select(vec![&b"a"[..], b"b", b"b\0", b"c", b"\xff", b"\0"]);
    prop_oneof![
        8 => (key.clone(), any::<[u8; 2]>(), 0..4_i64)
            .prop_map(|(key, value, lease)| put_command(key, &value, lease)),
        2 => key.clone().prop_map(|key| delete_command(key, b"")),
        1 => key.clone().prop_map(|key| delete_command(key, b"\0")),
        1 => (1..4_i64, 0..100_i64).prop_map(|(id, ttl)| grant_command(id, ttl)),
        1 => (1..4_i64).prop_map(|id| Command {
            lease_revoke: Some(LeaseRevokeRequest { id }),
            ..Command::default()
        }),
        1 => (1..30_i64).prop_map(compact_command),
        2 => prop::collection::btree_set(key, 1..4).prop_map(|keys| Command {
            txn: Some(TxnRequest {
                success: keys
                    .into_iter()
                    .map(|key| RequestOp { request: Some(Request::RequestPut(put(key, b"txn", 0))) })
                    .collect(),
                ..TxnRequest::default()
            }),
            ..Command::default()
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_state_comes_back(
        commands in prop::collection::vec(any_command(), 0..60),
        swept in prop::option::of(1..20_usize),
    ) {
        let state = State::empty();
        for command in &commands {
            state.run(command);
        }
        if let Some(events) = swept {
            state.sweep(events);
        }
        let file = state.file();
        let (restored, imported) = restore(file.clone(), None).expect("imports");
        for space in [Space::History, Space::Keys, Space::Live, Space::Leases, Space::LeaseKeys] {
            prop_assert_eq!(restored.records(space), state.records(space), "{:?}", space);
        }
        let (old, new) = (
            KeptMeta::read(&*state.0.view()).expect("reads"),
            KeptMeta::read(&*restored.0.view()).expect("reads"),
        );
        prop_assert_eq!(&new, &old);
        prop_assert_eq!(imported.revision, old.revision);
        let mut bytes = 0;
        each_event::<ReadError>(&*state.0.view(), |event| {
            let event = Event { kv: Some(event.kv), ..Event::default() };
            bytes += event_bytes(&event);
            Ok(())
        })
        .expect("reads");
        prop_assert_eq!(restored.stored_bytes(), bytes);
        prop_assert!(restored.file() == file, "a backup of the restored state is the same file");
    }
}

#[test]
fn many_keys_are_counted_exactly_after_a_restore() {
    let state = State::empty();
    state.run(&grant_command(7, 60));
    for number in 0..2_000 {
        state.run(&put_command(
            format!("k{number:05}").as_bytes(),
            b"v",
            7 * (number % 2),
        ));
    }
    let (restored, _) = restore(state.file(), None).expect("imports");
    for (from, to) in [("k", "l"), ("k00300", "k01111"), ("k01999", "l"), ("a", "b")] {
        let request = RangeRequest {
            key: Bytes::copy_from_slice(from.as_bytes()),
            range_end: Bytes::copy_from_slice(to.as_bytes()),
            count_only: true,
            ..RangeRequest::default()
        };
        let count = |state: &State| range(&*state.0.view(), &request).expect("ranges").count;
        assert_eq!(count(&restored), count(&state), "{from} to {to}");
    }
    // And they go on being counted.
    restored.run(&delete_command(b"k", b"l"));
    assert_eq!(restored.records(Space::Live), []);
    assert_eq!(restored.records(Space::Counts), []);
    assert_eq!(restored.records(Space::LeaseKeys), []);
}

#[test]
fn a_bump_raises_the_revision_and_compacts_everything_before() {
    let state = State::empty();
    state.run(&put_command(b"a", b"1", 0));
    state.run(&put_command(b"a", b"2", 0));
    let (restored, imported) = restore(state.file(), Some(RevisionBump(1_000))).expect("imports");
    assert_eq!((imported.revision, imported.compacted), (1_003, 1_003));
    let meta = Meta::read(&*restored.0.view()).expect("reads");
    assert_eq!((meta.revision, meta.compacted), (1_003, 1_003));
    while !restored.sweep(1) {}
    assert_eq!(
        restored.records(Space::History).len(),
        1,
        "superseded versions go"
    );
    restored.run(&put_command(b"a", b"3", 0));
    let limits = PageLimits {
        revisions: 10,
        bytes: 1_000,
    };
    let all = KeyRange::new(Bytes::from_static(&[0]), Bytes::from_static(&[0]));
    let page = history_page(&*restored.0.view(), &all, (1_003, 1_004), true, limits).expect("reads");
    assert_eq!(page.events.len(), 1);
    let previous = page.events[0].prev_kv.clone().expect("kept");
    assert_eq!(previous.value.as_ref(), b"2");

    let (again, imported) = restore(restored.file(), None).expect("imports");
    assert_eq!((imported.revision, imported.compacted), (1_004, 1_003));
    assert_eq!(again.records(Space::Live), restored.records(Space::Live));
    assert!(matches!(
        restore(state.file(), Some(RevisionBump(u64::MAX))),
        Err(ImportError::Bump { .. })
    ));
}

#[test]
fn a_bumped_state_without_a_write_since_keeps_its_revision() {
    let state = State::empty();
    state.run(&put_command(b"a", b"1", 0));
    let (bumped, _) = restore(state.file(), Some(RevisionBump(50))).expect("imports");
    let (again, imported) = restore(bumped.file(), None).expect("imports");
    assert_eq!((imported.revision, imported.compacted), (52, 52));
    assert_eq!(
        Meta::read(&*again.0.view()).expect("reads"),
        Meta::read(&*bumped.0.view()).expect("reads")
    );
}

#[test]
fn status_tells_what_is_in_a_backup() {
    let state = State::empty();
    let empty = status(&Database::open(state.file()).expect("opens")).expect("reads");
    assert_eq!((empty.revision, empty.total_keys), (0, 0));
    state.run(&grant_command(1, MIN_LEASE_TTL));
    state.run(&put_command(b"a", b"1", 1));
    state.run(&put_command(b"a", b"2", 0));
    state.run(&put_command(b"b", b"1", 0));
    state.run(&delete_command(b"b", b""));
    let file = state.file();
    let length = file.len() as u64;
    let found = status(&Database::open(file).expect("opens")).expect("reads");
    assert_eq!((found.revision, found.total_keys), (5, 1));
    assert_eq!(found.total_size, length);
    assert_eq!(found.version, "3.6.0");
    assert_ne!(found.hash, empty.hash);
}

#[test]
fn the_history_hash_does_not_depend_on_when_a_compaction_is_done() {
    let state = State::empty();
    for value in [b"1", b"2", b"3"] {
        state.run(&put_command(b"a", value, 0));
        state.run(&put_command(b"b", value, 0));
    }
    state.run(&delete_command(b"b", b""));
    let hash = |state: &State, revision| {
        hash_history(&Database::open(state.file()).expect("opens"), revision).expect("hashes")
    };
    let before = hash(&state, 0);
    assert_eq!((before.revision, before.compacted), (8, -1));
    state.run(&compact_command(5));
    let planned = hash(&state, 0);
    while !state.sweep(1) {}
    assert_eq!(hash(&state, 0), planned);
    assert_ne!(hash(&state, 6).hash, planned.hash);
    let database = Database::open(state.file()).expect("opens");
    hash_history(&database, 4).expect_err("compacted");
    hash_history(&database, 9).expect_err("in the future");
}
