//! Reads a backup into an empty state, of ours or of etcd 3.4 to 3.6.

use crate::bolt::{Bucket, Database, FormatError, Source};
use crate::schema::{self, LeaseMessage, RevisionKey};
use kvstore_core::{
    AuthState, Batch, KeptAuth, KeptEvent, KeptMeta, LeaseRecord, Read, ReadError, restore_auth,
    restore_derived, restore_event, restore_lease, restore_meta,
};
use prost::Message as _;
use proto::etcdserverpb::AlarmMember;
use proto::mvccpb::KeyValue;

/// Bytes of keys and values in one batch: large enough for the disk, small beside what a member has.
const BATCH_BYTES: usize = 1 << 20;
/// Records in one batch.
const BATCH_RECORDS: usize = 10_000;

/// Why a backup could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ImportError<T: std::error::Error> {
    #[error(transparent)]
    Format(#[from] FormatError),
    #[error("no bucket {0:?}: not a backup of etcd's")]
    NoBucket(&'static str),
    #[error("a damaged record in bucket {bucket:?}: {what}")]
    Record {
        bucket: &'static str,
        what: &'static str,
    },
    #[error("revision {revision} can't be raised by {bump}")]
    Bump { revision: i64, bump: u64 },
    #[error("reading back what was restored")]
    Read(#[from] ReadError),
    #[error("writing what was restored")]
    Target(#[source] T),
}

/// Raises the revision of a restored state, so that no revision that its clients may have seen before is
/// ever given to something else, and lets everything up to there count as compacted, so that watchers
/// who ask for older events hear it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RevisionBump(pub u64);

/// Where a restored state is written to; empty before.
pub trait Target {
    type Error: std::error::Error;

    /// # Errors
    /// When the disk fails.
    fn write(&self, batch: &Batch) -> Result<(), Self::Error>;

    /// Everything that was written.
    fn view(&self) -> Box<dyn Read + '_>;
}

/// What was restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Imported {
    pub revision: i64,
    pub compacted: i64,
    pub events: u64,
    pub leases: u64,
}

/// Writes the state in `database` to `target`. Members of the old cluster aren't part of it; its alarms
/// are, as with etcd.
///
/// # Errors
/// When the file is damaged or has what can't be restored, or the target's disk fails. What was written
/// until then is of no use.
pub fn import<S: Source, T: Target>(
    database: &Database<S>,
    bump: Option<RevisionBump>,
    target: &T,
) -> Result<Imported, ImportError<T::Error>> {
    let buckets = Buckets {
        database,
        all: database.buckets()?,
    };
    let mut sink = Sink {
        target,
        batch: Batch::default(),
        bytes: 0,
    };
    // The leases first: the keys of a lease are worked out against them.
    let leases = buckets.leases(&mut sink)?;
    let Events {
        count: events,
        newest,
        stored_bytes,
    } = buckets.events(&mut sink)?;
    let mut meta = buckets.meta::<T::Error>()?;
    meta.alarms = buckets.alarms::<T::Error>()?;
    meta.revision = newest.max(meta.compacted).max(1);
    if let Some(RevisionBump(bump)) = bump {
        let raised = i64::try_from(bump)
            .ok()
            .and_then(|bump| meta.revision.checked_add(bump));
        meta.revision = raised.ok_or(ImportError::Bump {
            revision: meta.revision,
            bump,
        })?;
        meta.compacted = meta.revision;
    }
    restore_meta(&mut sink.batch, &meta, stored_bytes);
    restore_auth(&mut sink.batch, &buckets.auth::<T::Error>()?);
    sink.flush()?;
    restore_derived(&*target.view(), BATCH_RECORDS, |batch| {
        target.write(&batch).map_err(ImportError::Target)
    })?;
    Ok(Imported {
        revision: meta.revision,
        compacted: meta.compacted,
        events,
        leases,
    })
}

/// Gathers records into batches.
struct Sink<'a, T> {
    target: &'a T,
    batch: Batch,
    bytes: usize,
}

impl<T: Target> Sink<'_, T> {
    fn wrote(&mut self, bytes: usize) -> Result<(), ImportError<T::Error>> {
        self.bytes += bytes;
        if self.bytes >= BATCH_BYTES || self.batch.0.len() >= BATCH_RECORDS {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ImportError<T::Error>> {
        self.bytes = 0;
        let batch = std::mem::take(&mut self.batch);
        self.target.write(&batch).map_err(ImportError::Target)
    }
}

/// What the bucket `key` came to.
#[derive(Default)]
struct Events {
    count: u64,
    newest: i64,
    stored_bytes: u64,
}

struct Buckets<'a, S> {
    database: &'a Database<S>,
    all: Vec<Bucket>,
}

impl<S: Source> Buckets<'_, S> {
    fn find(&self, name: &[u8]) -> Option<&Bucket> {
        self.all.iter().find(|bucket| bucket.name == name)
    }

    /// The value of `key` in bucket `name`.
    fn get(&self, name: &[u8], key: &[u8]) -> Result<Option<Vec<u8>>, FormatError> {
        let Some(bucket) = self.find(name) else {
            return Ok(None);
        };
        let mut entries = self.database.entries(bucket);
        while let Some((found, value)) = entries.next()? {
            if found == key {
                return Ok(Some(value.to_vec()));
            }
        }
        Ok(None)
    }

    /// Users, roles, and whether requests are judged by them.
    fn auth<E: std::error::Error>(&self) -> Result<KeptAuth, ImportError<E>> {
        let enabled = self.get(schema::AUTH, schema::AUTH_ENABLED)?;
        let revision = match self.get(schema::AUTH, schema::AUTH_REVISION)? {
            None => 1,
            Some(value) => {
                let bytes = value.try_into().map_err(|_| ImportError::Record {
                    bucket: "auth",
                    what: "a revision that isn't a number",
                })?;
                u64::from_be_bytes(bytes)
            }
        };
        Ok(KeptAuth {
            state: AuthState {
                enabled: enabled.is_some_and(|value| value == [1]),
                // Before there are any users etcd stores none, or zero.
                revision: revision.max(1),
            },
            users: self.messages(schema::AUTH_USERS, "authUsers", "not a user")?,
            roles: self.messages(schema::AUTH_ROLES, "authRoles", "not a role")?,
        })
    }

    /// The values of bucket `name`, all of one kind.
    fn messages<M: prost::Message + Default, E: std::error::Error>(
        &self,
        name: &[u8],
        bucket: &'static str,
        what: &'static str,
    ) -> Result<Vec<M>, ImportError<E>> {
        let Some(found) = self.find(name) else {
            return Ok(Vec::new());
        };
        let mut messages = Vec::new();
        let mut entries = self.database.entries(found);
        while let Some((_, value)) = entries.next()? {
            messages.push(M::decode(value).map_err(|_| ImportError::Record { bucket, what })?);
        }
        Ok(messages)
    }

    fn leases<T: Target>(&self, sink: &mut Sink<'_, T>) -> Result<u64, ImportError<T::Error>> {
        let Some(bucket) = self.find(schema::LEASE) else {
            return Ok(0);
        };
        let mut found = 0;
        let mut entries = self.database.entries(bucket);
        while let Some((_, value)) = entries.next()? {
            let lease = LeaseMessage::decode(value).map_err(|_| ImportError::Record {
                bucket: "lease",
                what: "not a lease",
            })?;
            let record = LeaseRecord {
                id: lease.id,
                ttl: lease.ttl,
            };
            restore_lease(&mut sink.batch, record);
            sink.wrote(value.len())?;
            found += 1;
        }
        Ok(found)
    }

    /// Writes all events.
    fn events<T: Target>(&self, sink: &mut Sink<'_, T>) -> Result<Events, ImportError<T::Error>> {
        let bucket = self.find(schema::KEY).ok_or(ImportError::NoBucket("key"))?;
        let mut events = Events::default();
        let mut entries = self.database.entries(bucket);
        while let Some((key, value)) = entries.next()? {
            let damaged = |what| ImportError::Record { bucket: "key", what };
            let at = RevisionKey::parse(key).ok_or_else(|| damaged("not a revision"))?;
            events.newest = at.main;
            // What etcd's own restore leaves to raise the revision: no key, no value.
            if value.is_empty() {
                continue;
            }
            let event = event_of(at, value).map_err(damaged)?;
            events.stored_bytes += restore_event(&mut sink.batch, &event);
            sink.wrote(value.len() * 2)?;
            events.count += 1;
        }
        Ok(events)
    }

    /// The bounds of compaction.
    fn meta<E: std::error::Error>(&self) -> Result<KeptMeta, ImportError<E>> {
        let bound = |name: &[u8]| -> Result<Option<i64>, ImportError<E>> {
            match self.get(schema::META, name)? {
                None => Ok(None),
                Some(value) => {
                    RevisionKey::parse(&value)
                        .map(|key| Some(key.main))
                        .ok_or(ImportError::Record {
                            bucket: "meta",
                            what: "a compaction that isn't a revision",
                        })
                }
            }
        };
        let finished = bound(schema::FINISHED_COMPACTION)?;
        let scheduled = bound(schema::SCHEDULED_COMPACTION)?;
        Ok(KeptMeta {
            revision: 0,
            compacted: finished.max(scheduled).unwrap_or(-1),
            compaction_done: finished.unwrap_or(0),
            alarms: Vec::new(),
        })
    }

    fn alarms<E: std::error::Error>(&self) -> Result<Vec<AlarmMember>, ImportError<E>> {
        let Some(bucket) = self.find(schema::ALARM) else {
            return Ok(Vec::new());
        };
        let mut alarms = Vec::new();
        let mut entries = self.database.entries(bucket);
        while let Some((alarm, _)) = entries.next()? {
            alarms.push(AlarmMember::decode(alarm).map_err(|_| ImportError::Record {
                bucket: "alarm",
                what: "not an alarm",
            })?);
        }
        Ok(alarms)
    }
}

/// The event of a record, when all of it agrees.
fn event_of(at: RevisionKey, value: &[u8]) -> Result<KeptEvent, &'static str> {
    let mut kv = KeyValue::decode(value).map_err(|_| "not a key-value pair")?;
    if kv.key.is_empty() {
        return Err("an empty key");
    }
    if at.tombstone {
        kv = KeyValue {
            key: kv.key,
            mod_revision: at.main,
            ..KeyValue::default()
        };
    } else if kv.mod_revision != at.main {
        return Err("a pair of another revision than its key's");
    } else if kv.create_revision <= 0 || kv.create_revision > at.main || kv.version <= 0 {
        return Err("a pair whose revisions contradict each other");
    }
    Ok(KeptEvent {
        revision: at.main,
        sub: u32::try_from(at.sub).map_err(|_| "a revision with too many parts")?,
        tombstone: at.tombstone,
        kv,
    })
}
