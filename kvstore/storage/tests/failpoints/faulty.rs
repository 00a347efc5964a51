//! An engine that fails on request.

use kvstore_core::{Batch, Cursor, Read, ReadError, Space};
use kvstore_storage::{Engine, SharedRead, StorageError, SyncStyle};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// Which call fails; calls are counted from 0 over all kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The call does nothing and fails.
    Before(u64),
    /// The call does what it should and fails all the same: nobody can know.
    After(u64),
    Never,
}

/// Passes everything on to another engine, until the call that fails. From then on it is poisoned.
pub struct FaultyEngine {
    inner: Arc<dyn Engine>,
    fault: Fault,
    calls: AtomicU64,
    poison: Mutex<Option<&'static str>>,
}

impl FaultyEngine {
    pub fn new(inner: Arc<dyn Engine>, fault: Fault) -> Self {
        Self {
            inner,
            fault,
            calls: AtomicU64::new(0),
            poison: Mutex::new(None),
        }
    }

    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    fn call<T>(
        &self,
        operation: &'static str,
        work: impl FnOnce() -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let mut poison = self.poison.lock().expect("no panics");
        if let Some(reason) = *poison {
            return Err(StorageError::Poisoned(reason.to_owned()));
        }
        let failed = || StorageError::Io {
            operation,
            reason: "injected".to_owned(),
        };
        if self.fault == Fault::Before(call) {
            *poison = Some(operation);
            return Err(failed());
        }
        let done = work()?;
        if self.fault == Fault::After(call) {
            *poison = Some(operation);
            return Err(failed());
        }
        Ok(done)
    }

    fn read<T>(&self, work: impl FnOnce() -> Result<T, ReadError>) -> Result<T, ReadError> {
        self.call("reading", || work().map_err(StorageError::from))
            .map_err(|error| ReadError::Io(error.to_string()))
    }
}

impl Engine for FaultyEngine {
    fn view(&self) -> Box<dyn Read + '_> {
        Box::new(FaultyView {
            inner: self.inner.view(),
            engine: self,
        })
    }

    /// Without faults: the workload reads through [`Engine::view`].
    fn shared_view(self: Arc<Self>) -> Box<dyn SharedRead> {
        Arc::clone(&self.inner).shared_view()
    }

    fn write(&self, batch: &Batch) -> Result<(), StorageError> {
        self.call("writing a batch", || self.inner.write(batch))
    }

    fn write_and_cut(&self, batch: &Batch, space: Space, from: &[u8], to: &[u8]) -> Result<(), StorageError> {
        self.call("writing and cutting", || {
            self.inner.write_and_cut(batch, space, from, to)
        })
    }

    fn clear_stage(&self) -> Result<(), StorageError> {
        self.call("emptying the stage", || self.inner.clear_stage())
    }

    fn stage(&self, batch: &Batch) -> Result<(), StorageError> {
        self.call("staging", || self.inner.stage(batch))
    }

    fn promote_stage(&self) -> Result<(), StorageError> {
        self.call("promoting", || self.inner.promote_stage())
    }

    fn sync(&self) -> Result<(), StorageError> {
        self.call("syncing", || self.inner.sync())
    }

    fn sync_style(&self) -> SyncStyle {
        self.inner.sync_style()
    }

    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn failure(&self) -> Option<StorageError> {
        let poison = *self.poison.lock().expect("no panics");
        poison.map(|reason| StorageError::Poisoned(reason.to_owned()))
    }
}

struct FaultyView<'a> {
    inner: Box<dyn Read + 'a>,
    engine: &'a FaultyEngine,
}

impl Read for FaultyView<'_> {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<bytes::Bytes>, ReadError> {
        self.engine.read(|| self.inner.get(space, key))
    }

    fn cursor(&self, space: Space) -> Box<dyn Cursor + '_> {
        Box::new(FaultyCursor {
            inner: self.inner.cursor(space),
            engine: self.engine,
        })
    }
}

struct FaultyCursor<'a> {
    inner: Box<dyn Cursor + 'a>,
    engine: &'a FaultyEngine,
}

impl Cursor for FaultyCursor<'_> {
    fn seek(&mut self, key: &[u8]) -> Result<(), ReadError> {
        self.engine.read(|| self.inner.seek(key))
    }

    fn seek_back(&mut self, key: &[u8]) -> Result<(), ReadError> {
        self.engine.read(|| self.inner.seek_back(key))
    }

    fn retreat(&mut self) -> Result<(), ReadError> {
        self.engine.read(|| self.inner.retreat())
    }

    fn advance(&mut self) -> Result<(), ReadError> {
        self.engine.read(|| self.inner.advance())
    }

    fn entry(&self) -> Option<(&[u8], &[u8])> {
        self.inner.entry()
    }
}
