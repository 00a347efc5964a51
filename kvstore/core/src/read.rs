//! The view of an ordered key-value store that the core reads, and the writes that it gives back.

use bytes::Bytes;

/// A family of keys with an order of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    /// Scalars of the state machine: revisions, alarms, member attributes, the applied log id.
    Meta,
    /// Every kept event in the order of `(revision, sub)`.
    History,
    /// Every kept event in the order of `(key, revision descending)`; points into `History`.
    Keys,
    /// The newest version of every key that exists now.
    Live,
    /// How many live keys each stretch of the key space holds.
    Counts,
    Leases,
    /// `(lease, key)` for every live key with a lease.
    LeaseKeys,
    /// Raft log entries by index.
    Log,
    /// The vote, the purged log id, the format.
    RaftState,
}

impl Space {
    pub const ALL: [Self; 9] = [
        Self::Meta,
        Self::History,
        Self::Keys,
        Self::Live,
        Self::Counts,
        Self::Leases,
        Self::LeaseKeys,
        Self::Log,
        Self::RaftState,
    ];
    /// The spaces that make up the replicated state: what a snapshot carries.
    pub const STATE: [Self; 7] = [
        Self::Meta,
        Self::History,
        Self::Keys,
        Self::Live,
        Self::Counts,
        Self::Leases,
        Self::LeaseKeys,
    ];

    /// A stable name, used on disk.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::History => "history",
            Self::Keys => "keys",
            Self::Live => "live",
            Self::Counts => "counts",
            Self::Leases => "leases",
            Self::LeaseKeys => "lease_keys",
            Self::Log => "log",
            Self::RaftState => "raft_state",
        }
    }

    /// A stable number, used in snapshots and as an array index.
    pub const fn number(self) -> usize {
        self as usize
    }
}

/// One change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    pub space: Space,
    pub key: Bytes,
    /// `None` deletes.
    pub value: Option<Bytes>,
}

/// Changes that take effect together or not at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch(pub Vec<Write>);

impl Batch {
    pub fn put(&mut self, space: Space, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.0.push(Write {
            space,
            key: key.into(),
            value: Some(value.into()),
        });
    }

    pub fn delete(&mut self, space: Space, key: impl Into<Bytes>) {
        self.0.push(Write {
            space,
            key: key.into(),
            value: None,
        });
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The store could not be read, or holds what it should not. Never the client's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error("reading the store: {0}")]
    Io(String),
    #[error("corrupt record in {space}: {what}")]
    Corrupt { space: &'static str, what: String },
}

impl ReadError {
    pub fn corrupt(space: Space, what: impl ToString) -> Self {
        Self::Corrupt {
            space: space.name(),
            what: what.to_string(),
        }
    }
}

/// A consistent view: two reads of the same key give the same answer.
pub trait Read {
    /// # Errors
    /// When the disk fails.
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, ReadError>;

    /// A cursor that stands nowhere until the first seek.
    fn cursor(&self, space: Space) -> Box<dyn Cursor + '_>;

    /// As [`Read::cursor`], for a walk through everything: it keeps nothing of it in memory, where it would
    /// push out what others read again and again.
    fn scan(&self, space: Space) -> Box<dyn Cursor + '_> {
        self.cursor(space)
    }
}

/// A place in the order of one space.
pub trait Cursor {
    /// Moves to the first entry whose key is at or after `key`.
    ///
    /// # Errors
    /// When the disk fails.
    fn seek(&mut self, key: &[u8]) -> Result<(), ReadError>;

    /// Moves to the last entry whose key is at or before `key`. After it only [`Cursor::entry`],
    /// [`Cursor::retreat`] and another seek may follow.
    ///
    /// # Errors
    /// When the disk fails.
    fn seek_back(&mut self, key: &[u8]) -> Result<(), ReadError>;

    /// Moves to the entry before this one, after [`Cursor::seek_back`].
    ///
    /// # Errors
    /// When the disk fails.
    fn retreat(&mut self) -> Result<(), ReadError>;

    /// Moves to the entry after this one.
    ///
    /// # Errors
    /// When the disk fails.
    fn advance(&mut self) -> Result<(), ReadError>;

    /// Key and value at this place; `None` past the end.
    fn entry(&self) -> Option<(&[u8], &[u8])>;
}
