//! openraft's log storage over our raft log.

use super::convert::{entry_in, entry_out, log_id_in, log_id_out, vote_in, vote_out};
use super::log_cache::LogCache;
use super::sync_queue::SyncQueue;
use super::types::TypeConfig;
use kvstore_storage::RaftLog;
use openraft::OptionalSend;
use openraft::alias::{EntryOf, LogIdOf, VoteOf};
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use prometheus::{Histogram, IntGauge};
use prost::Message as _;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use support::Sabotage;
use tokio::time::Instant;

/// Bytes of entries handed to one replication message; one entry may exceed it.
const MAX_READ_BYTES: usize = 4 << 20;

/// The log as openraft uses it.
#[derive(Clone)]
pub struct LogStore {
    log: RaftLog,
    recent: Arc<Mutex<LogCache>>,
    syncs: SyncQueue,
    /// Bytes of entries written so far.
    written: IntGauge,
    /// Handing entries to the engine, not yet synced.
    writes: Histogram,
    sabotage: Sabotage,
}

impl LogStore {
    pub fn new(log: RaftLog, syncs: SyncQueue, (written, writes): (IntGauge, Histogram)) -> Self {
        Self {
            log,
            recent: Arc::default(),
            syncs,
            written,
            writes,
            sabotage: Sabotage::NONE,
        }
    }

    /// With a known bug, in a simulation.
    pub fn with_sabotage(mut self, sabotage: Sabotage) -> Self {
        self.sabotage = sabotage;
        self
    }

    fn recent(&self) -> MutexGuard<'_, LogCache> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, entries: Vec<EntryOf<TypeConfig>>) {
        let mut recent = self.recent();
        for entry in entries {
            recent.push(entry);
        }
    }

    fn read(&self, start: u64, end: u64, max_bytes: usize) -> Result<Vec<EntryOf<TypeConfig>>, io::Error> {
        if let Some(found) = self.recent().read(start, end, max_bytes) {
            return Ok(found);
        }
        let entries = self.log.read(start, end, max_bytes)?;
        Ok(entries.into_iter().map(entry_in).collect())
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<EntryOf<TypeConfig>>, io::Error> {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(start) => start + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(end) => end + 1,
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        self.read(start, end, usize::MAX)
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<EntryOf<TypeConfig>>, io::Error> {
        self.read(start, end, MAX_READ_BYTES)
    }

    async fn read_vote(&mut self) -> Result<Option<VoteOf<TypeConfig>>, io::Error> {
        Ok(self.log.vote()?.map(|vote| vote_in(Some(vote))))
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let purged = self.log.purged()?;
        let last = self.log.last()?.or(purged);
        Ok(LogState {
            last_purged_log_id: purged.map(log_id_in),
            last_log_id: last.map(log_id_in),
        })
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &VoteOf<TypeConfig>) -> Result<(), io::Error> {
        if self.sabotage.is("vote-not-persisted") {
            return Ok(());
        }
        Ok(self.log.save_vote(vote_out(vote))?)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = EntryOf<TypeConfig>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<_> = entries.into_iter().collect();
        let encoded = entries.iter().map(entry_out).inspect(|entry| {
            let bytes = i64::try_from(entry.encoded_len()).unwrap_or(i64::MAX);
            self.written.add(bytes);
        });
        let begun = Instant::now();
        self.log.append(encoded)?;
        self.writes.observe(begun.elapsed().as_secs_f64());
        self.remember(entries);
        if self.sabotage.is("ack-before-sync") {
            callback.io_completed(Ok(()));
            return Ok(());
        }
        self.syncs.push(callback).await
    }

    async fn truncate_after(&mut self, last: Option<LogIdOf<TypeConfig>>) -> Result<(), io::Error> {
        let index = last.map(|id| id.index);
        self.recent().truncate_after(index);
        Ok(self.log.truncate_after(index)?)
    }

    async fn purge(&mut self, id: LogIdOf<TypeConfig>) -> Result<(), io::Error> {
        self.recent().purge(id.index);
        Ok(self.log.purge(log_id_out(&id))?)
    }
}
