//! Reading keys, now or at an earlier revision (etcd `server/etcdserver/txn/range.go`).

use crate::count;
use crate::encoding::{self, Kind, Position};
use crate::key_range::KeyRange;
use crate::meta::Meta;
use crate::read::{Read, ReadError, Space};
use crate::refusal::{Error, Refusal};
use bytes::Bytes;
use proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use proto::etcdserverpb::{RangeRequest, RangeResponse, ResponseHeader};
use proto::mvccpb::KeyValue;
use std::collections::BTreeMap;

/// A count at an earlier revision is derived from today's by undoing at most this many revisions;
/// past that, visiting the keys is cheaper than the history.
const MAX_UNDONE_REVISIONS: i64 = 2_000;

/// A range answer; `header.revision` is filled, the rest of the header is the server's.
pub type RangeOutcome = RangeResponse;

/// Answers `request` from `view`.
///
/// # Errors
/// [`Refusal::Compacted`] and [`Refusal::FutureRevision`]; or when the store can't be read.
pub fn range(view: &dyn Read, request: &RangeRequest) -> Result<RangeOutcome, Error> {
    let meta = Meta::read(view)?;
    range_at(view, request, meta, meta.revision)
}

/// As [`range`], inside a command whose writes so far have brought the revision to `current`.
pub fn range_at(
    view: &dyn Read,
    request: &RangeRequest,
    meta: Meta,
    current: i64,
) -> Result<RangeOutcome, Error> {
    let revision = if request.revision <= 0 {
        current
    } else {
        request.revision
    };
    if revision > current {
        return Err(Refusal::FutureRevision.into());
    }
    if revision < meta.compacted {
        return Err(Refusal::Compacted.into());
    }
    let range = KeyRange::new(request.key.clone(), request.range_end.clone());
    let mut response = RangeResponse {
        header: Some(ResponseHeader {
            revision: current,
            ..ResponseHeader::default()
        }),
        ..RangeResponse::default()
    };
    if range.is_empty() {
        return Ok(response);
    }
    let selection = Selection::of(request);
    let mut kvs = if request.count_only {
        Vec::new()
    } else {
        let take = if selection.is_plain() {
            selection.limit.saturating_add(1)
        } else {
            usize::MAX
        };
        if revision == current {
            live(view, &range, take)?
        } else {
            past(view, &range, revision, take)?
        }
    };
    let complete = !request.count_only && (!selection.is_plain() || kvs.len() <= selection.limit);
    let count = if complete {
        kvs.len() as u64
    } else if revision == current {
        count::count(view, &range)?
    } else {
        count_past(view, &range, revision, current)?
    };
    response.count = i64::try_from(count).unwrap_or(i64::MAX);
    selection.filter(&mut kvs);
    selection.sort(&mut kvs);
    response.more = kvs.len() > selection.limit;
    kvs.truncate(selection.limit);
    if request.keys_only {
        for kv in &mut kvs {
            kv.value = Bytes::new();
        }
    }
    response.kvs = kvs;
    Ok(response)
}

/// What of the fetched keys is answered, and in which order.
struct Selection<'a> {
    request: &'a RangeRequest,
    limit: usize,
    order: SortOrder,
}

impl<'a> Selection<'a> {
    fn of(request: &'a RangeRequest) -> Self {
        let mut order = request.sort_order();
        if request.sort_target() != SortTarget::Key && order == SortOrder::None {
            order = SortOrder::Ascend;
        }
        let limit = match usize::try_from(request.limit) {
            Ok(0) | Err(_) => usize::MAX,
            Ok(limit) => limit,
        };
        Self {
            request,
            limit,
            order,
        }
    }

    /// Whether only the first keys of the range are fetched. With a target but no order etcd fetches those
    /// first and sorts them after, and so do we.
    fn is_plain(&self) -> bool {
        let r = self.request;
        let key_order = r.sort_target() == SortTarget::Key && self.order != SortOrder::Descend
            || r.sort_order() == SortOrder::None;
        key_order
            && r.min_mod_revision == 0
            && r.max_mod_revision == 0
            && r.min_create_revision == 0
            && r.max_create_revision == 0
    }

    fn filter(&self, kvs: &mut Vec<KeyValue>) {
        let r = self.request;
        let within =
            |value: i64, min: i64, max: i64| (min == 0 || value >= min) && (max == 0 || value <= max);
        kvs.retain(|kv| {
            within(kv.mod_revision, r.min_mod_revision, r.max_mod_revision)
                && within(kv.create_revision, r.min_create_revision, r.max_create_revision)
        });
    }

    fn sort(&self, kvs: &mut [KeyValue]) {
        if self.order == SortOrder::None {
            return;
        }
        match self.request.sort_target() {
            // Already in key order.
            SortTarget::Key => {}
            SortTarget::Version => kvs.sort_by_key(|kv| kv.version),
            SortTarget::Create => kvs.sort_by_key(|kv| kv.create_revision),
            SortTarget::Mod => kvs.sort_by_key(|kv| kv.mod_revision),
            SortTarget::Value => kvs.sort_by(|a, b| a.value.cmp(&b.value)),
        }
        if self.order == SortOrder::Descend {
            kvs.reverse();
        }
    }
}

/// The first `take` live keys of `range`.
fn live(view: &dyn Read, range: &KeyRange, take: usize) -> Result<Vec<KeyValue>, ReadError> {
    if range.is_single() {
        return view
            .get(Space::Live, &range.start)?
            .map(|value| encoding::parse_kv(Space::Live, value))
            .into_iter()
            .collect();
    }
    let mut found = Vec::new();
    let mut cursor = view.cursor(Space::Live);
    cursor.seek(&range.start)?;
    while let Some((key, value)) = cursor.entry() {
        if found.len() == take || range.is_past(key) {
            break;
        }
        found.push(encoding::parse_kv(Space::Live, Bytes::copy_from_slice(value))?);
        cursor.advance()?;
    }
    Ok(found)
}

/// The first `take` keys of `range` as they were at `revision`.
fn past(view: &dyn Read, range: &KeyRange, revision: i64, take: usize) -> Result<Vec<KeyValue>, ReadError> {
    let mut found = Vec::new();
    each_past_key(view, range, revision, |position| {
        found.push(at(view, position)?);
        Ok(found.len() < take)
    })?;
    Ok(found)
}

/// `key` as it was at `revision`, `None` when it did not exist then (or that is compacted away).
pub fn get_at(view: &dyn Read, key: &[u8], revision: i64) -> Result<Option<KeyValue>, ReadError> {
    if let Some(live) = view.get(Space::Live, key)? {
        let kv = encoding::parse_kv(Space::Live, live)?;
        if kv.mod_revision <= revision {
            return Ok(Some(kv));
        }
    }
    let mut cursor = view.cursor(Space::Keys);
    cursor.seek(&encoding::version_key(key, revision))?;
    let (_, end) = encoding::key_versions(key);
    match cursor.entry() {
        Some((found, value)) if found < end.as_slice() => {
            let (kind, sub) = encoding::parse_version_value(value)?;
            let (_, revision) = encoding::parse_version_key(found)?;
            match kind {
                Kind::Tombstone => Ok(None),
                Kind::Put => at(view, Position { revision, sub }).map(Some),
            }
        }
        _ => Ok(None),
    }
}

/// Calls `visit` with where each key of `range` that existed at `revision` was written, in key order,
/// until it says false.
fn each_past_key(
    view: &dyn Read,
    range: &KeyRange,
    revision: i64,
    mut visit: impl FnMut(Position) -> Result<bool, ReadError>,
) -> Result<(), ReadError> {
    let mut cursor = view.cursor(Space::Keys);
    cursor.seek(&encoding::escape(&range.start))?;
    while let Some((encoded, _)) = cursor.entry() {
        let (key, newest) = encoding::parse_version_key(encoded)?;
        if range.is_past(&key) {
            break;
        }
        let (_, end) = encoding::key_versions(&key);
        if newest > revision {
            cursor.seek(&encoding::version_key(&key, revision))?;
        }
        let mut stands_past_key = false;
        match cursor.entry() {
            Some((found, value)) if found < end.as_slice() => {
                let (kind, sub) = encoding::parse_version_value(value)?;
                let (_, revision) = encoding::parse_version_key(found)?;
                if kind == Kind::Put && !visit(Position { revision, sub })? {
                    break;
                }
            }
            _ => stands_past_key = true,
        }
        if !stands_past_key {
            cursor.seek(&end)?;
        }
    }
    Ok(())
}

/// Today's count with everything after `revision` undone.
fn count_past(view: &dyn Read, range: &KeyRange, revision: i64, current: i64) -> Result<u64, ReadError> {
    if current - revision > MAX_UNDONE_REVISIONS {
        let mut count = 0;
        each_past_key(view, range, revision, |_| {
            count += 1;
            Ok(true)
        })?;
        return Ok(count);
    }
    // The first event of a key after `revision` says whether it existed then: a put has the create
    // revision, a tombstone implies it. The last one says whether it exists now.
    let mut touched: BTreeMap<Bytes, (bool, bool)> = BTreeMap::new();
    let mut cursor = view.cursor(Space::History);
    cursor.seek(&encoding::history_key(Position {
        revision: revision + 1,
        sub: 0,
    }))?;
    while let Some((_, value)) = cursor.entry() {
        let (kind, kv) = encoding::parse_history_value(value)?;
        if range.contains(&kv.key) {
            let existed = kind == Kind::Tombstone || kv.create_revision <= revision;
            let exists = kind == Kind::Put;
            touched
                .entry(kv.key)
                .and_modify(|(_, last)| *last = exists)
                .or_insert((existed, exists));
        }
        cursor.advance()?;
    }
    let mut count = count::count(view, range)?;
    for (existed, exists) in touched.into_values() {
        count = count + u64::from(existed) - u64::from(exists);
    }
    Ok(count)
}

fn at(view: &dyn Read, position: Position) -> Result<KeyValue, ReadError> {
    let record = view
        .get(Space::History, &encoding::history_key(position))?
        .ok_or_else(|| ReadError::corrupt(Space::Keys, format!("no history at {position:?}")))?;
    Ok(encoding::parse_history_value(&record)?.1)
}
