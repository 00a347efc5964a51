//! One suite for every engine.

use kvstore_core::{Batch, Space};
use kvstore_storage::{
    Engine, MemoryDisk, RaftLog, RocksEngine, RocksOptions, StagedState, StateDigest, StorageError,
    SyncStyle, each_state_chunk,
};
use proto::raftpb::{Blank, Entry, LogId, Vote, entry::Payload};
use std::sync::Arc;
use std::time::Duration;

/// A place where an engine can be opened again and again.
trait Disk {
    fn open(&self) -> Arc<dyn Engine>;
}

struct Rocks(tempfile::TempDir);

impl Disk for Rocks {
    fn open(&self) -> Arc<dyn Engine> {
        Arc::new(RocksEngine::open(self.0.path(), RocksOptions::default()).expect("opens"))
    }
}

impl Disk for MemoryDisk {
    fn open(&self) -> Arc<dyn Engine> {
        Arc::new(MemoryDisk::open(self, Duration::ZERO))
    }
}

fn suite(disk: &dyn Disk) {
    reads_are_ordered_and_consistent(&*disk.open());
    synced_writes_survive_a_reopening(disk);
    a_stage_takes_the_place_of_the_state(disk);
    a_stage_is_empty_after_a_crash(disk);
    the_log_keeps_what_it_is_told(disk);
    a_stream_makes_an_equal_state(disk);
}

#[test]
fn the_simulated_disk_conforms() {
    suite(&MemoryDisk::new());
}

#[test]
fn rocksdb_conforms() {
    suite(&Rocks(tempfile::tempdir().expect("temp dir")));
}

fn put(engine: &dyn Engine, space: Space, keys: &[&'static [u8]]) {
    let mut batch = Batch::default();
    for key in keys {
        batch.put(space, *key, *key);
    }
    engine.write(&batch).expect("writes");
}

fn keys(engine: &dyn Engine, space: Space) -> Vec<Vec<u8>> {
    let view = engine.view();
    let mut cursor = view.cursor(space);
    cursor.seek(&[]).expect("reads");
    let mut keys = Vec::new();
    while let Some((key, _)) = cursor.entry() {
        keys.push(key.to_vec());
        cursor.advance().expect("reads");
    }
    keys
}

fn reads_are_ordered_and_consistent(engine: &dyn Engine) {
    put(engine, Space::Live, &[b"b", b"", b"\xff\xff", b"a\0", b"a"]);
    assert_eq!(
        keys(engine, Space::Live),
        [&b""[..], b"a", b"a\0", b"b", b"\xff\xff"]
    );
    let view = engine.view();
    put(engine, Space::Live, &[b"c"]);
    assert_eq!(
        view.get(Space::Live, b"c").expect("reads"),
        None,
        "a view doesn't change"
    );
    assert_eq!(
        engine.view().get(Space::Live, b"c").expect("reads").as_deref(),
        Some(&b"c"[..])
    );
    assert_eq!(
        engine.view().get(Space::Keys, b"c").expect("reads"),
        None,
        "spaces are apart"
    );
    let mut cursor = view.cursor(Space::Live);
    cursor.seek(b"aa").expect("reads");
    assert_eq!(cursor.entry().map(|(key, _)| key), Some(&b"b"[..]));
    cursor.seek_back(b"aa").expect("reads");
    assert_eq!(cursor.entry().map(|(key, _)| key), Some(&b"a\0"[..]));
    cursor.retreat().expect("reads");
    assert_eq!(cursor.entry().map(|(key, _)| key), Some(&b"a"[..]));
    cursor.seek(b"\xff\xff\xff").expect("reads");
    assert_eq!(cursor.entry(), None);
}

fn synced_writes_survive_a_reopening(disk: &dyn Disk) {
    let engine = disk.open();
    put(&*engine, Space::Meta, &[b"synced"]);
    engine.sync().expect("syncs");
    drop(engine);
    let engine = disk.open();
    assert!(
        engine
            .view()
            .get(Space::Meta, b"synced")
            .expect("reads")
            .is_some()
    );
}

fn staged(space: Space, keys: &[&'static [u8]]) -> Batch {
    let mut batch = Batch::default();
    for key in keys {
        batch.put(space, *key, *key);
    }
    batch
}

fn a_stage_takes_the_place_of_the_state(disk: &dyn Disk) {
    let engine = disk.open();
    let late: &[u8] = &[0xff; 70];
    put(&*engine, Space::RaftState, &[b"kept"]);
    for round in 0..3 {
        put(&*engine, Space::History, &[b"old", late]);
        put(&*engine, Space::Leases, &[b"gone"]);
        let before = keys(&*engine, Space::History);
        engine
            .stage(&staged(Space::History, &[b"dropped"]))
            .expect("stages");
        engine.clear_stage().expect("clears");
        engine.stage(&staged(Space::History, &[b"new"])).expect("stages");
        engine
            .stage(&staged(Space::Live, &[b"live", late]))
            .expect("stages");
        assert_eq!(keys(&*engine, Space::History), before, "round {round}");
        let view = engine.view();
        engine.promote_stage().expect("promotes");
        assert!(view.get(Space::History, b"old").expect("reads").is_some());
        engine.clear_stage().expect("clears");
        assert!(view.get(Space::History, b"old").expect("reads").is_some());
        drop(view);
        assert_eq!(keys(&*engine, Space::History), [b"new"]);
        assert_eq!(keys(&*engine, Space::Live), [&b"live"[..], late]);
        assert_eq!(keys(&*engine, Space::Leases), Vec::<Vec<u8>>::new());
        assert!(keys(&*engine, Space::RaftState).contains(&b"kept".to_vec()));
    }
    // Durable by itself, and writable like any state.
    drop(engine);
    let engine = disk.open();
    assert_eq!(keys(&*engine, Space::History), [b"new"]);
    put(&*engine, Space::History, &[b"newer"]);
    engine.sync().expect("syncs");
    drop(engine);
    assert_eq!(keys(&*disk.open(), Space::History), [&b"new"[..], b"newer"]);
}

fn a_stage_is_empty_after_a_crash(disk: &dyn Disk) {
    let engine = disk.open();
    let before = keys(&*engine, Space::History);
    engine.stage(&staged(Space::History, &[b"half"])).expect("stages");
    engine.sync().expect("syncs");
    drop(engine);
    let engine = disk.open();
    assert_eq!(keys(&*engine, Space::History), before);
    engine.stage(&staged(Space::Live, &[b"whole"])).expect("stages");
    engine.promote_stage().expect("promotes");
    assert_eq!(keys(&*engine, Space::History), Vec::<Vec<u8>>::new());
    assert_eq!(keys(&*engine, Space::Live), [b"whole"]);
}

fn entry(index: u64) -> Entry {
    Entry {
        id: Some(LogId { term: 1, index }),
        payload: Some(if index == 0 {
            Payload::Blank(Blank {})
        } else {
            Payload::Command(vec![7; 10].into())
        }),
    }
}

fn the_log_keeps_what_it_is_told(disk: &dyn Disk) {
    let engine = disk.open();
    let log = RaftLog::new(Arc::clone(&engine));
    assert_eq!(log.last().expect("reads"), None);
    log.append((0..10).map(entry)).expect("appends");
    log.truncate_after(Some(7)).expect("truncates");
    log.purge(LogId { term: 1, index: 1 }).expect("purges");
    log.purge(LogId { term: 1, index: 2 }).expect("purges");
    // What is gone already is no reason to stop.
    log.purge(LogId { term: 1, index: 0 }).expect("purges");
    let vote = Vote {
        leader: None,
        committed: true,
    };
    log.save_vote(vote).expect("saves");
    drop((log, engine));
    let engine = disk.open();
    let log = RaftLog::new(Arc::clone(&engine));
    assert_eq!(
        log.read(0, 100, usize::MAX).expect("reads"),
        (3..8).map(entry).collect::<Vec<_>>()
    );
    assert_eq!(log.read(4, 6, usize::MAX).expect("reads").len(), 2);
    assert_eq!(log.read(3, 8, 1).expect("reads").len(), 1, "at least one");
    assert_eq!(log.last().expect("reads"), Some(LogId { term: 1, index: 7 }));
    assert_eq!(log.purged().expect("reads"), Some(LogId { term: 1, index: 2 }));
    assert_eq!(log.vote().expect("reads"), Some(vote));
    // A flipped bit is found.
    let mut batch = Batch::default();
    let mut record = engine
        .view()
        .get(Space::Log, &5_u64.to_be_bytes())
        .expect("reads")
        .expect("there")
        .to_vec();
    *record.last_mut().expect("not empty") ^= 1;
    batch.put(Space::Log, 5_u64.to_be_bytes().to_vec(), record);
    engine.write(&batch).expect("writes");
    assert!(matches!(
        log.read(5, 6, usize::MAX),
        Err(StorageError::CorruptLog { index: 5, .. })
    ));
}

fn a_stream_makes_an_equal_state(disk: &dyn Disk) {
    let source = disk.open();
    let large: Vec<u8> = vec![7; 300_000];
    let mut batch = Batch::default();
    for number in 0..20_u8 {
        batch.put(Space::Live, vec![number], large.clone());
        batch.put(Space::Keys, vec![number], vec![number]);
    }
    source.write(&batch).expect("writes");
    let target: Arc<dyn Engine> = Arc::new(MemoryDisk::new().open(Duration::ZERO));
    put(&*target, Space::Live, &[b"stale"]);
    put(&*target, Space::Log, &[b"log"]);
    let mut state = StagedState::begin(Arc::clone(&target)).expect("begins");
    let mut chunks = 0;
    let sent = each_state_chunk::<StorageError>(&*source.view(), |records| {
        chunks += 1;
        state.add(records)
    })
    .expect("reads");
    assert!(chunks > 4, "{chunks}");
    let damaged = StateDigest {
        checksum: sent.checksum ^ 1,
        ..sent
    };
    state.check(damaged).expect_err("another checksum");
    state.check(sent).expect("the same");
    state.promote().expect("promotes").clear_stage().expect("clears");
    let view = target.view();
    for space in Space::STATE {
        assert_eq!(keys(&*target, space), keys(&*source, space));
    }
    assert_eq!(
        view.get(Space::Live, &[3]).expect("reads").as_deref(),
        Some(&large[..])
    );
    drop(view);
    assert_eq!(keys(&*target, Space::Log), [b"log"]);

    // One that is given up leaves nothing behind.
    let mut state = StagedState::begin(Arc::clone(&target)).expect("begins");
    each_state_chunk::<StorageError>(&*source.view(), |records| state.add(records)).expect("reads");
    drop(state);
    target.promote_stage().expect("promotes an empty stage");
    assert_eq!(keys(&*target, Space::Live), Vec::<Vec<u8>>::new());
}

#[test]
fn a_crash_of_the_simulated_disk_keeps_a_prefix_of_the_writes() {
    let disk = MemoryDisk::new();
    let engine = MemoryDisk::open(&disk, Duration::ZERO);
    put(&engine, Space::Live, &[b"1"]);
    engine.sync().expect("syncs");
    for key in [&b"2"[..], b"3", b"4"] {
        let mut batch = Batch::default();
        batch.put(Space::Live, key.to_vec(), &b""[..]);
        engine.write(&batch).expect("writes");
    }
    assert_eq!(disk.unsynced(), 3);
    disk.survive(1);
    let after = MemoryDisk::open(&disk, Duration::ZERO);
    assert_eq!(keys(&after, Space::Live), [b"1", b"2"]);
    // The engine from before the crash is dead.
    assert!(engine.write(&Batch::default()).is_err());
    assert!(matches!(engine.sync(), Err(StorageError::Poisoned(_))));
}

#[test]
fn a_failed_sync_poisons() {
    let disk = MemoryDisk::new();
    let engine = MemoryDisk::open(&disk, Duration::ZERO);
    disk.fail();
    assert!(matches!(engine.sync(), Err(StorageError::Io { .. })));
    assert!(matches!(engine.sync(), Err(StorageError::Poisoned(_))));
    assert!(matches!(
        engine.write(&Batch::default()),
        Err(StorageError::Poisoned(_))
    ));
}

#[test]
fn a_full_simulated_disk_refuses_and_works_again_after_room_was_made() {
    let disk = MemoryDisk::new();
    let engine = MemoryDisk::open(&disk, Duration::ZERO);
    put(&engine, Space::Live, &[b"kept"]);
    engine.sync().expect("syncs");
    assert_eq!(disk.used(), 8);
    disk.limit(Some(10));
    let mut batch = Batch::default();
    batch.put(Space::Live, &b"key"[..], &b"value"[..]);
    let full = engine.write(&batch).expect_err("no room");
    assert!(full.to_string().contains("No space left on device"), "{full}");
    assert!(matches!(engine.sync(), Err(StorageError::Poisoned(_))));
    disk.heal();
    let engine = MemoryDisk::open(&disk, Duration::ZERO);
    assert_eq!(keys(&engine, Space::Live), [b"kept"]);
    engine.write(&batch).expect("there is room");
    assert_eq!(disk.used(), 16);
}

#[test]
fn a_simulated_disk_is_as_slow_as_it_is_told() {
    let disk = MemoryDisk::new();
    let engine = MemoryDisk::open(&disk, Duration::from_millis(2));
    disk.slow_down(Duration::from_millis(500));
    assert_eq!(
        engine.sync_style(),
        SyncStyle::Simulated(Duration::from_millis(502))
    );
    disk.heal();
    assert_eq!(
        engine.sync_style(),
        SyncStyle::Simulated(Duration::from_millis(2))
    );
}

#[test]
fn damage_to_a_simulated_disk_shows_in_what_is_read_and_stays() {
    let disk = MemoryDisk::new();
    let engine = MemoryDisk::open(&disk, Duration::ZERO);
    put(&engine, Space::Live, &[b"a", b"b"]);
    engine.sync().expect("syncs");
    let victim = disk.keys(Space::Live).remove(1);
    assert!(disk.corrupt(Space::Live, &victim, |value| value[0] ^= 1));
    assert!(!disk.corrupt(Space::Live, b"nothing", |_| ()));
    for engine in [engine, MemoryDisk::open(&disk, Duration::ZERO)] {
        let read = engine.view().get(Space::Live, b"b").expect("reads");
        assert_eq!(read.as_deref(), Some(&b"c"[..]));
    }
}

#[test]
fn a_simulated_disk_that_lies_loses_what_it_called_durable() {
    let disk = MemoryDisk::new();
    let engine = MemoryDisk::open(&disk, Duration::ZERO);
    disk.ignore_syncs(true);
    put(&engine, Space::Live, &[b"a"]);
    engine.sync().expect("says so");
    put(&engine, Space::Live, &[b"b", b"c"]);
    disk.tear(1);
    let engine = MemoryDisk::open(&disk, Duration::ZERO);
    assert_eq!(keys(&engine, Space::Live), [b"a", b"b"]);
    disk.fail_reads();
    assert!(engine.view().get(Space::Live, b"a").is_err());
    assert!(engine.view().cursor(Space::Live).seek(b"").is_err());
}
