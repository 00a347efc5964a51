//! RocksDB as an engine: one database, one write-ahead log, a column family for each space.
//!
//! The spaces of the state have two families each: one side is the state, the other the stage. A record
//! says which is which; to promote the stage is to write that record.
//!
//! One write-ahead log is what gives the order that [`Engine`] promises: a synced raft log entry carries
//! all state written before it along, and a purge of the log can't outlive the state it relied on.

mod reclaim;
mod side;
mod wal;

use crate::engine::{Engine, SharedRead, SyncStyle};
use crate::error::StorageError;
use bytes::Bytes;
use kvstore_core::{Batch, Cursor, FORMAT, Read, ReadError, Space};
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType, DBRawIterator,
    DBRecoveryMode, ErrorKind, FlushOptions, Options, ReadOptions, SnapshotWithThreadMode, WriteBatch,
    WriteOptions,
};
use self_cell::self_cell;
use side::Side;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Where the format version is kept: in the raft state, which a snapshot does not replace.
const FORMAT_KEY: &[u8] = b"format";

/// Which side is the state: one byte, 0 when there is none. Not part of a snapshot either.
const SIDE_KEY: &[u8] = b"side";

/// Bytes that a scan reads ahead.
const SCAN_READAHEAD: usize = 1 << 20;

/// Nearly every key comes before this one.
const LATE: &[u8] = &[0xff; 64];

/// How much memory and how many threads RocksDB may take.
#[derive(Debug, Clone, Copy)]
pub struct RocksOptions {
    /// Bytes of decoded blocks kept for reads.
    pub block_cache: usize,
    /// Bytes of recent writes kept in memory, all spaces together, before they go to table files.
    pub write_buffers: usize,
    /// Bytes of write-ahead log after which old write buffers are flushed.
    pub max_wal: u64,
}

impl Default for RocksOptions {
    /// Small: the whole control plane shares the machine. A busy store of gigabytes wants more cache.
    fn default() -> Self {
        Self {
            block_cache: 32 << 20,
            write_buffers: 32 << 20,
            max_wal: 128 << 20,
        }
    }
}

/// A database directory.
pub struct RocksEngine {
    db: DB,
    state: side::Current,
    poison: Mutex<Option<String>>,
}

impl RocksEngine {
    /// Opens or creates the database in `path`.
    ///
    /// # Errors
    /// When it is in use, damaged, or of another format.
    pub fn open(path: &Path, options: RocksOptions) -> Result<Self, StorageError> {
        let failed = |reason: String| StorageError::Open {
            path: path.display().to_string(),
            reason,
        };
        std::fs::create_dir_all(path).map_err(|error| failed(error.to_string()))?;
        let cache = Cache::new_lru_cache(options.block_cache);
        let open = |recovery| {
            let mut database = database_options(options);
            database.set_wal_recovery_mode(recovery);
            let families = side::families().into_iter().map(|(space, name)| {
                let family = family_options(space, &cache, options.write_buffers);
                ColumnFamilyDescriptor::new(name, family)
            });
            DB::open_cf_descriptors(&database, path, families)
        };
        let db = match open(DBRecoveryMode::TolerateCorruptedTailRecords) {
            Ok(db) => db,
            Err(error) if error.kind() == ErrorKind::Corruption => {
                let reason = error.to_string();
                check_torn_end(path, &reason).map_err(failed)?;
                open(DBRecoveryMode::PointInTime).map_err(|error| failed(error.to_string()))?
            }
            Err(error) => return Err(failed(error.to_string())),
        };
        let engine = Self {
            db,
            state: side::Current::default(),
            poison: Mutex::new(None),
        };
        engine.check_format()?;
        engine.find_state()?;
        Ok(engine)
    }

    fn check_format(&self) -> Result<(), StorageError> {
        match self.view().get(Space::RaftState, FORMAT_KEY)?.as_deref() {
            Some([found]) if *found == FORMAT => Ok(()),
            Some(found) => Err(StorageError::Format {
                what: "the store",
                found: found.first().copied().unwrap_or(0).into(),
                expected: FORMAT.into(),
            }),
            None => {
                let mut batch = Batch::default();
                batch.put(Space::RaftState, FORMAT_KEY, vec![FORMAT]);
                self.write(&batch)?;
                self.sync()
            }
        }
    }

    /// Reads which side is the state, and empties the other: what a crash left of a stage.
    fn find_state(&self) -> Result<(), StorageError> {
        if let Some(record) = self.view().get(Space::RaftState, SIDE_KEY)? {
            let side = Side::parse(&record).ok_or_else(|| ReadError::corrupt(Space::RaftState, "side"))?;
            self.state.set(side);
        }
        self.clear_stage()
    }

    fn family(&self, space: Space, side: Side) -> Result<&ColumnFamily, ReadError> {
        let name = side.family(space);
        self.db
            .cf_handle(name)
            .ok_or_else(|| ReadError::Io(format!("no column family {name}")))
    }

    /// Adds the deletion of everything in `family` to `writes`.
    fn delete_all(&self, family: &ColumnFamily, writes: &mut WriteBatch) {
        writes.delete_range_cf(family, &[][..], LATE);
        // A range delete has no open end; the odd keys past it go one by one.
        let mut rest = self.db.raw_iterator_cf(family);
        rest.seek(LATE);
        while let Some(key) = rest.key() {
            writes.delete_cf(family, key);
            rest.next();
        }
    }

    fn is_empty(&self, family: &ColumnFamily) -> bool {
        let mut iterator = self.db.raw_iterator_cf(family);
        iterator.seek_to_first();
        !iterator.valid()
    }

    fn write_to(&self, side: Side, batch: &Batch, options: &WriteOptions) -> Result<(), StorageError> {
        let writes = self.encode(side, batch)?;
        self.write_encoded(writes, options)
    }

    fn encode(&self, side: Side, batch: &Batch) -> Result<WriteBatch, StorageError> {
        let mut writes = WriteBatch::default();
        // A batch has its spaces one after the other: each is looked up once.
        let mut at: Option<(Space, &ColumnFamily)> = None;
        for write in &batch.0 {
            let family = match at {
                Some((space, family)) if space == write.space => family,
                _ => self.family(write.space, side)?,
            };
            at = Some((write.space, family));
            match &write.value {
                Some(value) => writes.put_cf(family, &write.key, value),
                None => writes.delete_cf(family, &write.key),
            }
        }
        Ok(writes)
    }

    fn write_encoded(&self, writes: WriteBatch, options: &WriteOptions) -> Result<(), StorageError> {
        self.guarded("writing a batch", || {
            self.db
                .write_opt(writes, options)
                .map_err(|error| error.to_string())
        })
    }

    /// Runs `operation` unless an earlier one failed; remembers its failure.
    fn guarded<T>(
        &self,
        name: &'static str,
        operation: impl FnOnce() -> Result<T, String>,
    ) -> Result<T, StorageError> {
        let poison = || self.poison.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reason) = poison().as_ref() {
            return Err(StorageError::Poisoned(reason.clone()));
        }
        operation().map_err(|reason| {
            self.poison(name, &reason);
            StorageError::Io {
                operation: name,
                reason,
            }
        })
    }

    fn poison(&self, operation: &'static str, reason: &str) {
        tracing::error!(operation, reason, "the disk failed; the store stops");
        let mut poison = self.poison.lock().unwrap_or_else(PoisonError::into_inner);
        poison.get_or_insert_with(|| reason.to_owned());
    }

    /// Remembers that a read failed: what it was after may be missing from anything.
    fn unreadable(&self, error: &rocksdb::Error) -> ReadError {
        let reason = error.to_string();
        self.poison("reading", &reason);
        ReadError::Io(reason)
    }
}

impl Engine for RocksEngine {
    fn view(&self) -> Box<dyn Read + '_> {
        Box::new(RocksView::of(self))
    }

    fn shared_view(self: Arc<Self>) -> Box<dyn SharedRead> {
        Box::new(SharedView::new(self, |engine| RocksView::of(engine)))
    }

    fn write(&self, batch: &Batch) -> Result<(), StorageError> {
        self.write_to(self.state.get(), batch, &WriteOptions::default())
    }

    fn write_and_cut(&self, batch: &Batch, space: Space, from: &[u8], to: &[u8]) -> Result<(), StorageError> {
        let side = self.state.get();
        let mut writes = self.encode(side, batch)?;
        writes.delete_range_cf(self.family(space, side)?, from, to);
        self.write_encoded(writes, &WriteOptions::default())
    }

    fn clear_stage(&self) -> Result<(), StorageError> {
        let stage = self.state.get().other();
        let mut writes = WriteBatch::default();
        let mut used = Vec::new();
        for space in Space::STATE {
            let family = self.family(space, stage)?;
            if !self.is_empty(family) {
                self.delete_all(family, &mut writes);
                used.push(family);
            }
        }
        if used.is_empty() {
            return Ok(());
        }
        self.guarded("emptying the stage", || {
            let options = stage_options();
            self.db
                .write_opt(writes, &options)
                .map_err(|error| error.to_string())
        })?;
        for family in used {
            // Deleted ranges are skipped, not read: this costs little and gives the space back now.
            self.db.compact_range_cf(family, None::<&[u8]>, None::<&[u8]>);
        }
        Ok(())
    }

    fn stage(&self, batch: &Batch) -> Result<(), StorageError> {
        self.write_to(self.state.get().other(), batch, &stage_options())
    }

    fn promote_stage(&self) -> Result<(), StorageError> {
        let stage = self.state.get().other();
        let families = Space::STATE
            .iter()
            .map(|space| self.family(*space, stage))
            .collect::<Result<Vec<_>, ReadError>>()?;
        // What was written past the log must be in files before the record that makes it count.
        self.guarded("flushing the stage", || {
            let mut options = FlushOptions::default();
            options.set_wait(true);
            self.db
                .flush_cfs_opt(&families, &options)
                .map_err(|error| error.to_string())
        })?;
        let mut promotion = Batch::default();
        promotion.put(Space::RaftState, SIDE_KEY, stage.record());
        self.write(&promotion)?;
        self.sync()?;
        self.state.set(stage);
        Ok(())
    }

    fn sync(&self) -> Result<(), StorageError> {
        self.guarded("syncing the write-ahead log", || {
            self.db.flush_wal(true).map_err(|error| error.to_string())
        })
    }

    fn sync_style(&self) -> SyncStyle {
        SyncStyle::Thread
    }

    fn size(&self) -> u64 {
        side::families()
            .iter()
            .filter_map(|(_, name)| {
                let family = self.db.cf_handle(name)?;
                let size = |name| self.db.property_int_value_cf(family, name).ok().flatten();
                Some(size("rocksdb.total-sst-files-size")? + size("rocksdb.cur-size-all-mem-tables")?)
            })
            .sum()
    }

    fn reclaim(&self, go_on: &mut dyn FnMut() -> bool) -> Result<(), StorageError> {
        self.guarded("reclaiming space", || reclaim::reclaim(&self.db, go_on))
    }

    fn failure(&self) -> Option<StorageError> {
        let poison = self.poison.lock().unwrap_or_else(PoisonError::into_inner);
        poison.clone().map(StorageError::Poisoned)
    }
}

/// Whether a database that RocksDB calls corrupt only has a torn end: a write that was under way when the
/// power went, and that nobody was told of.
fn check_torn_end(path: &Path, reason: &str) -> Result<(), String> {
    match wal::damage(path) {
        Ok(Some(damage)) if damage.followed => Err(format!(
            "{} is damaged at byte {}, before records that were written later: {reason}",
            damage.file.display(),
            damage.offset
        )),
        Ok(Some(damage)) => {
            let file = damage.file.display().to_string();
            tracing::warn!(
                file,
                offset = damage.offset,
                "dropping the torn end of the write-ahead log"
            );
            Ok(())
        }
        Ok(None) => Err(reason.to_owned()),
        Err(error) => Err(format!("{reason}; reading the write-ahead log: {error}")),
    }
}

fn database_options(options: RocksOptions) -> Options {
    let mut db = Options::default();
    db.create_if_missing(true);
    db.create_missing_column_families(true);
    db.set_db_write_buffer_size(options.write_buffers);
    db.set_max_total_wal_size(options.max_wal);
    db.set_max_background_jobs(2);
    db.set_keep_log_file_num(4);
    db.set_bytes_per_sync(1 << 20);
    // A log that is missing, or shorter than it was when it was synced, is noticed.
    db.set_track_and_verify_wals_in_manifest(true);
    db
}

fn family_options(space: Space, cache: &Cache, write_buffers: usize) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_format_version(5);
    if matches!(space, Space::Live | Space::History | Space::Leases) {
        // Point look-ups of keys that are mostly there: a filter saves reading the deeper levels.
        table.set_bloom_filter(10.0, false);
    }
    let mut family = Options::default();
    family.set_block_based_table_factory(&table);
    // Most that is written is overwritten, compacted or purged before it reaches the last level, and there nine
    // tenths of the data are: to compress it sooner takes a third of a writer's time and saves little.
    family.set_compression_type(DBCompressionType::None);
    if Space::STATE.contains(&space) {
        family.set_bottommost_compression_type(DBCompressionType::Lz4);
    }
    family.set_write_buffer_size(write_buffers / 2);
    family.set_level_compaction_dynamic_level_bytes(true);
    // Compaction of revisions and of the log deletes in long runs: files full of that are rewritten soon,
    // which gives their space back and keeps scans from wading through it.
    family.add_compact_on_deletion_collector_factory(1024, 512, 0.5);
    family
}

/// How the stage is written: past the log, which need not carry it.
fn stage_options() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.disable_wal(true);
    options
}

struct RocksView<'a> {
    snapshot: SnapshotWithThreadMode<'a, DB>,
    side: Side,
    engine: &'a RocksEngine,
}

impl<'a> RocksView<'a> {
    fn of(engine: &'a RocksEngine) -> Self {
        // A promotion between the two would give the snapshot of one side and the name of the other.
        loop {
            let side = engine.state.get();
            let snapshot = engine.db.snapshot();
            if side == engine.state.get() {
                return Self {
                    snapshot,
                    side,
                    engine,
                };
            }
        }
    }
}

self_cell! {
    /// A view and the engine that it is of.
    struct SharedView {
        owner: Arc<RocksEngine>,
        #[covariant]
        dependent: RocksView,
    }
}

impl Read for SharedView {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        self.borrow_dependent().get(space, key)
    }

    fn cursor(&self, space: Space) -> Box<dyn Cursor + '_> {
        self.borrow_dependent().cursor(space)
    }

    fn scan(&self, space: Space) -> Box<dyn Cursor + '_> {
        self.borrow_dependent().scan(space)
    }
}

impl Read for RocksView<'_> {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        let family = self.engine.family(space, self.side)?;
        self.snapshot
            .get_cf(family, key)
            .map(|found| found.map(Bytes::from))
            .map_err(|error| self.engine.unreadable(&error))
    }

    fn cursor(&self, space: Space) -> Box<dyn Cursor + '_> {
        Box::new(RocksCursor {
            engine: self.engine,
            iterator: self
                .engine
                .family(space, self.side)
                .map(|family| self.snapshot.raw_iterator_cf(family)),
        })
    }

    fn scan(&self, space: Space) -> Box<dyn Cursor + '_> {
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        options.set_readahead_size(SCAN_READAHEAD);
        Box::new(RocksCursor {
            engine: self.engine,
            iterator: self
                .engine
                .family(space, self.side)
                .map(|family| self.snapshot.raw_iterator_cf_opt(family, options)),
        })
    }
}

struct RocksCursor<'a> {
    engine: &'a RocksEngine,
    iterator: Result<DBRawIterator<'a>, ReadError>,
}

impl RocksCursor<'_> {
    fn moved(&mut self, step: impl FnOnce(&mut DBRawIterator<'_>)) -> Result<(), ReadError> {
        let iterator = self.iterator.as_mut().map_err(|error| error.clone())?;
        step(iterator);
        // One that stands somewhere has had no failure; it is asked only when it does not.
        if iterator.valid() {
            return Ok(());
        }
        iterator.status().map_err(|error| self.engine.unreadable(&error))
    }
}

impl Cursor for RocksCursor<'_> {
    fn seek(&mut self, key: &[u8]) -> Result<(), ReadError> {
        self.moved(|iterator| iterator.seek(key))
    }

    fn seek_back(&mut self, key: &[u8]) -> Result<(), ReadError> {
        self.moved(|iterator| iterator.seek_for_prev(key))
    }

    fn retreat(&mut self) -> Result<(), ReadError> {
        self.moved(|iterator| {
            if iterator.valid() {
                iterator.prev();
            }
        })
    }

    fn advance(&mut self) -> Result<(), ReadError> {
        self.moved(|iterator| {
            if iterator.valid() {
                iterator.next();
            }
        })
    }

    fn entry(&self) -> Option<(&[u8], &[u8])> {
        self.iterator.as_ref().ok()?.item()
    }
}
