//! Pending writes over a view: a batch of commands reads its own writes before any is on disk.

use crate::read::{Batch, Cursor, Read, ReadError, Space, Write};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::collections::btree_map;
use std::iter::Peekable;

type Pending = BTreeMap<Bytes, Option<Bytes>>;

/// A [`Read`] that can be written to; the writes leave as one [`Batch`].
pub struct Overlay<'a> {
    base: &'a dyn Read,
    pending: [Pending; Space::ALL.len()],
}

impl<'a> Overlay<'a> {
    pub fn new(base: &'a dyn Read) -> Self {
        Self {
            base,
            pending: Default::default(),
        }
    }

    pub fn put(&mut self, space: Space, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.pending[space.number()].insert(key.into(), Some(value.into()));
    }

    pub fn delete(&mut self, space: Space, key: impl Into<Bytes>) {
        self.pending[space.number()].insert(key.into(), None);
    }

    /// Everything written, each key once.
    pub fn into_batch(self) -> Batch {
        let mut writes = Vec::new();
        for (space, pending) in Space::ALL.into_iter().zip(self.pending) {
            writes.extend(
                pending
                    .into_iter()
                    .map(|(key, value)| Write { space, key, value }),
            );
        }
        Batch(writes)
    }
}

impl Read for Overlay<'_> {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        match self.pending[space.number()].get(key) {
            Some(written) => Ok(written.clone()),
            None => self.base.get(space, key),
        }
    }

    fn cursor(&self, space: Space) -> Box<dyn Cursor + '_> {
        let pending = &self.pending[space.number()];
        let base = self.base.cursor(space);
        if pending.is_empty() {
            return base;
        }
        Box::new(OverlayCursor {
            base,
            pending,
            ahead: None,
            back: None,
        })
    }
}

struct OverlayCursor<'a> {
    base: Box<dyn Cursor + 'a>,
    pending: &'a Pending,
    /// The pending entries from the cursor's place on; `None` before the first forward seek.
    ahead: Option<Peekable<btree_map::Range<'a, Bytes, Option<Bytes>>>>,
    /// Where [`Cursor::seek_back`] stopped, when that is a pending entry.
    back: Option<(&'a Bytes, &'a Bytes)>,
}

impl OverlayCursor<'_> {
    /// Skips what pending writes hide: overwritten entries of the base and deletions.
    fn settle(&mut self) -> Result<(), ReadError> {
        let Some(ahead) = &mut self.ahead else {
            return Ok(());
        };
        while let Some((key, value)) = ahead.peek() {
            match self.base.entry() {
                Some((base, _)) if base < key.as_ref() => return Ok(()),
                Some((base, _)) if base == key.as_ref() => self.base.advance()?,
                _ => {}
            }
            if value.is_some() {
                return Ok(());
            }
            ahead.next();
        }
        Ok(())
    }

    /// Takes the last pending entry up to `end` when it lies after the base's place.
    fn back_to(&mut self, end: std::ops::Bound<&[u8]>) {
        let pending = self
            .pending
            .range::<[u8], _>((std::ops::Bound::Unbounded, end))
            .rev()
            .find_map(|(key, value)| value.as_ref().map(|value| (key, value)));
        self.back = pending.filter(|(found, _)| match self.base.entry() {
            Some((base, _)) => base < found.as_ref(),
            None => true,
        });
    }

    /// The pending entry, when it's the one the cursor stands on.
    fn pending_entry(&self) -> Option<(&[u8], &[u8])> {
        // `Peekable::peek` wants `&mut`; a clone of the iterator is two pointers.
        let (key, value) = self.ahead.as_ref()?.clone().next()?;
        match self.base.entry() {
            Some((base, _)) if base < key.as_ref() => None,
            _ => Some((key.as_ref(), value.as_deref()?)),
        }
    }
}

impl Cursor for OverlayCursor<'_> {
    fn seek(&mut self, key: &[u8]) -> Result<(), ReadError> {
        self.back = None;
        self.base.seek(key)?;
        let from = (std::ops::Bound::Included(key), std::ops::Bound::Unbounded);
        self.ahead = Some(self.pending.range::<[u8], _>(from).peekable());
        self.settle()
    }

    fn seek_back(&mut self, key: &[u8]) -> Result<(), ReadError> {
        self.ahead = None;
        self.base.seek_back(key)?;
        // A base entry that a pending write hides is no answer; the one before it may be.
        while let Some((base, _)) = self.base.entry()
            && self.pending.contains_key(base)
        {
            self.base.retreat()?;
        }
        self.back_to(std::ops::Bound::Included(key));
        Ok(())
    }

    fn retreat(&mut self) -> Result<(), ReadError> {
        let Some(here) = self.entry().map(|(key, _)| key.to_vec()) else {
            return Ok(());
        };
        self.seek_back(&here)?;
        // Both sides stand at or before `here`: step over it on each.
        if self.base.entry().is_some_and(|(base, _)| base == here) {
            self.base.retreat()?;
        }
        while let Some((base, _)) = self.base.entry()
            && self.pending.contains_key(base)
        {
            self.base.retreat()?;
        }
        self.back_to(std::ops::Bound::Excluded(&here));
        Ok(())
    }

    fn advance(&mut self) -> Result<(), ReadError> {
        if self.pending_entry().is_some() {
            if let Some(ahead) = &mut self.ahead {
                ahead.next();
            }
        } else {
            self.base.advance()?;
        }
        self.settle()
    }

    fn entry(&self) -> Option<(&[u8], &[u8])> {
        if let Some((key, value)) = self.back {
            return Some((key, value));
        }
        if self.ahead.is_some()
            && let Some(entry) = self.pending_entry()
        {
            return Some(entry);
        }
        self.base.entry()
    }
}
