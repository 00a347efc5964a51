//! The file format: what is written is read back, and no damage goes unnoticed or does harm.

use kvstore_backup::{BoltWriter, Checked, ChecksumError, Database, FormatError, digest_of, verify};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::io::Cursor;

type Buckets = BTreeMap<Vec<u8>, BTreeMap<Vec<u8>, Vec<u8>>>;

fn write(buckets: &Buckets) -> Vec<u8> {
    let mut file = BoltWriter::new(Cursor::new(Vec::new())).expect("begins");
    for (name, entries) in buckets {
        file.bucket(name).expect("a bucket");
        for (key, value) in entries {
            file.put(key, value).expect("an entry");
        }
    }
    let (out, length) = file.finish().expect("finishes");
    let bytes = out.into_inner();
    assert_eq!(bytes.len() as u64, length);
    bytes
}

fn read(bytes: Vec<u8>) -> Result<Buckets, FormatError> {
    let database = Database::open(bytes)?;
    let mut found = Buckets::new();
    for bucket in database.buckets()? {
        let mut entries = database.entries(&bucket);
        let into = found.entry(bucket.name.clone()).or_default();
        while let Some((key, value)) = entries.next()? {
            into.insert(key.to_vec(), value.to_vec());
        }
    }
    Ok(found)
}

fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let digest = digest_of(&bytes, bytes.len() as u64).expect("hashes");
    bytes.extend_from_slice(&digest);
    bytes
}

fn numbered(count: u32, value: usize) -> BTreeMap<Vec<u8>, Vec<u8>> {
    (0..count)
        .map(|at| (at.to_be_bytes().to_vec(), vec![at as u8; value]))
        .collect()
}

/// A file with every kind of page: inline and empty buckets, overflow, three levels.
fn rich() -> Buckets {
    Buckets::from([
        (b"a small one".to_vec(), numbered(5, 9)),
        (b"deep".to_vec(), numbered(40_000, 40)),
        (b"empty".to_vec(), BTreeMap::new()),
        (b"long".to_vec(), numbered(7, 30_000)),
    ])
}

#[test]
fn a_file_with_every_kind_of_page_is_read_back() {
    let buckets = rich();
    assert!(read(write(&buckets)).expect("reads") == buckets);
    assert_eq!(read(write(&Buckets::new())).expect("reads"), Buckets::new());
}

#[test]
fn entries_out_of_order_are_refused() {
    let mut file = BoltWriter::new(Cursor::new(Vec::new())).expect("begins");
    file.bucket(b"b").expect("a bucket");
    file.put(b"2", b"").expect("an entry");
    file.put(b"2", b"").expect_err("the same key");
    file.put(b"1", b"").expect_err("an earlier key");
    file.put(b"", b"").expect_err("an empty key");
    file.bucket(b"a").expect("is told when it ends");
    file.finish().map(|_| ()).expect_err("an earlier bucket");
}

#[test]
fn a_flipped_byte_anywhere_breaks_the_checksum() {
    let good = sealed(write(&rich()));
    assert_eq!(verify(&good).expect("verifies"), Checked::Good);
    let step = good.len() / 97;
    for at in (0..good.len()).step_by(step).chain(good.len() - 32..good.len()) {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        assert!(
            matches!(verify(&bad), Err(ChecksumError::Mismatch { .. })),
            "byte {at}"
        );
    }
}

#[test]
fn a_truncated_file_is_refused() {
    let good = sealed(write(&rich()));
    let database = good.len() - 32;
    for length in (0..database)
        .step_by(database / 61)
        .chain(database - 1..good.len())
    {
        let cut = good[..length].to_vec();
        assert_ne!(verify(&cut).ok(), Some(Checked::Good), "{length} bytes");
        assert_eq!(Database::open(cut).is_err(), length < database, "{length} bytes");
    }
    let mut no_checksum = good;
    no_checksum.truncate(no_checksum.len() - 32);
    assert_eq!(verify(&no_checksum).expect("looks"), Checked::Absent);
}

#[test]
fn either_meta_page_is_enough() {
    let buckets = rich();
    for page in 0..2 {
        let mut bytes = write(&buckets);
        bytes[page * 4096..(page + 1) * 4096].fill(0xa5);
        assert!(read(bytes).expect("reads") == buckets, "page {page}");
    }
    let mut bytes = write(&buckets);
    bytes[..2 * 4096].fill(0);
    assert!(matches!(read(bytes), Err(FormatError::NoMeta)));
}

#[test]
fn a_page_that_refers_to_itself_is_refused() {
    let mut bytes = write(&rich());
    let mut branches = 0;
    for page in 2..bytes.len() / 4096 {
        let at = page * 4096;
        if bytes[at + 8] == 1 {
            bytes[at + 24..at + 32].copy_from_slice(&(page as u64).to_le_bytes());
            branches += 1;
        }
    }
    assert!(branches > 0);
    assert!(matches!(read(bytes), Err(FormatError::Page { .. })));
}

fn any_buckets() -> impl Strategy<Value = Buckets> {
    let key = prop::collection::vec(any::<u8>(), 1..40);
    let value = prop_oneof![
        8 => prop::collection::vec(any::<u8>(), 0..60),
        1 => prop::collection::vec(any::<u8>(), 3_000..9_000),
    ];
    let entries = prop::collection::btree_map(key, value, 0..300);
    prop::collection::btree_map(prop::collection::vec(any::<u8>(), 1..9), entries, 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_records_are_read_back(buckets in any_buckets()) {
        prop_assert_eq!(read(write(&buckets)).expect("reads"), buckets);
    }

    #[test]
    fn damaged_files_give_entries_or_an_error(
        buckets in any_buckets(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
    ) {
        let mut bytes = write(&buckets);
        // The meta pages stay: they have a checksum, and past them it gets interesting.
        let body = bytes.len() - 2 * 4096;
        for (at, byte) in damage {
            bytes[2 * 4096 + at.index(body)] = byte;
        }
        let _ = read(bytes);
    }

    #[test]
    fn damaged_headers_give_entries_or_an_error(
        buckets in any_buckets(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), 0..48_usize, any::<u8>()), 1..20),
    ) {
        let mut bytes = write(&buckets);
        let pages = bytes.len() / 4096;
        for (page, at, byte) in damage {
            bytes[(2 + page.index(pages - 2)) * 4096 + at] = byte;
        }
        let _ = read(bytes);
    }

    #[test]
    fn any_bytes_give_entries_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..20_000)) {
        let _ = verify(&bytes);
        let _ = read(bytes);
    }
}
