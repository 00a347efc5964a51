//! Reading the simulated disk.

use super::MemoryDisk;
use super::platter::{Records, Spaces};
use bytes::Bytes;
use kvstore_core::{Cursor, Read, ReadError, Space};
use std::ops::Bound;

pub const UNREADABLE: &str = "simulated failure of a read";

/// The disk at one moment.
pub struct MemoryView {
    pub spaces: Spaces,
    /// Asked at every read whether it can be read at all.
    pub disk: MemoryDisk,
}

fn check(disk: &MemoryDisk) -> Result<(), ReadError> {
    if disk.is_unreadable() {
        return Err(ReadError::Io(UNREADABLE.to_owned()));
    }
    Ok(())
}

impl Read for MemoryView {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        check(&self.disk)?;
        Ok(self.spaces[space.number()].get(key).cloned())
    }

    fn cursor(&self, space: Space) -> Box<dyn Cursor + '_> {
        Box::new(MemoryCursor {
            space: &self.spaces[space.number()],
            at: None,
            disk: &self.disk,
        })
    }
}

struct MemoryCursor<'a> {
    space: &'a Records,
    at: Option<(&'a Bytes, &'a Bytes)>,
    disk: &'a MemoryDisk,
}

impl MemoryCursor<'_> {
    fn first(&mut self, from: Bound<&[u8]>) -> Result<(), ReadError> {
        check(self.disk)?;
        self.at = self.space.range::<[u8], _>((from, Bound::Unbounded)).next();
        Ok(())
    }

    fn last(&mut self, to: Bound<&[u8]>) -> Result<(), ReadError> {
        check(self.disk)?;
        self.at = self.space.range::<[u8], _>((Bound::Unbounded, to)).next_back();
        Ok(())
    }
}

impl Cursor for MemoryCursor<'_> {
    fn seek(&mut self, key: &[u8]) -> Result<(), ReadError> {
        self.first(Bound::Included(key))
    }

    fn seek_back(&mut self, key: &[u8]) -> Result<(), ReadError> {
        self.last(Bound::Included(key))
    }

    fn retreat(&mut self) -> Result<(), ReadError> {
        match self.at {
            Some((key, _)) => self.last(Bound::Excluded(key)),
            None => Ok(()),
        }
    }

    fn advance(&mut self) -> Result<(), ReadError> {
        match self.at {
            Some((key, _)) => self.first(Bound::Excluded(key)),
            None => Ok(()),
        }
    }

    fn entry(&self) -> Option<(&[u8], &[u8])> {
        self.at.map(|(key, value)| (key.as_ref(), value.as_ref()))
    }
}
