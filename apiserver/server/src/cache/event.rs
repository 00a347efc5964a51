//! One change of one object, encoded once for all who watch.

use super::{Entry, Filter};
use bytes::Bytes;
use std::sync::{Arc, OnceLock};

/// What a watcher is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Added,
    Modified,
    Deleted,
}

impl Change {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

#[derive(Debug)]
pub(crate) struct Event {
    pub revision: i64,
    pub current: Option<Arc<Entry>>,
    pub previous: Option<Arc<Entry>>,
    lines: [OnceLock<Bytes>; 3],
}

impl Event {
    pub(crate) fn new(revision: i64, current: Option<Arc<Entry>>, previous: Option<Arc<Entry>>) -> Self {
        Self {
            revision,
            current,
            previous,
            lines: Default::default(),
        }
    }

    /// A synthetic ADDED for an object that was there before the watch.
    pub(crate) fn initial(entry: Arc<Entry>) -> Self {
        Self::new(entry.revision, Some(entry), None)
    }

    /// What this event is to a watcher with `filter`: an object that leaves the selection is deleted to it,
    /// one that enters is added.
    pub(crate) fn change_for(&self, filter: &Filter) -> Option<Change> {
        let before = self.previous.as_ref().is_some_and(|entry| filter.matches(entry));
        let after = self.current.as_ref().is_some_and(|entry| filter.matches(entry));
        match (before, after) {
            (false, true) => Some(Change::Added),
            (true, true) => Some(Change::Modified),
            (true, false) => Some(Change::Deleted),
            (false, false) => None,
        }
    }

    /// The object shown with `change`: a deleted one in its last state, at the deletion's revision.
    pub(crate) fn object(&self, change: Change) -> Bytes {
        let shown = match change {
            Change::Deleted => self.previous.as_ref(),
            Change::Added | Change::Modified => self.current.as_ref(),
        };
        shown
            .map(|entry| entry.json_at(self.revision))
            .unwrap_or_default()
    }

    /// The line of a JSON watch stream, made at most once a change.
    pub(crate) fn line(&self, change: Change) -> Bytes {
        self.lines[change as usize]
            .get_or_init(|| watch_line(change.name(), &self.object(change)))
            .clone()
    }
}

/// `{"type":...,"object":...}` and a newline.
pub(crate) fn watch_line(kind: &str, object: &[u8]) -> Bytes {
    [
        b"{\"type\":\"",
        kind.as_bytes(),
        b"\",\"object\":",
        object,
        b"}\n",
    ]
    .concat()
    .into()
}
