//! How many bytes the kept versions take: exact, counted as they come and as compaction removes them.
//!
//! A version counts once, with its keys and before compression: what clients have stored and could still
//! read. (The newest version of each key is on disk a second time, for fast lists.) Two counters, because two
//! tasks write: applying adds, compaction removes. Neither is replicated; they differ between members only
//! by what compaction has still to do.

use crate::meta;
use crate::overlay::Overlay;
use crate::read::{Read, ReadError};
use prost::Message as _;
use proto::mvccpb::{Event, KeyValue};

/// Bytes of a record's key in `History`, and of its kind.
const HISTORY_BYTES: usize = 12 + 1;
/// Bytes of a record in `Keys` beside the escaped key: terminator, revision, kind and sub.
const KEYS_BYTES: usize = 2 + 8 + 5;

/// The two counters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoredBytes {
    pub added: u64,
    pub removed: u64,
}

impl StoredBytes {
    /// `None` in a store that was written before there were counters.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn read(view: &dyn Read) -> Result<Option<Self>, ReadError> {
        let Some(added) = meta::bytes_added(view)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            added,
            removed: meta::bytes_removed(view)?,
        }))
    }

    pub fn kept(self) -> u64 {
        self.added.saturating_sub(self.removed)
    }
}

/// Stores what has been added in all.
pub fn write_added(state: &mut Overlay<'_>, added: u64) {
    meta::write_bytes_added(state, added);
}

/// What an event adds.
pub fn event_bytes(event: &Event) -> u64 {
    event.kv.as_ref().map_or(0, version_bytes)
}

/// What a version takes.
pub fn version_bytes(kv: &KeyValue) -> u64 {
    let zeros = kv.key.iter().filter(|byte| **byte == 0).count();
    (HISTORY_BYTES + kv.encoded_len() + KEYS_BYTES + kv.key.len() + zeros) as u64
}

/// What removing a version frees, by its record's value in `History` and its key in `Keys`.
pub fn record_bytes(history_value: &[u8], version_key: &[u8]) -> u64 {
    (HISTORY_BYTES - 1 + history_value.len() + version_key.len() + 5) as u64
}

#[cfg(test)]
mod tests {
    use super::{record_bytes, version_bytes};
    use crate::encoding::{Kind, history_value, version_key};
    use proto::mvccpb::KeyValue;

    #[test]
    fn a_version_frees_what_it_took() {
        for key in [&b"a"[..], b"a\0b\0", b"\0"] {
            let kv = KeyValue {
                key: key.to_vec().into(),
                value: vec![1; 100].into(),
                mod_revision: 300,
                create_revision: 2,
                version: 7,
                lease: 1,
            };
            let (value, versions) = (history_value(Kind::Put, &kv), version_key(key, 300));
            assert_eq!(version_bytes(&kv), record_bytes(&value, &versions));
        }
    }
}
