//! Files of a database that are not what was written.

use super::workload;
use kvstore_core::{Batch, Space};
use kvstore_storage::{Engine, RocksEngine, RocksOptions, StorageError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn open(path: &Path) -> Result<Arc<dyn Engine>, StorageError> {
    Ok(Arc::new(RocksEngine::open(path, RocksOptions::default())?))
}

/// The newest file with this ending.
fn newest(folder: &Path, ending: &str) -> PathBuf {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|found| found == ending))
        .collect();
    files.sort();
    files.pop().unwrap_or_else(|| panic!("no .{ending} file"))
}

/// A database with 60 synced entries and what was not synced after them; gives the last synced one, and how
/// long the log was then.
fn written(folder: &Path) -> (u64, u64) {
    let engine = open(folder).expect("opens");
    let (mut last, mut length) = (0, 0);
    workload::run(&engine, (1, 60), &mut |index| {
        last = index;
        length = std::fs::metadata(newest(folder, "log")).expect("there").len();
    })
    .expect("works");
    (last, length)
}

#[test]
fn a_torn_end_of_the_log_loses_only_what_was_not_synced() {
    let folder = tempfile::tempdir().expect("temp dir");
    for round in 0..12_u64 {
        let path = folder.path().join(round.to_string());
        let (last, synced) = written(&path);
        let log = newest(&path, "log");
        let mut bytes = std::fs::read(&log).expect("reads");
        let unsynced = bytes.len() as u64 - synced;
        assert!(unsynced > 0, "the last entry is applied after its sync");
        if round % 2 == 0 {
            bytes.truncate((synced + round * unsynced / 12) as usize);
        } else {
            // Only the very last record may be garbled: a power cut doesn't write past a hole.
            let end = bytes.len();
            for byte in &mut bytes[end - (round as usize).min(8)..] {
                *byte ^= 0x5a;
            }
        }
        std::fs::write(&log, bytes).expect("writes");
        workload::check(&open(&path).expect("a torn end is no damage"), last);
    }
}

#[test]
fn damage_in_the_middle_of_the_log_is_refused_and_named() {
    let folder = tempfile::tempdir().expect("temp dir");
    for round in 1..8_usize {
        let path = folder.path().join(round.to_string());
        written(&path);
        let log = newest(&path, "log");
        let mut bytes = std::fs::read(&log).expect("reads");
        let at = bytes.len() * round / 9;
        bytes[at] ^= 0x10;
        std::fs::write(&log, &bytes).expect("writes");
        let refused = open(&path)
            .err()
            .expect("never opened as if nothing were missing")
            .to_string();
        assert!(refused.contains("is damaged at byte"), "{refused}");
        assert!(refused.contains(".log"), "{refused}");
        // Mended, it opens: looking at it has changed nothing.
        bytes[at] ^= 0x10;
        std::fs::write(&log, bytes).expect("writes");
        open(&path).expect("opens");
    }
}

#[test]
fn a_damaged_table_file_is_found_when_it_is_read_and_closes_the_store() {
    let folder = tempfile::tempdir().expect("temp dir");
    let value = |number: u32| format!("{number:08}").repeat(64);
    {
        let engine = open(folder.path()).expect("opens");
        let mut batch = Batch::default();
        for number in 0..2_000_u32 {
            batch.put(Space::Live, number.to_be_bytes().to_vec(), value(number));
        }
        engine.write(&batch).expect("writes");
        // Into a table file.
        engine.reclaim(&mut || true).expect("flushes");
    }
    let table = newest(folder.path(), "sst");
    let mut bytes = std::fs::read(&table).expect("reads");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&table, bytes).expect("writes");
    let engine = match open(folder.path()) {
        Ok(engine) => engine,
        // Found at once: just as well.
        Err(_) => return,
    };
    let mut failures = 0;
    for number in 0..2_000_u32 {
        match engine.view().get(Space::Live, &number.to_be_bytes()) {
            Ok(read) => assert_eq!(
                read.as_deref(),
                Some(value(number).as_bytes()),
                "never silently wrong"
            ),
            Err(_) => failures += 1,
        }
    }
    assert!(failures > 0);
    assert!(matches!(engine.failure(), Some(StorageError::Poisoned(_))));
    assert!(matches!(
        engine.write(&Batch::default()),
        Err(StorageError::Poisoned(_))
    ));
    let view = engine.view();
    let mut cursor = view.cursor(Space::Live);
    let mut outcome = cursor.seek(&[]);
    while outcome.is_ok() && cursor.entry().is_some() {
        outcome = cursor.advance();
    }
    assert!(outcome.is_err(), "a scan notices too");
}

#[test]
fn newer_formats_are_refused_with_both_numbers() {
    let folder = tempfile::tempdir().expect("temp dir");
    {
        let engine = open(folder.path()).expect("opens");
        let mut batch = Batch::default();
        batch.put(Space::RaftState, &b"format"[..], vec![200]);
        engine.write(&batch).expect("writes");
        engine.sync().expect("syncs");
    }
    let refused = open(folder.path()).err().expect("is refused").to_string();
    assert_eq!(refused, "the store has format 200, this release reads format 1");
    let mut record = kvstore_storage::encode_entry(&Default::default()).to_vec();
    record[0] = 7;
    let refused = kvstore_storage::decode_entry(0, record.into()).expect_err("is refused");
    assert_eq!(
        refused.to_string(),
        "a record of the log has format 7, this release reads format 1"
    );
    let refused = kvstore_storage::check_state_format(9).expect_err("is refused");
    assert_eq!(
        refused.to_string(),
        "the snapshot has format 9, this release reads format 1"
    );
    for known in [0, 1] {
        kvstore_storage::check_state_format(known).expect("is read");
    }
}
