//! Exact counts of live keys without visiting them all.
//!
//! The key space is cut into stretches of at most [`MAX_STRETCH`] live keys; `Counts` holds how many each
//! has, under its first possible key (the first stretch starts at the empty key). A count adds up whole
//! stretches and visits keys only in the two at its ends: for a million keys a few thousand small
//! records instead of a million values.
//!
//! Invariants: the numbers of all stretches add up to the number of live keys; no stretch is empty,
//! except the first.

use crate::key_range::{End, KeyRange};
use crate::overlay::Overlay;
use crate::read::{Batch, Read, ReadError, Space};
use bytes::Bytes;

/// A stretch is cut in two when it grows past this: large enough that the table stays small, small
/// enough that visiting a stretch costs microseconds.
const MAX_STRETCH: u64 = 512;

/// Records that `key` now exists. Call after its live record is written.
pub fn add(state: &mut Overlay<'_>, key: &[u8]) -> Result<(), ReadError> {
    let (start, count) = stretch(state, key)?;
    let count = count + 1;
    if count <= MAX_STRETCH {
        write(state, start, count);
        return Ok(());
    }
    let half = count / 2;
    let mut cursor = state.cursor(Space::Live);
    cursor.seek(&start)?;
    for _ in 0..half {
        cursor.advance()?;
    }
    let middle = cursor.entry().map(|(key, _)| Bytes::copy_from_slice(key));
    drop(cursor);
    let middle = middle.ok_or_else(|| ReadError::corrupt(Space::Counts, "a stretch with too few keys"))?;
    write(state, start, half);
    write(state, middle, count - half);
    Ok(())
}

/// Records that `key` no longer exists.
pub fn remove(state: &mut Overlay<'_>, key: &[u8]) -> Result<(), ReadError> {
    let (start, count) = stretch(state, key)?;
    let count = count
        .checked_sub(1)
        .ok_or_else(|| ReadError::corrupt(Space::Counts, "a stretch with a negative count"))?;
    if count == 0 {
        state.delete(Space::Counts, start);
    } else {
        write(state, start, count);
    }
    Ok(())
}

/// How many live keys lie in `range`.
pub fn count(view: &dyn Read, range: &KeyRange) -> Result<u64, ReadError> {
    if range.is_empty() {
        return Ok(0);
    }
    if range.is_single() {
        return Ok(u64::from(view.get(Space::Live, &range.start)?.is_some()));
    }
    let mut table = view.cursor(Space::Counts);
    table.seek(&range.start)?;
    let mut total = 0;
    // From the start to the first stretch that begins inside the range, key by key.
    let first = table
        .entry()
        .map(|(start, _)| start.to_vec())
        .filter(|start| !range.is_past(start));
    let Some(first) = first else {
        return visit(view, &range.start, range);
    };
    if first != range.start.as_ref() {
        let head = KeyRange {
            start: range.start.clone(),
            end: End::Before(Bytes::copy_from_slice(&first)),
        };
        total += visit(view, &head.start, &head)?;
    }
    // Then whole stretches, as long as another one follows inside the range.
    let mut last = (first, 0);
    while let Some((start, value)) = table.entry() {
        if range.is_past(start) {
            break;
        }
        total += last.1;
        last = (start.to_vec(), parse(value)?);
        table.advance()?;
    }
    // The last one may reach past the range's end.
    match (&range.end, table.entry()) {
        (End::Before(end), Some((next, _))) if next == end.as_ref() => Ok(total + last.1),
        (End::Open, _) => Ok(total + last.1),
        _ => Ok(total + visit(view, &last.0, range)?),
    }
}

/// Cuts the stretches of a state under construction anew, from its live keys in order.
#[derive(Default)]
pub struct Rebuild {
    start: Bytes,
    count: u64,
}

impl Rebuild {
    /// As many keys as a stretch has after it was cut.
    const FILL: u64 = MAX_STRETCH / 2;

    pub fn add(&mut self, key: &[u8], batch: &mut Batch) {
        if self.count == Self::FILL {
            let start = std::mem::replace(&mut self.start, Bytes::copy_from_slice(key));
            let count = std::mem::take(&mut self.count);
            batch.put(Space::Counts, start, count.to_be_bytes().to_vec());
        }
        self.count += 1;
    }

    pub fn finish(self, batch: &mut Batch) {
        if self.count > 0 {
            batch.put(Space::Counts, self.start, self.count.to_be_bytes().to_vec());
        }
    }
}

/// Counts the keys from `from` to the end of `range` one by one.
fn visit(view: &dyn Read, from: &[u8], range: &KeyRange) -> Result<u64, ReadError> {
    let mut cursor = view.cursor(Space::Live);
    cursor.seek(from)?;
    let mut count = 0;
    while let Some((key, _)) = cursor.entry() {
        if range.is_past(key) {
            break;
        }
        count += 1;
        cursor.advance()?;
    }
    Ok(count)
}

/// The stretch that `key` belongs to.
fn stretch(state: &Overlay<'_>, key: &[u8]) -> Result<(Bytes, u64), ReadError> {
    let mut cursor = state.cursor(Space::Counts);
    cursor.seek_back(key)?;
    match cursor.entry() {
        Some((start, value)) => Ok((Bytes::copy_from_slice(start), parse(value)?)),
        None => Ok((Bytes::new(), 0)),
    }
}

fn write(state: &mut Overlay<'_>, start: Bytes, count: u64) {
    state.put(Space::Counts, start, count.to_be_bytes().to_vec());
}

fn parse(value: &[u8]) -> Result<u64, ReadError> {
    let bytes = value
        .try_into()
        .map_err(|_| ReadError::corrupt(Space::Counts, "count"))?;
    Ok(u64::from_be_bytes(bytes))
}
