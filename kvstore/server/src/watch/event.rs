//! What goes from the hub to the streams, and what a stream asks of the hub.

use kvstore_core::{HistoryPage, KeyRange};
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

/// What a watcher wants to see.
#[derive(Debug, Clone)]
pub struct Interest {
    pub range: KeyRange,
    pub no_puts: bool,
    pub no_deletes: bool,
    pub previous: bool,
    /// As the client gave it; 0: from now on.
    pub start_revision: i64,
}

impl Interest {
    /// The event as this watcher sees it, if it does.
    pub fn pick(&self, event: &Event) -> Option<Event> {
        let kv = event.kv.as_ref()?;
        let unwanted = match event.r#type() {
            EventType::Put => self.no_puts,
            EventType::Delete => self.no_deletes,
        };
        if unwanted || !self.range.contains(&kv.key) {
            return None;
        }
        Some(Event {
            r#type: event.r#type,
            kv: Some(kv.clone()),
            prev_kv: event.prev_kv.clone().filter(|_| self.previous),
        })
    }
}

/// What a stream is told.
#[derive(Debug)]
pub enum Message {
    Events {
        watch_id: i64,
        /// Everything up to here has been looked at.
        revision: i64,
        events: Vec<Event>,
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
