//! openraft's state machine over the store.

use super::convert::{entry_out, log_id_in, log_id_out, stored_membership_in, stored_membership_out};
use super::snapshot_receiver::ReceivedState;
use super::types::TypeConfig;
use crate::applied_state;
use crate::store::{Committed, Store};
use futures::{Stream, StreamExt as _};
use kvstore_core::Command;
use kvstore_storage::StorageError;
use openraft::alias::{LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf};
use openraft::storage::{ApplyResponder, EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::{OptionalSend, StoredMembership};
use prost::Message as _;
use proto::raftpb;
use std::io;
use std::sync::Arc;

/// Entries applied in one batch: enough to share the cost of a write, few enough to answer soon.
const MAX_BATCH: usize = 512;

/// Applies committed entries to a [`Store`].
#[derive(Clone)]
pub struct StateMachine {
    store: Arc<Store>,
}

impl StateMachine {
    pub fn new(store: Arc<Store>) -> Self {
        Self { store }
    }

    /// Where the state stands. The state itself is the snapshot: it's durable before the log that led to
    /// it is cut, because both are in one write-ahead log.
    fn snapshot(&self) -> Result<SnapshotOf<TypeConfig, SnapshotData>, StorageError> {
        let applied = applied_state::read(&*self.store.view())?;
        Ok(SnapshotOf::<TypeConfig, SnapshotData> {
            meta: SnapshotMetaOf::<TypeConfig> {
                last_log_id: applied.log_id.map(log_id_in),
                last_membership: stored_membership_in(applied.membership),
            },
            snapshot: SnapshotData::Here(Arc::clone(&self.store)),
        })
    }

    fn apply_batch(
        &self,
        batch: &mut Vec<(raftpb::LogId, Committed, Option<ApplyResponder<TypeConfig>>)>,
    ) -> Result<(), io::Error> {
        let mut responders = Vec::with_capacity(batch.len());
        let mut entries = Vec::with_capacity(batch.len());
        for (id, entry, responder) in batch.drain(..) {
            let number = match &entry {
                Committed::Command(command) => command.id,
                _ => 0,
            };
            entries.push((id, entry));
            responders.push((responder, number));
        }
        let replies = self.store.apply(entries)?;
        for ((responder, number), reply) in responders.into_iter().zip(replies) {
            match responder {
                Some(responder) => responder.send(reply),
                None if number != 0 => self.store.awaited.applied(number, reply),
                None => {}
            }
        }
        Ok(())
    }
}

/// The data of a snapshot.
pub enum SnapshotData {
    /// The state of this member, read only while it is sent.
    Here(Arc<Store>),
    /// A state that came from the leader.
    Received(ReceivedState),
}

impl RaftSnapshotBuilder<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> Result<SnapshotOf<TypeConfig, SnapshotData>, io::Error> {
        Ok(self.snapshot()?)
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Self;

    async fn applied_state(
        &mut self,
    ) -> Result<(Option<LogIdOf<TypeConfig>>, StoredMembershipOf<TypeConfig>), io::Error> {
        let applied = applied_state::read(&*self.store.view()).map_err(StorageError::from)?;
        Ok((
            applied.log_id.map(log_id_in),
            stored_membership_in(applied.membership),
        ))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        let mut batch = Vec::new();
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            let log_id = entry.log_id;
            let mut last_of_batch = false;
            let committed = match entry_out(&entry).payload {
                Some(raftpb::entry::Payload::Command(bytes)) => {
                    let command = Command::decode(bytes).map_err(io::Error::other)?;
                    last_of_batch = command.checkpoint.is_some();
                    Committed::Command(Box::new(command))
                }
                Some(raftpb::entry::Payload::Membership(_)) => {
                    let openraft::EntryPayload::Membership(membership) = entry.payload else {
                        continue;
                    };
                    let stored = StoredMembership::new(Some(log_id), membership);
                    Committed::Membership(stored_membership_out(&stored))
                }
                _ => Committed::Blank,
            };
            batch.push((log_id_out(&log_id), committed, responder));
            if batch.len() == MAX_BATCH || last_of_batch {
                self.apply_batch(&mut batch)?;
            }
        }
        self.apply_batch(&mut batch)
    }

    async fn get_snapshot_builder(&mut self) -> Self::SnapshotBuilder {
        self.clone()
    }

    async fn install_snapshot(
        &mut self,
        _meta: &SnapshotMetaOf<TypeConfig>,
        snapshot: SnapshotData,
    ) -> Result<(), io::Error> {
        match snapshot {
            // Our own state, given back at a restart: it's in place.
            SnapshotData::Here(_) => Ok(()),
            SnapshotData::Received(state) => Ok(self.store.install(state)?),
        }
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<SnapshotOf<TypeConfig, SnapshotData>>, io::Error> {
        let snapshot = self.snapshot()?;
        Ok(snapshot.meta.last_log_id.is_some().then_some(snapshot))
    }
}
