//! The state machine of one member: the engine, the leases' clock and the watchers, moved on together.

use crate::alarm_board::AlarmBoard;
use crate::applied_index::AppliedIndex;
use crate::applied_state;
use crate::auth::AuthKeeper;
use crate::awaited_commands::AwaitedCommands;
use crate::checkpoints::Checkpoints;
use crate::lessor::Lessor;
use crate::membership::record_membership;
use crate::metrics::Metrics;
use crate::raft::ReceivedState;
use crate::upkeep::Upkeep;
use crate::watch::{Published, WatchHub};
use kvstore_core::{
    Applied, Command, CompactionStep, Meta, Overlay, Refusal, Response, event_bytes, write_added,
};
use kvstore_storage::{Engine, StateCache, StateView, StorageError};
use proto::raftpb;
use std::sync::Arc;
use std::time::Duration;
use support::Sabotage;
use tokio::time::Instant;

/// What a command came to: etcd's answer, or etcd's error.
pub type Reply = Result<Response, Refusal>;

/// One committed log entry.
pub enum Committed {
    Command(Box<Command>),
    Membership(raftpb::StoredMembership),
    Blank,
}

/// The replicated state of a member, and who listens to it. Written to by one task, the state machine's.
pub struct Store {
    state: StateCache,
    pub hub: WatchHub,
    pub lessor: Lessor,
    pub auth: AuthKeeper,
    /// The index of the last entry applied.
    pub applied: AppliedIndex,
    /// What this member's clients have sent to leaders.
    pub awaited: AwaitedCommands,
    pub alarms: AlarmBoard,
    pub upkeep: Upkeep,
    pub checkpoints: Checkpoints,
    pub metrics: Arc<Metrics>,
    sabotage: Sabotage,
}

impl Store {
    /// Takes up the state that `engine` holds. A simple token lives for `token_ttl` after its last use.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn open(
        engine: Arc<dyn Engine>,
        token_ttl: Duration,
        sabotage: Sabotage,
    ) -> Result<Self, StorageError> {
        let state = StateCache::open(engine)?;
        let view = state.view();
        let (meta, applied) = (Meta::read(&*view)?, applied_state::read(&*view)?);
        Ok(Self {
            auth: AuthKeeper::open(&*view, token_ttl)?,
            hub: WatchHub::new(meta.revision).with_sabotage(sabotage),
            lessor: Lessor::default(),
            applied: AppliedIndex::new(applied.log_id.unwrap_or_default().index),
            awaited: AwaitedCommands::default(),
            alarms: AlarmBoard::read(&*view)?,
            upkeep: Upkeep::read(&*view, &**state.engine())?,
            checkpoints: Checkpoints::default(),
            metrics: Arc::default(),
            state,
            sabotage,
        })
    }

    pub fn engine(&self) -> &Arc<dyn Engine> {
        self.state.engine()
    }

    /// The state as it is now, for as long as it is held.
    pub fn view(&self) -> Arc<StateView> {
        self.state.view()
    }

    /// How many readers hold a view of the state, whether it is the newest or not.
    pub fn open_views(&self) -> u64 {
        self.state.open_views() as u64
    }

    /// Writes a step of compaction that was planned when the state had been replaced `planned` times.
    ///
    /// # Errors
    /// When the disk fails; the member must stop then.
    pub fn write_step(&self, step: &CompactionStep, planned: u64) -> Result<(), StorageError> {
        self.upkeep
            .write_step(step, planned, || self.state.write(&step.batch))
    }

    /// Applies committed entries in one batch; gives a reply for each. When it returns, the state is
    /// readable, the watchers have been told, and the leases' clock knows. A checkpoint must be the last of
    /// its batch.
    ///
    /// # Errors
    /// When the disk fails: then nothing was applied and the member must stop.
    pub fn apply(&self, entries: Vec<(raftpb::LogId, Committed)>) -> Result<Vec<Reply>, StorageError> {
        let Some(last) = entries.last().map(|(id, _)| *id) else {
            return Ok(Vec::new());
        };
        let begun = Instant::now();
        let view = self.view();
        let mut state = Overlay::new(&*view);
        let mut progress = applied_state::read(&*view)?;
        let mut replies = Vec::with_capacity(entries.len());
        let mut published = Vec::new();
        let mut lease_changes = Vec::new();
        let (mut compactions, mut alarmed, mut checkpoint) = (Vec::new(), false, None);
        let mut bytes_added = self.upkeep.added();
        progress.log_id = Some(last);
        let mut gate = self.auth.gate();
        for (id, entry) in entries {
            let command = match entry {
                Committed::Command(mut command) => {
                    if let Some(txn) = command.txn.as_mut()
                        && self.sabotage.is("conditions-ignored")
                    {
                        txn.compare.clear();
                    }
                    command
                }
                Committed::Membership(membership) => {
                    record_membership(&mut state, progress.membership.as_ref(), &membership);
                    progress.membership = Some(membership);
                    replies.push(Ok(Response::Done));
                    continue;
                }
                Committed::Blank => {
                    replies.push(Ok(Response::Done));
                    continue;
                }
            };
            let compacted = match command.compaction {
                Some(_) => Meta::read(&state)?.compacted,
                None => 0,
            };
            let started = Instant::now();
            let Applied {
                mut reply,
                revision,
                events,
            } = gate.apply(&mut state, &command)?;
            self.auth.follow(&command, &mut reply, id.index);
            self.metrics
                .state
                .applied(&command, &reply, &events, started.elapsed());
            match &reply {
                Ok(Response::LeaseGrant(granted)) => lease_changes.push((granted.id, Some(granted.ttl))),
                Ok(Response::LeaseRevoke(_)) => {
                    lease_changes.extend(command.lease_revoke.map(|revoked| (revoked.id, None)));
                }
                Ok(Response::Compaction(_)) => {
                    let at = command.compaction.map(|compaction| compaction.revision);
                    compactions.extend(at.map(|at| (at, compacted)));
                }
                Ok(Response::Alarm(_)) => alarmed = true,
                Ok(Response::Done) => checkpoint = command.checkpoint,
                _ => {}
            }
            bytes_added += events.iter().map(event_bytes).sum::<u64>();
            if !events.is_empty() {
                published.push(Published::new(revision, events));
            }
            replies.push(reply);
        }
        if !self.sabotage.is("applied-index-lost") {
            applied_state::write(&mut state, &progress);
        }
        write_added(&mut state, bytes_added);
        let batch = state.into_batch();
        drop(view);
        let written = Instant::now();
        self.auth.before(gate.state());
        self.state.write(&batch)?;
        self.auth.after(gate.state());
        self.metrics.state.committed(begun.elapsed(), written.elapsed());
        self.upkeep.set_added(bytes_added);
        if let Some(checkpoint) = checkpoint {
            // Only this task applies: the view shows what is applied up to here and nothing else.
            self.checkpoints.take(self, last.index, checkpoint.definition);
        }
        // The order matters: who is told of a write must be able to read it, and who is told that a
        // command is applied must have been told of its events.
        self.hub.publish(published);
        for (lease, ttl) in lease_changes {
            match ttl {
                Some(ttl) => self.lessor.granted(lease, ttl),
                None => self.lessor.revoked(lease),
            }
        }
        if !compactions.is_empty() {
            self.upkeep.wanted.notify_one();
        }
        for (at, before) in compactions {
            self.upkeep.compaction(at, before);
        }
        if alarmed {
            self.alarms.update(&*self.view())?;
        }
        self.applied.advance(last.index);
        Ok(replies)
    }

    /// Replaces the state by a snapshot from the leader.
    ///
    /// # Errors
    /// When the disk fails; the member must stop.
    pub fn install(&self, state: ReceivedState) -> Result<(), StorageError> {
        self.metrics.state.snapshot_applying.set(1);
        self.auth.before_install();
        self.checkpoints.clear();
        let mut used = None;
        self.upkeep.replace(|| {
            self.state.replace(|_| {
                used = Some(state.promote()?);
                Ok(())
            })?;
            Ok((self.view(), self.engine()))
        })?;
        self.metrics.state.snapshot_applying.set(0);
        let view = self.view();
        self.auth.installed(&*view)?;
        self.alarms.update(&*view)?;
        let (meta, applied) = (Meta::read(&*view)?, applied_state::read(&*view)?);
        if let Some(used) = used {
            // Only now: the view that is gone held on to what is to be removed.
            used.clean();
        }
        self.hub.jump(meta.revision);
        self.applied.advance(applied.log_id.unwrap_or_default().index);
        self.upkeep.wanted.notify_one();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
