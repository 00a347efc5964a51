//! Writes a state as a backup.

use crate::bolt::{BoltWriter, WriteError};
use crate::schema::{self, LeaseMessage, RevisionKey};
use kvstore_core::{KeptAuth, KeptEvent, KeptMeta, Read, ReadError, each_event, each_lease};
use prost::Message as _;
use proto::mvccpb::KeyValue;
use std::io::{Seek, Write};

/// The version of etcd's storage layout that is written.
///
/// The cluster version is left out, as is everything that only this version knows: etcd 3.4 and 3.5
/// restore the file as well.
pub const STORAGE_VERSION: &str = "3.6.0";

/// Why a backup could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Where a backup comes from. A restore doesn't need it; people who look into the file may.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The index of the last log entry in the state, and its term.
    pub index: u64,
    pub term: u64,
    pub members: Vec<OriginMember>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OriginMember {
    pub id: u64,
    pub name: String,
    pub peer_urls: Vec<String>,
    pub client_urls: Vec<String>,
    pub is_learner: bool,
}

/// Writes the state that `view` shows, without a checksum; gives the output back and the file's length.
/// Events newer than the view's revision can't be in a view, so the backup is of that revision exactly.
///
/// # Errors
/// When the store can't be read or `out` can't be written.
pub fn export<W: Write + Seek>(view: &dyn Read, origin: &Origin, out: W) -> Result<(W, u64), ExportError> {
    let meta = KeptMeta::read(view)?;
    let mut file = BoltWriter::new(out)?;
    file.bucket(schema::ALARM)?;
    let mut alarms: Vec<Vec<u8>> = meta.alarms.iter().map(|alarm| alarm.encode_to_vec()).collect();
    alarms.sort_unstable();
    for alarm in alarms {
        file.put(&alarm, &[])?;
    }
    let auth = KeptAuth::read(view)?;
    file.bucket(schema::AUTH)?;
    file.put(schema::AUTH_ENABLED, &[u8::from(auth.state.enabled)])?;
    file.put(schema::AUTH_REVISION, &auth.state.revision.to_be_bytes())?;
    file.bucket(schema::AUTH_ROLES)?;
    for role in &auth.roles {
        file.put(&role.name, &role.encode_to_vec())?;
    }
    file.bucket(schema::AUTH_USERS)?;
    for user in &auth.users {
        file.put(&user.name, &user.encode_to_vec())?;
    }
    file.bucket(schema::CLUSTER)?;
    file.bucket(schema::KEY)?;
    each_event(view, |event| {
        let (key, value) = record_of(event);
        file.put(&key, &value).map_err(ExportError::from)
    })?;
    file.bucket(schema::LEASE)?;
    each_lease(view, |record| {
        let value = LeaseMessage::encode_record(record);
        file.put(&record.id.to_be_bytes(), &value)
            .map_err(ExportError::from)
    })?;
    file.bucket(schema::MEMBERS)?;
    let mut members: Vec<(String, Vec<u8>)> = origin.members.iter().map(member_record).collect();
    members.sort_unstable();
    for (id, member) in members {
        file.put(id.as_bytes(), &member)?;
    }
    file.bucket(schema::MEMBERS_REMOVED)?;
    file.bucket(schema::META)?;
    for (key, value) in meta_records(&meta, origin) {
        file.put(key, &value)?;
    }
    Ok(file.finish()?)
}

/// An event as a record of the bucket `key`.
fn record_of(event: KeptEvent) -> (Vec<u8>, Vec<u8>) {
    let key = RevisionKey {
        main: event.revision,
        sub: i64::from(event.sub),
        tombstone: event.tombstone,
    };
    // The revision of a tombstone stands in its key only.
    let value = if event.tombstone {
        KeyValue {
            key: event.kv.key,
            ..KeyValue::default()
        }
    } else {
        event.kv
    };
    (key.encode(), value.encode_to_vec())
}

/// The records of the bucket `meta`, in their order.
fn meta_records(meta: &KeptMeta, origin: &Origin) -> Vec<(&'static [u8], Vec<u8>)> {
    let voters: Vec<u64> = origin
        .members
        .iter()
        .filter(|member| !member.is_learner)
        .map(|member| member.id)
        .collect();
    let mut records = Vec::new();
    if !voters.is_empty() {
        let state = serde_json::json!({ "voters": voters, "auto_leave": false });
        records.push((schema::CONF_STATE, state.to_string().into_bytes()));
    }
    if origin.index > 0 {
        records.push((schema::CONSISTENT_INDEX, origin.index.to_be_bytes().to_vec()));
    }
    if meta.compacted >= 0 {
        if meta.compaction_done > 0 {
            let done = RevisionKey::bound(meta.compaction_done).encode();
            records.push((schema::FINISHED_COMPACTION, done));
        }
        // Ahead of the finished one: etcd takes the compaction up when it starts.
        let bound = RevisionKey::bound(meta.compacted).encode();
        records.push((schema::SCHEDULED_COMPACTION, bound));
    }
    records.push((schema::STORAGE_VERSION_KEY, STORAGE_VERSION.as_bytes().to_vec()));
    if origin.term > 0 {
        records.push((schema::TERM, origin.term.to_be_bytes().to_vec()));
    }
    records
}

/// A member as etcd's JSON has it (`server/etcdserver/api/membership/member.go`).
fn member_record(member: &OriginMember) -> (String, Vec<u8>) {
    let mut json = serde_json::json!({ "id": member.id, "peerURLs": member.peer_urls });
    if member.is_learner {
        json["isLearner"] = true.into();
    }
    if !member.name.is_empty() {
        json["name"] = member.name.as_str().into();
    }
    if !member.client_urls.is_empty() {
        json["clientURLs"] = member.client_urls.clone().into();
    }
    (format!("{:x}", member.id), json.to_string().into_bytes())
}
