//! What goes from the hub to the streams, and what a stream asks of the hub.

use bytes::{BufMut as _, Bytes, BytesMut};
use kvstore_core::{HistoryPage, KeyRange};
use prost::Message as _;
use proto::mvccpb::event::EventType;
use proto::mvccpb::{Event, KeyValue};
use std::sync::Arc;
use tokio::sync::{Notify, mpsc};

/// The events of one revision, with previous values.
#[derive(Debug, Clone)]
pub struct Published {
    pub revision: i64,
    pub events: Arc<[Event]>,
    /// About what it takes in memory.
    pub bytes: usize,
}

impl Published {
    pub fn new(revision: i64, events: Vec<Event>) -> Self {
        let size = |event: &Event| {
            let kv = |kv: &Option<KeyValue>| kv.as_ref().map_or(0, |kv| kv.key.len() + kv.value.len());
            kv(&event.kv) + kv(&event.prev_kv) + 64
        };
        Self {
            revision,
            bytes: events.iter().map(size).sum(),
            events: events.into(),
        }
    }
}

/// What a watcher wants to see. Watchers that want the same are given the same bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interest {
    pub range: KeyRange,
    pub no_puts: bool,
    pub no_deletes: bool,
    pub previous: bool,
}

impl Interest {
    /// Whether this watcher sees an event whose key is in its range.
    pub fn wants(&self, event: &Event) -> bool {
        match event.r#type() {
            EventType::Put => !self.no_puts,
            EventType::Delete => !self.no_deletes,
        }
    }

    /// The event as this watcher sees it, if it does.
    pub fn pick(&self, event: &Event) -> Option<Event> {
        let kv = event.kv.as_ref()?;
        if !self.wants(event) || !self.range.contains(&kv.key) {
            return None;
        }
        Some(Event {
            r#type: event.r#type,
            kv: Some(kv.clone()),
            prev_kv: event.prev_kv.clone().filter(|_| self.previous),
        })
    }
}

/// The tag of field 11, `events`, of an `etcdserverpb.WatchResponse`.
const EVENTS_TAG: u8 = 11 << 3 | 2;

/// Events as they stand in a response, encoded once for all who are given them.
#[derive(Debug, Clone)]
pub struct EncodedEvents {
    bytes: Bytes,
    /// Where each event ends.
    ends: Arc<[usize]>,
}

impl EncodedEvents {
    /// Encodes `events`, without their previous values unless `previous`.
    pub fn new<'a>(events: impl IntoIterator<Item = &'a Event>, previous: bool) -> Self {
        let (mut bytes, mut ends) = (BytesMut::new(), Vec::new());
        for event in events {
            let shown;
            let event = if previous || event.prev_kv.is_none() {
                event
            } else {
                shown = Event {
                    prev_kv: None,
                    ..event.clone()
                };
                &shown
            };
            let length = event.encoded_len();
            bytes.reserve(length + 11);
            bytes.put_u8(EVENTS_TAG);
            prost::encoding::encode_varint(length as u64, &mut bytes);
            event.encode_raw(&mut bytes);
            ends.push(bytes.len());
        }
        Self {
            bytes: bytes.freeze(),
            ends: ends.into(),
        }
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// All of them.
    pub fn whole(&self) -> Bytes {
        self.bytes.clone()
    }

    /// Cut into parts of at most `limit` bytes, or one event.
    pub fn parts(&self, limit: usize) -> Vec<Bytes> {
        let (mut parts, mut start, mut end) = (Vec::new(), 0, 0);
        for next in self.ends.iter().copied() {
            if next - start > limit && end > start {
                parts.push(self.bytes.slice(start..end));
                start = end;
            }
            end = next;
        }
        parts.push(self.bytes.slice(start..end));
        parts
    }
}

/// What a stream is told.
#[derive(Debug)]
pub enum Message {
    Events {
        watch_id: i64,
        /// Everything up to here has been looked at.
        revision: i64,
        events: EncodedEvents,
    },
    Progress {
        /// -1: of all watchers of the stream.
        watch_id: i64,
        revision: i64,
    },
}

/// A stream's end of the hub.
pub struct Subscription {
    pub id: u64,
    pub queue: mpsc::Receiver<Message>,
    /// Wakes when a watcher has fallen behind.
    pub behind: Arc<Notify>,
}

/// Who of a stream is behind.
pub enum Behind {
    Nobody,
    /// Someone, whose older events are still in the queue.
    AfterQueue,
    Now(CatchUp),
}

/// A watcher to be caught up: from where to where, and the events if the ring has them.
pub struct CatchUp {
    pub watch_id: i64,
    pub interest: Interest,
    pub from: i64,
    pub to: i64,
    /// `None`: to be read from disk.
    pub recent: Option<HistoryPage>,
}
