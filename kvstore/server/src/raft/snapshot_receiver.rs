//! A raft snapshot on its way in: written to the engine's stage while it arrives.
//!
//! There is one stage, so one snapshot comes in at a time; a newer one breaks off an older one that is still
//! arriving, whose sender may be dead. One that is complete is not broken off: it keeps the stage until
//! raft has taken it or dropped it.

use kvstore_storage::{Engine, StagedState, StateDigest, StorageError, SyncStyle};
use proto::raftpb::{SnapshotChunk, SnapshotMeta, Vote};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::OwnedMutexGuard;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

/// A complete snapshot, and the right to the stage that it is in.
pub struct ReceivedSnapshot {
    pub vote: Option<Vote>,
    pub meta: SnapshotMeta,
    pub state: ReceivedState,
}

/// The state of a complete snapshot.
pub struct ReceivedState {
    staged: StagedState,
    stage: OwnedMutexGuard<()>,
}

impl ReceivedState {
    /// One that came in some other way.
    #[cfg(test)]
    pub fn of(staged: StagedState) -> Self {
        let stage = Arc::new(tokio::sync::Mutex::new(()));
        Self {
            staged,
            stage: stage.try_lock_owned().expect("nobody else knows of it"),
        }
    }

    /// Makes it the state.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn promote(self) -> Result<UsedStage, StorageError> {
        let engine = self.staged.promote()?;
        Ok(UsedStage {
            engine,
            _stage: self.stage,
        })
    }
}

/// A stage with a former state in it.
pub struct UsedStage {
    engine: Arc<dyn Engine>,
    _stage: OwnedMutexGuard<()>,
}

impl UsedStage {
    /// Gives back the space of the former state: beside everything else, as that may take long.
    pub fn clean(self) {
        let style = self.engine.sync_style();
        let work = move || {
            if let Err(error) = self.engine.clear_stage() {
                tracing::error!(%error, "removing the former state");
            }
        };
        match style {
            SyncStyle::Simulated(_) => work(),
            // The end of the runtime waits for it: it holds the database open.
            SyncStyle::Thread => {
                tokio::task::spawn_blocking(work);
            }
        }
    }
}

/// Where snapshots come in.
pub struct SnapshotReceiver {
    engine: Arc<dyn Engine>,
    stage: Arc<tokio::sync::Mutex<()>>,
    /// Breaks off the one that is arriving.
    arriving: Mutex<CancellationToken>,
}

impl SnapshotReceiver {
    pub fn new(engine: Arc<dyn Engine>) -> Self {
        Self {
            engine,
            stage: Arc::default(),
            arriving: Mutex::default(),
        }
    }

    /// Takes in all of a snapshot. `first` is its first message.
    ///
    /// # Errors
    /// `Aborted` when it ends early or a newer one comes, `DataLoss` when it was damaged on its way.
    pub async fn receive(
        &self,
        first: SnapshotChunk,
        mut chunks: Streaming<SnapshotChunk>,
    ) -> Result<ReceivedSnapshot, Status> {
        let broken_off = CancellationToken::new();
        {
            let mut arriving = self.arriving.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *arriving, broken_off.clone()).cancel();
        }
        let arrive = async {
            let stage = Arc::clone(&self.stage).lock_owned().await;
            let meta = first
                .meta
                .clone()
                .ok_or_else(|| Status::invalid_argument("a snapshot without its meta"))?;
            let vote = first.vote;
            let mut staged = StagedState::begin(Arc::clone(&self.engine)).map_err(|error| failed(&error))?;
            let mut next = Some(first);
            while let Some(chunk) = next {
                staged.add(chunk.records).map_err(|error| failed(&error))?;
                if chunk.last {
                    let sent = StateDigest {
                        records: chunk.records_total,
                        checksum: chunk.checksum,
                    };
                    staged
                        .check(sent)
                        .map_err(|error| Status::data_loss(error.to_string()))?;
                    return Ok(ReceivedSnapshot {
                        vote,
                        meta,
                        state: ReceivedState { staged, stage },
                    });
                }
                next = chunks.message().await?;
            }
            Err(Status::aborted("the snapshot ended early"))
        };
        tokio::select! {
            biased;
            () = broken_off.cancelled() => Err(Status::aborted("a newer snapshot comes in")),
            received = arrive => received,
        }
    }
}

fn failed(error: &StorageError) -> Status {
    Status::unavailable(format!("staging a snapshot: {error}"))
}
