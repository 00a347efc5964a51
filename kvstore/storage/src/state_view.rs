//! The replicated state as readers see it: one view shared by all of them, renewed after every write.
//!
//! A view of the engine costs locks and look-ups; so one is taken after each batch of writes instead of one for
//! each reader. The two spaces that every request asks for, the scalars and the counts, are small and kept in
//! memory beside it, in maps that share their structure from one view to the next.
//!
//! Invariants:
//! - What a view shows is one state, between two batches, the spaces in memory included.
//! - All writes to the state's spaces go through [`StateCache`], one at a time.

use crate::engine::{Engine, SharedRead};
use crate::error::StorageError;
use bytes::Bytes;
use kvstore_core::{Batch, Cursor, Read, ReadError, Space};
use rpds::RedBlackTreeMapSync;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

type Map = RedBlackTreeMapSync<Bytes, Bytes>;

/// What is kept in memory.
const PINNED: [Space; 2] = [Space::Meta, Space::Counts];

/// One state, for as long as anyone holds it; may be held across an await.
pub struct StateView {
    base: Box<dyn SharedRead>,
    pinned: [Map; PINNED.len()],
}

impl StateView {
    fn load(engine: &Arc<dyn Engine>) -> Result<Self, ReadError> {
        let base = Arc::clone(engine).shared_view();
        let mut pinned: [Map; PINNED.len()] = Default::default();
        for (space, map) in PINNED.into_iter().zip(&mut pinned) {
            let mut cursor = base.cursor(space);
            cursor.seek(&[])?;
            while let Some((key, value)) = cursor.entry() {
                map.insert_mut(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
                cursor.advance()?;
            }
        }
        Ok(Self { base, pinned })
    }

    fn pinned(&self, space: Space) -> Option<&Map> {
        let at = PINNED.iter().position(|pinned| *pinned == space)?;
        self.pinned.get(at)
    }
}

impl Read for StateView {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        match self.pinned(space) {
            Some(map) => Ok(map.get(key).cloned()),
            None => self.base.get(space, key),
        }
    }

    fn cursor(&self, space: Space) -> Box<dyn Cursor + '_> {
        match self.pinned(space) {
            Some(map) => Box::new(MapCursor {
                map,
                walk: None,
                at: None,
            }),
            None => self.base.cursor(space),
        }
    }

    fn scan(&self, space: Space) -> Box<dyn Cursor + '_> {
        match self.pinned(space) {
            Some(_) => self.cursor(space),
            None => self.base.scan(space),
        }
    }
}

/// Gives out the newest view and takes the writes that make the next one.
pub struct StateCache {
    engine: Arc<dyn Engine>,
    current: Mutex<Arc<StateView>>,
    /// Views of before that were being read when they were replaced, and are perhaps still.
    former: Mutex<Vec<Weak<StateView>>>,
    /// Held by whoever writes, so that views follow one another in the order of the writes.
    writing: Mutex<()>,
}

impl StateCache {
    /// # Errors
    /// When the state can't be read.
    pub fn open(engine: Arc<dyn Engine>) -> Result<Self, StorageError> {
        let view = StateView::load(&engine)?;
        Ok(Self {
            engine,
            current: Mutex::new(Arc::new(view)),
            former: Mutex::default(),
            writing: Mutex::new(()),
        })
    }

    pub fn engine(&self) -> &Arc<dyn Engine> {
        &self.engine
    }

    /// The state after the last write.
    pub fn view(&self) -> Arc<StateView> {
        Arc::clone(&self.current())
    }

    /// How many readers hold a view, the newest or one of before.
    pub fn open_views(&self) -> usize {
        // This one holds the newest itself.
        let newest = Arc::strong_count(&self.current()) - 1;
        let former = self.former.lock().unwrap_or_else(PoisonError::into_inner);
        newest + former.iter().map(Weak::strong_count).sum::<usize>()
    }

    /// Writes `batch` and lets readers see it.
    ///
    /// # Errors
    /// When the disk fails; then nothing has changed.
    pub fn write(&self, batch: &Batch) -> Result<(), StorageError> {
        if batch.is_empty() {
            return Ok(());
        }
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.engine.write(batch)?;
        let mut pinned = self.view().pinned.clone();
        for write in &batch.0 {
            let Some(at) = PINNED.iter().position(|pinned| *pinned == write.space) else {
                continue;
            };
            match &write.value {
                Some(value) => pinned[at].insert_mut(write.key.clone(), value.clone()),
                None => {
                    pinned[at].remove_mut(&write.key);
                }
            }
        }
        self.show(StateView {
            base: Arc::clone(&self.engine).shared_view(),
            pinned,
        });
        Ok(())
    }

    /// Reads everything anew after `replace` has put another state in place of this one.
    ///
    /// # Errors
    /// Those of `replace`, and when the new state can't be read.
    pub fn replace(
        &self,
        replace: impl FnOnce(&dyn Engine) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        replace(&*self.engine)?;
        self.show(StateView::load(&self.engine)?);
        Ok(())
    }

    fn show(&self, view: StateView) {
        let before = std::mem::replace(&mut *self.current(), Arc::new(view));
        let mut former = self.former.lock().unwrap_or_else(PoisonError::into_inner);
        former.retain(|view| view.strong_count() > 0);
        if Arc::strong_count(&before) > 1 {
            former.push(Arc::downgrade(&before));
        }
        drop(former);
        // Outside of the lock: letting go of the engine's view takes locks of its own.
        drop(before);
    }

    fn current(&self) -> MutexGuard<'_, Arc<StateView>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in a map; a walk forward keeps its iterator.
struct MapCursor<'a> {
    map: &'a Map,
    walk: Option<Box<dyn Iterator<Item = (&'a Bytes, &'a Bytes)> + 'a>>,
    at: Option<(&'a Bytes, &'a Bytes)>,
}

impl MapCursor<'_> {
    fn last(&mut self, to: Bound<&[u8]>) {
        self.walk = None;
        self.at = self.map.range::<[u8], _>((Bound::Unbounded, to)).next_back();
    }
}

impl Cursor for MapCursor<'_> {
    fn seek(&mut self, key: &[u8]) -> Result<(), ReadError> {
        let from = Bound::Included(Bytes::copy_from_slice(key));
        let mut walk = self.map.range::<Bytes, _>((from, Bound::Unbounded));
        self.at = walk.next();
        self.walk = Some(Box::new(walk));
        Ok(())
    }

    fn seek_back(&mut self, key: &[u8]) -> Result<(), ReadError> {
        self.last(Bound::Included(key));
        Ok(())
    }

    fn retreat(&mut self) -> Result<(), ReadError> {
        if let Some((key, _)) = self.at {
            self.last(Bound::Excluded(key));
        }
        Ok(())
    }

    fn advance(&mut self) -> Result<(), ReadError> {
        self.at = self.walk.as_mut().and_then(Iterator::next);
        Ok(())
    }

    fn entry(&self) -> Option<(&[u8], &[u8])> {
        self.at.map(|(key, value)| (key.as_ref(), value.as_ref()))
    }
}
