//! The state as a list of facts, for those who carry it out of the store or into one: backup and restore.
//!
//! Invariants:
//! - What is written by [`restore_event`], [`restore_lease`] and [`restore_meta`] from the facts of a view,
//!   with [`restore_derived`] at the end, is a state equal to that view's.
//! - Facts come and go one by one: memory doesn't grow with the data.

use crate::count;
use crate::encoding::{self, Kind, Position};
use crate::lease::{self, LeaseRecord};
use crate::meta::{self, Meta};
use crate::read::{Batch, Read, ReadError, Space};
use crate::usage::version_bytes;
use bytes::Bytes;
use prost::Message as _;
use proto::etcdserverpb::{AlarmMember, AlarmResponse};
use proto::mvccpb::KeyValue;

/// One event of the history.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptEvent {
    pub revision: i64,
    /// The place inside its revision, from 0.
    pub sub: u32,
    /// Whether the key was deleted; then `kv` has only the key and the revision.
    pub tombstone: bool,
    pub kv: KeyValue,
}

/// The scalars of a state that isn't a member's own business.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptMeta {
    pub revision: i64,
    /// Older revisions can't be read; -1 before the first compaction.
    pub compacted: i64,
    /// Up to which revision superseded versions are gone from the history; 0: nothing is.
    pub compaction_done: i64,
    pub alarms: Vec<AlarmMember>,
}

impl KeptMeta {
    /// # Errors
    /// When the store can't be read.
    pub fn read(view: &dyn Read) -> Result<Self, ReadError> {
        let Meta { revision, compacted } = Meta::read(view)?;
        Ok(Self {
            revision,
            compacted,
            compaction_done: meta::compaction_done(view)?,
            alarms: meta::read_alarms(view)?.alarms,
        })
    }
}

/// Calls `visit` with every event of the history, in order.
///
/// # Errors
/// When the store can't be read, or the visitor's own.
pub fn each_event<E: From<ReadError>>(
    view: &dyn Read,
    mut visit: impl FnMut(KeptEvent) -> Result<(), E>,
) -> Result<(), E> {
    let mut cursor = view.scan(Space::History);
    cursor.seek(&[])?;
    while let Some((key, value)) = cursor.entry() {
        let Position { revision, sub } = encoding::parse_history_key(key)?;
        let (kind, kv) = encoding::parse_history_value(value)?;
        visit(KeptEvent {
            revision,
            sub,
            tombstone: kind == Kind::Tombstone,
            kv,
        })?;
        cursor.advance()?;
    }
    Ok(())
}

/// Calls `visit` with every lease, in the order of its id's bytes.
///
/// # Errors
/// When the store can't be read, or the visitor's own.
pub fn each_lease<E: From<ReadError>>(
    view: &dyn Read,
    mut visit: impl FnMut(LeaseRecord) -> Result<(), E>,
) -> Result<(), E> {
    let mut cursor = view.cursor(Space::Leases);
    cursor.seek(&[])?;
    while let Some((key, value)) = cursor.entry() {
        visit(lease::parse(key, value)?)?;
        cursor.advance()?;
    }
    Ok(())
}

/// Adds an event to a state under construction. They come in order: the last one of a key decides
/// whether the key exists. Gives the bytes that it adds to the store.
pub fn restore_event(batch: &mut Batch, event: &KeptEvent) -> u64 {
    let KeptEvent { revision, sub, .. } = *event;
    let kind = if event.tombstone {
        Kind::Tombstone
    } else {
        Kind::Put
    };
    let kv = &event.kv;
    batch.put(
        Space::History,
        encoding::history_key(Position { revision, sub }),
        encoding::history_value(kind, kv),
    );
    batch.put(
        Space::Keys,
        encoding::version_key(&kv.key, revision),
        encoding::version_value(kind, sub),
    );
    match kind {
        Kind::Put => batch.put(Space::Live, kv.key.clone(), kv.encode_to_vec()),
        Kind::Tombstone => batch.delete(Space::Live, kv.key.clone()),
    }
    version_bytes(kv)
}

/// Adds a lease to a state under construction.
pub fn restore_lease(batch: &mut Batch, record: LeaseRecord) {
    lease::write(batch, record);
}

/// Writes the scalars of a state under construction; `stored_bytes` is what its events add up to.
pub fn restore_meta(batch: &mut Batch, kept: &KeptMeta, stored_bytes: u64) {
    meta::restore(batch, kept.revision, kept.compacted, kept.compaction_done);
    meta::restore_bytes_added(batch, stored_bytes);
    if !kept.alarms.is_empty() {
        let alarms = AlarmResponse {
            header: None,
            alarms: kept.alarms.clone(),
        };
        meta::restore_alarms(batch, &alarms);
    }
}

/// Works out what follows from the live keys and the leases of `view`: the counts, and the keys of each
/// lease. `write` gets it in batches of about `batch_writes`.
///
/// # Errors
/// When the store can't be read, or the writer's own.
pub fn restore_derived<E: From<ReadError>>(
    view: &dyn Read,
    batch_writes: usize,
    mut write: impl FnMut(Batch) -> Result<(), E>,
) -> Result<(), E> {
    let mut batch = Batch::default();
    let mut counts = count::Rebuild::default();
    let mut cursor = view.scan(Space::Live);
    cursor.seek(&[])?;
    while let Some((key, value)) = cursor.entry() {
        counts.add(key, &mut batch);
        let kv = encoding::parse_kv(Space::Live, Bytes::copy_from_slice(value))?;
        // etcd, too, forgets a lease that isn't there when it starts (`lessor.Attach`).
        if kv.lease != 0 && lease::lease(view, kv.lease)?.is_some() {
            lease::attach_in(&mut batch, kv.lease, key);
        }
        if batch.0.len() >= batch_writes {
            write(std::mem::take(&mut batch))?;
        }
        cursor.advance()?;
    }
    counts.finish(&mut batch);
    write(batch)
}
