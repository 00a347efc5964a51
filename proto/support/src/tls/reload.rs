//! A configuration that follows the files it was made from.
//!
//! Files are looked at before a handshake and read only when one of them has changed. Certificate and key
//! are two files, replaced one after the other: what doesn't fit together in between is refused by the
//! build, and the next change is tried again.

use super::TlsError;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;

type Build<C> = dyn Fn() -> Result<C, TlsError> + Send + Sync;

/// A configuration and where it comes from.
pub struct Reloading<C> {
    current: RwLock<Arc<C>>,
    source: Option<Source<C>>,
}

struct Source<C> {
    files: Vec<PathBuf>,
    /// What the files looked like when they were last read, or last refused.
    seen: Mutex<Vec<Option<Stamp>>>,
    build: Box<Build<C>>,
}

/// Tells one content of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    inode: u64,
    bytes: u64,
}

impl<C> Reloading<C> {
    /// One that changes only by [`Reloading::replace`].
    pub fn fixed(config: C) -> Self {
        Self {
            current: RwLock::new(Arc::new(config)),
            source: None,
        }
    }

    /// One that is built from `files`, now and whenever one of them has changed.
    ///
    /// # Errors
    /// When the first build fails.
    pub fn following(
        files: Vec<PathBuf>,
        build: impl Fn() -> Result<C, TlsError> + Send + Sync + 'static,
    ) -> Result<Self, TlsError> {
        // Before they are read: a change in between is then seen as one.
        let seen = stamps(&files);
        Ok(Self {
            current: RwLock::new(Arc::new(build()?)),
            source: Some(Source {
                files,
                seen: Mutex::new(seen),
                build: Box::new(build),
            }),
        })
    }

    /// The newest configuration that could be made.
    pub fn current(&self) -> Arc<C> {
        if let Some(source) = &self.source {
            self.follow(source);
        }
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn replace(&self, config: C) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }

    fn follow(&self, source: &Source<C>) {
        let now = stamps(&source.files);
        // Held while reading: the second of two handshakes waits for the new configuration.
        let mut seen = source.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == now {
            return;
        }
        *seen = now;
        match (source.build)() {
            Ok(config) => {
                tracing::info!(files = ?source.files, "TLS files have changed and are in use");
                self.replace(config);
            }
            Err(error) => {
                tracing::warn!(files = ?source.files, %error, "TLS files have changed and can't be used: the old ones stay");
            }
        }
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Option<Stamp>> {
    files
        .iter()
        .map(|file| {
            let metadata = std::fs::metadata(file).ok()?;
            Some(Stamp {
                modified: metadata.modified().ok(),
                inode: metadata.ino(),
                bytes: metadata.len(),
            })
        })
        .collect()
}
