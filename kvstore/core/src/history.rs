//! Past events in order, for watchers that are behind.

use crate::encoding::{self, Kind, Position};
use crate::key_range::KeyRange;
use crate::meta::Meta;
use crate::range::get_at;
use crate::read::{Read, ReadError, Space};
use proto::mvccpb::{Event, event::EventType};

/// Events of whole revisions, and where to go on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HistoryPage {
    pub events: Vec<Event>,
    /// The first revision that isn't covered yet.
    pub next_revision: i64,
}

/// What bounds one page.
#[derive(Debug, Clone, Copy)]
pub struct PageLimits {
    /// Revisions visited, matching or not.
    pub revisions: i64,
    /// Bytes of matching events after which no further revision is begun.
    pub bytes: usize,
}

/// Events of `range` from `from` to `to` (both included), as many whole revisions as `limits` allow.
/// Previous values are looked up when `previous`, and left out when they are compacted away.
///
/// The caller has made sure that `from` isn't compacted.
///
/// # Errors
/// When the store can't be read.
pub fn history_page(
    view: &dyn Read,
    range: &KeyRange,
    (from, to): (i64, i64),
    previous: bool,
    limits: PageLimits,
) -> Result<HistoryPage, ReadError> {
    let mut page = HistoryPage {
        events: Vec::new(),
        next_revision: to + 1,
    };
    let compacted = Meta::read(view)?.compacted;
    let (mut visited, mut bytes, mut current) = (0, 0, 0);
    let mut cursor = view.cursor(Space::History);
    cursor.seek(&encoding::history_key(Position {
        revision: from,
        sub: 0,
    }))?;
    while let Some((key, value)) = cursor.entry() {
        let revision = encoding::parse_history_key(key)?.revision;
        if revision > to {
            break;
        }
        if revision != current {
            if visited == limits.revisions || bytes >= limits.bytes {
                page.next_revision = revision;
                break;
            }
            current = revision;
            visited += 1;
        }
        let (kind, kv) = encoding::parse_history_value(value)?;
        if range.contains(&kv.key) {
            bytes += value.len();
            let created = kind == Kind::Put && kv.create_revision == revision;
            // Whether compaction has got to it or not: what was before the bound is gone for everyone.
            let prev_kv = if previous && !created && revision > compacted {
                get_at(view, &kv.key, revision - 1)?
            } else {
                None
            };
            let kind = match kind {
                Kind::Put => EventType::Put,
                Kind::Tombstone => EventType::Delete,
            };
            page.events.push(Event {
                r#type: kind as i32,
                kv: Some(kv),
                prev_kv,
            });
        }
        cursor.advance()?;
    }
    Ok(page)
}
