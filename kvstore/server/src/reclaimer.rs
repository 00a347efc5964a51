//! Giving disk space back in the background, when somebody asks for it (`Defragment`).

use kvstore_storage::{Engine, SyncStyle};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio_util::sync::CancellationToken;

/// At most one round at a time.
#[derive(Clone)]
pub struct Reclaimer {
    engine: Arc<dyn Engine>,
    busy: Arc<AtomicBool>,
    cancel: CancellationToken,
}

impl Reclaimer {
    pub fn new(engine: Arc<dyn Engine>, cancel: CancellationToken) -> Self {
        Self {
            engine,
            busy: Arc::default(),
            cancel,
        }
    }

    /// Starts a round, unless one is under way, and returns.
    pub fn hurry(&self) {
        if self.busy.swap(true, Ordering::AcqRel) {
            return;
        }
        let Self { engine, busy, cancel } = self.clone();
        let work = move || {
            // A disk that failed is poisoned: the member learns of it there.
            let outcome = engine.reclaim(&mut || !cancel.is_cancelled());
            busy.store(false, Ordering::Release);
            match outcome {
                Ok(()) => tracing::info!(bytes = engine.size(), "gave space back"),
                Err(error) => tracing::error!(%error, "giving space back"),
            }
        };
        match self.engine.sync_style() {
            SyncStyle::Simulated(_) => work(),
            SyncStyle::Thread => {
                tokio::task::spawn_blocking(work);
            }
        }
    }
}
