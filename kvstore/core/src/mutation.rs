//! Writes of one revision: what a put and a delete change, and the events they give.

use crate::encoding::{self, Kind, Position};
use crate::key_range::KeyRange;
use crate::overlay::Overlay;
use crate::read::{Read as _, ReadError, Space};
use crate::{count, lease, meta};
use bytes::Bytes;
use proto::mvccpb::{Event, KeyValue, event::EventType};

/// All writes of one command; they share the revision after the current one.
pub struct Mutation<'a, 'b> {
    pub state: &'a mut Overlay<'b>,
    before: i64,
    events: Vec<Event>,
}

impl<'a, 'b> Mutation<'a, 'b> {
    pub fn begin(state: &'a mut Overlay<'b>) -> Result<Self, ReadError> {
        let before = meta::Meta::read(state)?.revision;
        Ok(Self {
            state,
            before,
            events: Vec::new(),
        })
    }

    /// The revision that a read inside this command sees: the new one after the first write.
    pub fn revision(&self) -> i64 {
        self.before + i64::from(!self.events.is_empty())
    }

    /// Stores the new revision, if there was any write; gives the events with their previous values.
    pub fn finish(self) -> (i64, Vec<Event>) {
        let revision = self.revision();
        if !self.events.is_empty() {
            meta::set_revision(self.state, revision);
        }
        (revision, self.events)
    }

    pub fn get(&self, key: &[u8]) -> Result<Option<KeyValue>, ReadError> {
        self.state
            .get(Space::Live, key)?
            .map(|value| encoding::parse_kv(Space::Live, value))
            .transpose()
    }

    /// Writes `key`; gives what was there. The lease must exist.
    pub fn put(&mut self, key: Bytes, value: Bytes, lease: i64) -> Result<Option<KeyValue>, ReadError> {
        let previous = self.get(&key)?;
        let revision = self.before + 1;
        let kv = KeyValue {
            create_revision: previous.as_ref().map_or(revision, |p| p.create_revision),
            mod_revision: revision,
            version: previous.as_ref().map_or(1, |p| p.version + 1),
            key: key.clone(),
            value,
            lease,
        };
        let record = self.record(Kind::Put, &kv);
        self.state.put(Space::Live, key.clone(), record);
        match &previous {
            None => count::add(self.state, &key)?,
            Some(previous) if previous.lease != lease => lease::detach(self.state, previous.lease, &key),
            Some(_) => {}
        }
        lease::attach(self.state, lease, &key);
        self.events.push(Event {
            r#type: EventType::Put as i32,
            kv: Some(kv),
            prev_kv: previous.clone(),
        });
        Ok(previous)
    }

    /// Deletes all keys of `range`; gives what was there, in key order.
    pub fn delete(&mut self, range: &KeyRange) -> Result<Vec<KeyValue>, ReadError> {
        let doomed = self.live(range)?;
        for previous in &doomed {
            let tombstone = KeyValue {
                key: previous.key.clone(),
                mod_revision: self.before + 1,
                ..KeyValue::default()
            };
            self.record(Kind::Tombstone, &tombstone);
            self.state.delete(Space::Live, previous.key.clone());
            count::remove(self.state, &previous.key)?;
            lease::detach(self.state, previous.lease, &previous.key);
            self.events.push(Event {
                r#type: EventType::Delete as i32,
                kv: Some(tombstone),
                prev_kv: Some(previous.clone()),
            });
        }
        Ok(doomed)
    }

    fn live(&self, range: &KeyRange) -> Result<Vec<KeyValue>, ReadError> {
        if range.is_single() {
            return Ok(self.get(&range.start)?.into_iter().collect());
        }
        let mut found = Vec::new();
        let mut cursor = self.state.cursor(Space::Live);
        cursor.seek(&range.start)?;
        while let Some((key, value)) = cursor.entry() {
            if range.is_past(key) {
                break;
            }
            found.push(encoding::parse_kv(Space::Live, Bytes::copy_from_slice(value))?);
            cursor.advance()?;
        }
        Ok(found)
    }

    /// Adds the next event of this revision to both orders of history; gives the encoded `kv`.
    fn record(&mut self, kind: Kind, kv: &KeyValue) -> Bytes {
        // One command is bounded by the request size: far fewer than 2^32 events.
        let sub = u32::try_from(self.events.len()).unwrap_or(u32::MAX);
        let revision = kv.mod_revision;
        let at = encoding::history_key(Position { revision, sub });
        let value = encoding::history_value(kind, kv);
        // The kind's byte stands before it.
        let record = value.slice(1..);
        self.state.put(Space::History, at, value);
        self.state.put(
            Space::Keys,
            encoding::version_key(&kv.key, revision),
            encoding::version_value(kind, sub),
        );
        record
    }
}
