//! Giving back the space of deleted records.
//!
//! RocksDB does that by itself: files in which deletions are dense are marked for compaction when they are
//! written. This is for those who can't wait: it rewrites the files that hold deletions, one range at a
//! time, at the pace of the thread it runs on. Readers and writers go on.

use rocksdb::{CompactOptions, DB};
use std::collections::BTreeSet;

/// Files with fewer deletions than one in so many records are left alone: rewriting costs more than it gives.
const WORTH_IT: u64 = 20;

/// A range of keys of one column family.
type Piece = (String, Vec<u8>, Vec<u8>);

/// Rewrites what is worth it, until `go_on` says `false`.
pub fn reclaim(db: &DB, go_on: &mut dyn FnMut() -> bool) -> Result<(), String> {
    for (_, name) in super::side::families() {
        if let Some(family) = db.cf_handle(name) {
            // Deletions that are still in memory hide nothing on disk.
            db.flush_cf(family).map_err(|error| error.to_string())?;
        }
        if !go_on() {
            return Ok(());
        }
    }
    let mut options = CompactOptions::default();
    // Beside RocksDB's own compactions, not instead of them.
    options.set_exclusive_manual_compaction(false);
    for (family, from, to) in pieces(db)? {
        if let Some(family) = db.cf_handle(&family) {
            db.compact_range_cf_opt(family, Some(from), Some(to), &options);
        }
        if !go_on() {
            break;
        }
    }
    Ok(())
}

fn pieces(db: &DB) -> Result<BTreeSet<Piece>, String> {
    let files = db.live_files().map_err(|error| error.to_string())?;
    Ok(files
        .into_iter()
        .filter(|file| file.num_deletions * WORTH_IT > file.num_entries)
        .filter_map(|file| Some((file.column_family_name, file.start_key?, file.end_key?)))
        .collect())
}
