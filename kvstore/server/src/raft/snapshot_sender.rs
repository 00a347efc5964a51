//! A raft snapshot on its way out: read from one view of the state while it is sent.

use crate::applied_state;
use crate::store::Store;
use kvstore_core::FORMAT;
use kvstore_storage::{StateDigest, StorageError, SyncStyle, each_state_chunk};
use proto::raftpb::{SnapshotChunk, SnapshotMeta, StateRecord};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;

/// Chunks that wait for the network; each is about a mebibyte.
const QUEUE: usize = 2;

/// The messages of a snapshot of the state as it is now: as new as openraft wants it, or newer.
///
/// A view lives as long as its messages take. Writers don't mind; what they overwrite stays on disk until
/// then.
pub fn snapshot_chunks(store: Arc<Store>, first: SnapshotChunk) -> ReceiverStream<SnapshotChunk> {
    if let SyncStyle::Simulated(_) = store.engine().sync_style() {
        // A simulation has one thread, and little data.
        let mut chunks = Vec::new();
        let done = read(&store, first, |chunk| {
            chunks.push(chunk);
            true
        });
        report(done);
        let (sender, receiver) = mpsc::channel(chunks.len().max(1));
        for chunk in chunks {
            // There is room for all of them.
            let _ = sender.try_send(chunk);
        }
        return ReceiverStream::new(receiver);
    }
    let (sender, receiver) = mpsc::channel(QUEUE);
    // The end of the runtime waits for it: it holds the database open.
    tokio::task::spawn_blocking(move || {
        report(read(&store, first, |chunk| sender.blocking_send(chunk).is_ok()));
    });
    ReceiverStream::new(receiver)
}

/// A stream that ends early is one that its receiver doesn't take.
fn report(done: Result<(), Stopped>) {
    if let Err(Stopped::Failed(error)) = done {
        tracing::error!(%error, "reading the state for a snapshot");
    }
}

enum Stopped {
    /// Nobody takes the messages any more.
    Gone,
    Failed(StorageError),
}

impl From<kvstore_core::ReadError> for Stopped {
    fn from(error: kvstore_core::ReadError) -> Self {
        Self::Failed(error.into())
    }
}

fn read(
    store: &Store,
    first: SnapshotChunk,
    mut send: impl FnMut(SnapshotChunk) -> bool,
) -> Result<(), Stopped> {
    let begun = Instant::now();
    let view = store.view();
    let applied = applied_state::read(&*view)?;
    let mut send = |chunk| if send(chunk) { Ok(()) } else { Err(Stopped::Gone) };
    send(SnapshotChunk {
        meta: Some(SnapshotMeta {
            last_log: applied.log_id,
            membership: applied.membership,
            id: String::new(),
            format: FORMAT.into(),
        }),
        ..first
    })?;
    let StateDigest { records, checksum } = each_state_chunk(&*view, |records: Vec<StateRecord>| {
        send(SnapshotChunk {
            records,
            ..SnapshotChunk::default()
        })
    })?;
    store
        .metrics
        .state
        .backend_snapshot
        .observe(begun.elapsed().as_secs_f64());
    send(SnapshotChunk {
        last: true,
        records_total: records,
        checksum,
        ..SnapshotChunk::default()
    })
}
