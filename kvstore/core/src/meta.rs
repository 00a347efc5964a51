//! Scalars of the replicated state.

use crate::overlay::Overlay;
use crate::read::{Batch, Read, ReadError, Space};
use bytes::Bytes;
use prost::Message as _;
use proto::etcdserverpb::AlarmResponse;
use proto::membershippb::Attributes;

/// The version of the layout of all spaces; a store with another one is not opened.
pub const FORMAT: u8 = 1;

const REVISION: &[u8] = b"revision";
const COMPACTED: &[u8] = b"compacted";
const COMPACTION_DONE: &[u8] = b"compaction_done";
const BYTES_ADDED: &[u8] = b"bytes_added";
const BYTES_REMOVED: &[u8] = b"bytes_removed";
/// How far the log has been applied; the server's business.
pub const APPLIED_KEY: &[u8] = b"applied";
/// What each member keeps for itself: it may differ between members that hold the same.
pub const LOCAL_KEYS: [&[u8]; 4] = [COMPACTION_DONE, BYTES_ADDED, BYTES_REMOVED, APPLIED_KEY];
const ALARMS: &[u8] = b"alarms";
const MEMBER: &[u8] = b"member/";

/// What a member says about itself.
pub type MemberAttributes = Attributes;

/// Reads and writes the scalars of a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    /// The revision of the newest write; 1 in an empty store.
    pub revision: i64,
    /// Older revisions can't be read; -1 before the first compaction.
    pub compacted: i64,
}

impl Meta {
    /// # Errors
    /// When the store can't be read.
    pub fn read(view: &dyn Read) -> Result<Self, ReadError> {
        Ok(Self {
            revision: read_i64(view, REVISION)?.unwrap_or(1),
            compacted: read_i64(view, COMPACTED)?.unwrap_or(-1),
        })
    }
}

pub fn set_revision(state: &mut Overlay<'_>, revision: i64) {
    write_i64(state, REVISION, revision);
}

pub fn set_compacted(state: &mut Overlay<'_>, revision: i64) {
    write_i64(state, COMPACTED, revision);
}

/// Up to which revision superseded versions are gone from disk.
pub fn compaction_done(view: &dyn Read) -> Result<i64, ReadError> {
    Ok(read_i64(view, COMPACTION_DONE)?.unwrap_or(0))
}

/// Records up to where superseded versions are gone, and how many bytes have gone in all.
pub fn write_compaction_done(batch: &mut Batch, revision: i64, bytes_removed: u64) {
    batch.put(Space::Meta, COMPACTION_DONE, revision.to_be_bytes().to_vec());
    batch.put(Space::Meta, BYTES_REMOVED, bytes_removed.to_be_bytes().to_vec());
}

pub fn bytes_added(view: &dyn Read) -> Result<Option<u64>, ReadError> {
    Ok(read_i64(view, BYTES_ADDED)?.map(i64::cast_unsigned))
}

pub fn bytes_removed(view: &dyn Read) -> Result<u64, ReadError> {
    Ok(read_i64(view, BYTES_REMOVED)?.map_or(0, i64::cast_unsigned))
}

pub fn write_bytes_added(state: &mut Overlay<'_>, bytes: u64) {
    write_i64(state, BYTES_ADDED, bytes.cast_signed());
}

pub fn read_alarms(view: &dyn Read) -> Result<AlarmResponse, ReadError> {
    match view.get(Space::Meta, ALARMS)? {
        None => Ok(AlarmResponse::default()),
        Some(bytes) => AlarmResponse::decode(bytes).map_err(|error| ReadError::corrupt(Space::Meta, error)),
    }
}

pub fn write_alarms(state: &mut Overlay<'_>, alarms: &AlarmResponse) {
    state.put(Space::Meta, ALARMS, alarms.encode_to_vec());
}

/// The name and client addresses that every member has published, by member id.
///
/// # Errors
/// When the store can't be read.
pub fn member_attributes(view: &dyn Read) -> Result<Vec<(u64, MemberAttributes)>, ReadError> {
    let mut cursor = view.cursor(Space::Meta);
    let mut members = Vec::new();
    cursor.seek(MEMBER)?;
    while let Some((key, value)) = cursor.entry() {
        let Some(id) = key.strip_prefix(MEMBER) else { break };
        let id = id
            .try_into()
            .map_err(|_| ReadError::corrupt(Space::Meta, "member id"))?;
        let attributes = MemberAttributes::decode(Bytes::copy_from_slice(value))
            .map_err(|error| ReadError::corrupt(Space::Meta, error))?;
        members.push((u64::from_be_bytes(id), attributes));
        cursor.advance()?;
    }
    Ok(members)
}

pub fn write_member_attributes(state: &mut Overlay<'_>, id: u64, attributes: &MemberAttributes) {
    state.put(
        Space::Meta,
        [MEMBER, &id.to_be_bytes()].concat(),
        attributes.encode_to_vec(),
    );
}

/// Writes the scalars of a state under construction.
pub fn restore(batch: &mut Batch, revision: i64, compacted: i64, compaction_done: i64) {
    for (key, value) in [
        (REVISION, revision),
        (COMPACTED, compacted),
        (COMPACTION_DONE, compaction_done),
    ] {
        batch.put(Space::Meta, key, value.to_be_bytes().to_vec());
    }
}

pub fn restore_bytes_added(batch: &mut Batch, bytes: u64) {
    batch.put(Space::Meta, BYTES_ADDED, bytes.to_be_bytes().to_vec());
}

pub fn restore_alarms(batch: &mut Batch, alarms: &AlarmResponse) {
    batch.put(Space::Meta, ALARMS, alarms.encode_to_vec());
}

pub fn delete_member_attributes(state: &mut Overlay<'_>, id: u64) {
    state.delete(Space::Meta, [MEMBER, &id.to_be_bytes()].concat());
}

fn read_i64(view: &dyn Read, key: &'static [u8]) -> Result<Option<i64>, ReadError> {
    let Some(bytes) = view.get(Space::Meta, key)? else {
        return Ok(None);
    };
    let bytes = bytes
        .as_ref()
        .try_into()
        .map_err(|_| ReadError::corrupt(Space::Meta, "integer"))?;
    Ok(Some(i64::from_be_bytes(bytes)))
}

fn write_i64(state: &mut Overlay<'_>, key: &'static [u8], value: i64) {
    state.put(Space::Meta, key, value.to_be_bytes().to_vec());
}
