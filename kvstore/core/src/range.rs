//! Reading keys, now or at an earlier revision (etcd `server/etcdserver/txn/range.go`).

use crate::count;
use crate::encoding::{self, Kind, Position};
use crate::key_range::KeyRange;
use crate::meta::Meta;
use crate::read::{Read, ReadError, Space};
use crate::refusal::{Error, Refusal};
use bytes::{BufMut as _, Bytes, BytesMut};
use proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use proto::etcdserverpb::{RangeRequest, RangeResponse, ResponseHeader};
use proto::mvccpb::KeyValue;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// A count at an earlier revision is derived from today's by undoing at most this many revisions;
/// past that, visiting the keys is cheaper than the history.
const MAX_UNDONE_REVISIONS: i64 = 2_000;

/// The tag of field 2, `kvs`, of an `etcdserverpb.RangeResponse`.
const KVS_TAG: u8 = 2 << 3 | 2;
/// Bytes of the tag and the longest length.
const KV_OVERHEAD: usize = 11;

/// Bytes of a piece of an encoded answer; a record that is larger has one for itself.
const PIECE: usize = 64 << 10;

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

/// The answer to a range whose keys are encoded already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedRange {
    /// The current revision.
    pub revision: i64,
    /// Encoded fields `kvs` of an `etcdserverpb.RangeResponse`, one after the other, in pieces of whole fields.
    pub kvs: Vec<Bytes>,
    pub more: bool,
    pub count: i64,
}

/// As [`range`], but copies the stored records into the answer as they are: they are encoded the same way there.
/// `None` when that isn't possible because they would have to be looked into: sorted, filtered, or cut.
///
/// # Errors
/// As [`range`].
pub fn encoded_range(view: &dyn Read, request: &RangeRequest) -> Result<Option<EncodedRange>, Error> {
    let selection = Selection::of(request);
    if !selection.is_plain() || selection.order != SortOrder::None || request.keys_only || request.count_only
    {
        return Ok(None);
    }
    let meta = Meta::read(view)?;
    let current = meta.revision;
    let revision = readable(request, meta, current)?;
    let range = KeyRange::new(request.key.clone(), request.range_end.clone());
    let mut answer = EncodedRange {
        revision: current,
        kvs: Vec::new(),
        more: false,
        count: 0,
    };
    if range.is_empty() {
        return Ok(Some(answer));
    }
    let mut taken = 0;
    let mut pieces = Pieces::default();
    let collect = |record: &[u8]| {
        taken += 1;
        if taken <= selection.limit {
            pieces.push(record);
        }
        Ok(())
    };
    let take = selection.limit.saturating_add(1);
    if revision == current {
        live(view, &range, take, collect)?;
    } else {
        past(view, &range, revision, take, collect)?;
    }
    answer.kvs = pieces.finish();
    answer.more = taken > selection.limit;
    answer.count = if answer.more {
        count_at(view, &range, revision, current)?
    } else {
        i64::try_from(taken).unwrap_or(i64::MAX)
    };
    Ok(Some(answer))
}

/// Fields `kvs` as they come: a piece that is full stays where it is, so that a long answer is never copied to a
/// larger place, nor asks for one that the allocator would have to fetch from the system.
#[derive(Default)]
struct Pieces {
    full: Vec<Bytes>,
    last: BytesMut,
}

impl Pieces {
    fn push(&mut self, record: &[u8]) {
        let needed = record.len() + KV_OVERHEAD;
        if !self.last.is_empty() && self.last.len() + needed > PIECE {
            let next = BytesMut::with_capacity(needed.max(PIECE));
            self.full.push(std::mem::replace(&mut self.last, next).freeze());
        }
        self.last.reserve(needed);
        self.last.put_u8(KVS_TAG);
        prost::encoding::encode_varint(record.len() as u64, &mut self.last);
        self.last.put_slice(record);
    }

    fn finish(mut self) -> Vec<Bytes> {
        if !self.last.is_empty() {
            self.full.push(self.last.freeze());
        }
        self.full
    }
}

/// The revision that `request` reads, if it can be read.
fn readable(request: &RangeRequest, meta: Meta, current: i64) -> Result<i64, Refusal> {
    let revision = if request.revision <= 0 {
        current
    } else {
        request.revision
    };
    if revision > current {
        return Err(Refusal::FutureRevision);
    }
    if revision < meta.compacted {
        return Err(Refusal::Compacted);
    }
    Ok(revision)
}

fn count_at(view: &dyn Read, range: &KeyRange, revision: i64, current: i64) -> Result<i64, ReadError> {
    let count = if revision == current {
        count::count(view, range)?
    } else {
        count_past(view, range, revision, current)?
    };
    Ok(i64::try_from(count).unwrap_or(i64::MAX))
}

/// As [`range`], inside a command whose writes so far have brought the revision to `current`.
pub fn range_at(
    view: &dyn Read,
    request: &RangeRequest,
    meta: Meta,
    current: i64,
) -> Result<RangeOutcome, Error> {
    let revision = readable(request, meta, current)?;
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
    let mut kvs = Vec::new();
    if !request.count_only {
        let take = if selection.is_plain() {
            selection.limit.saturating_add(1)
        } else {
            usize::MAX
        };
        let collect = |record: &[u8]| {
            kvs.push(encoding::parse_kv(Space::Live, Bytes::copy_from_slice(record))?);
            Ok(())
        };
        if revision == current {
            live(view, &range, take, collect)?;
        } else {
            past(view, &range, revision, take, collect)?;
        }
    }
    let complete = !request.count_only && (!selection.is_plain() || kvs.len() <= selection.limit);
    response.count = if complete {
        i64::try_from(kvs.len()).unwrap_or(i64::MAX)
    } else {
        count_at(view, &range, revision, current)?
    };
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
        let descend = self.order == SortOrder::Descend;
        // Equal ones stay in the order of their keys, descending too: etcd does so with small ranges, and with
        // larger ones leaves it open.
        let mut by = |compare: fn(&KeyValue, &KeyValue) -> Ordering| {
            kvs.sort_by(|a, b| if descend { compare(b, a) } else { compare(a, b) });
        };
        match self.request.sort_target() {
            SortTarget::Key => by(|a, b| a.key.cmp(&b.key)),
            SortTarget::Version => by(|a, b| a.version.cmp(&b.version)),
            SortTarget::Create => by(|a, b| a.create_revision.cmp(&b.create_revision)),
            SortTarget::Mod => by(|a, b| a.mod_revision.cmp(&b.mod_revision)),
            SortTarget::Value => by(|a, b| a.value.cmp(&b.value)),
        }
    }
}

/// Calls `visit` with the encoded `KeyValue`s of the first `take` live keys of `range`.
fn live(
    view: &dyn Read,
    range: &KeyRange,
    take: usize,
    mut visit: impl FnMut(&[u8]) -> Result<(), ReadError>,
) -> Result<(), ReadError> {
    if range.is_single() {
        return match view.get(Space::Live, &range.start)? {
            Some(record) => visit(&record),
            None => Ok(()),
        };
    }
    let mut cursor = view.cursor(Space::Live);
    cursor.seek(&range.start)?;
    let mut taken = 0;
    while let Some((key, record)) = cursor.entry() {
        if taken == take || range.is_past(key) {
            break;
        }
        visit(record)?;
        taken += 1;
        cursor.advance()?;
    }
    Ok(())
}

/// As [`live`], of the keys as they were at `revision`.
fn past(
    view: &dyn Read,
    range: &KeyRange,
    revision: i64,
    take: usize,
    mut visit: impl FnMut(&[u8]) -> Result<(), ReadError>,
) -> Result<(), ReadError> {
    let mut taken = 0;
    each_past_key(view, range, revision, |position| {
        visit(encoding::history_record(&stored(view, position)?)?)?;
        taken += 1;
        Ok(taken < take)
    })
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
    Ok(encoding::parse_history_value(&stored(view, position)?)?.1)
}

/// The record of history at `position`, which the key's versions have named.
fn stored(view: &dyn Read, position: Position) -> Result<Bytes, ReadError> {
    view.get(Space::History, &encoding::history_key(position))?
        .ok_or_else(|| ReadError::corrupt(Space::Keys, format!("no history at {position:?}")))
}

#[cfg(test)]
mod tests {
    use super::{PIECE, Pieces};
    use prost::Message as _;
    use proto::etcdserverpb::RangeResponse;
    use proto::mvccpb::KeyValue;

    #[test]
    fn pieces_hold_whole_records_and_only_a_large_one_outgrows_them() {
        let records: Vec<KeyValue> = [10, 40_000, 25_000, 300_000, 1, 65_536, 64_000, 1_500, 0]
            .into_iter()
            .map(|length| KeyValue {
                key: "k".into(),
                value: vec![b'v'; length].into(),
                ..KeyValue::default()
            })
            .collect();
        let mut pieces = Pieces::default();
        for record in &records {
            pieces.push(&record.encode_to_vec());
        }
        let pieces = pieces.finish();
        let mut found = Vec::new();
        for piece in pieces {
            let kvs = RangeResponse::decode(piece.clone()).expect("whole fields").kvs;
            assert!(piece.len() <= PIECE || kvs.len() == 1, "{} bytes", piece.len());
            found.extend(kvs);
        }
        assert_eq!(found, records);
        assert!(Pieces::default().finish().is_empty());
    }
}
