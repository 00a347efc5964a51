//! The stream of `Maintenance.Snapshot`: the state of one moment, as a file that etcd's tools take.
//!
//! The state goes into a file without a name first, and from there to the client: a slow client holds up
//! a file, not a view of the store. The system removes the file with its last handle, whatever ends this.
//!
//! Source of the messages: etcd `server/etcdserver/api/v3rpc/maintenance.go`, `Snapshot`.

use crate::applied_state;
use crate::config::DataDir;
use crate::store::Store;
use bytes::Bytes;
use kvstore_backup::{Origin, OriginMember, STORAGE_VERSION, export};
use kvstore_storage::SyncStyle;
use proto::etcdserverpb::SnapshotResponse;
use sha2::{Digest as _, Sha256};
use std::io::{self, BufWriter, Cursor, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// Bytes of the state in one message (etcd `snapshotSendBufferSize`).
const BLOB: usize = 32 << 10;
/// Messages that wait for the client: enough to keep a connection busy.
const QUEUE: usize = 16;
/// Snapshots at once; each is a file as large as the state. Others wait for one to end.
const AT_ONCE: usize = 4;
/// The file is written in pieces of this size.
const WRITE_BYTES: usize = 1 << 20;

type Message = Result<SnapshotResponse, Status>;

/// Makes snapshots for clients.
#[derive(Clone)]
pub struct Snapshots {
    store: Arc<Store>,
    /// Where the files are made: beside the data, where there is room for more of it. `None` in a
    /// simulation, where they are in memory.
    folder: Option<PathBuf>,
    places: Arc<Semaphore>,
    stop: CancellationToken,
}

impl Snapshots {
    pub fn new(store: Arc<Store>, data_dir: &DataDir, stop: CancellationToken) -> Self {
        Self {
            store,
            folder: match data_dir {
                DataDir::Directory(path, _) => Some(path.clone()),
                DataDir::Simulated(..) => None,
            },
            places: Arc::new(Semaphore::new(AT_ONCE)),
            stop,
        }
    }

    /// The messages of a snapshot of now.
    ///
    /// # Errors
    /// `Unavailable` when the member stops, or can't begin.
    pub async fn stream(&self, members: Vec<OriginMember>) -> Result<mpsc::Receiver<Message>, Status> {
        let stopping = || Status::unavailable("etcdserver: server stopped");
        let place = tokio::select! {
            biased;
            () = self.stop.cancelled() => return Err(stopping()),
            place = Arc::clone(&self.places).acquire_owned() => place.map_err(|_| stopping())?,
        };
        let (sender, receiver) = mpsc::channel(QUEUE);
        match (self.store.engine().sync_style(), &self.folder) {
            (SyncStyle::Thread, Some(folder)) => self.start_aside(folder.clone(), members, sender, place),
            _ => self.start_task(members, sender, place),
        }
        Ok(receiver)
    }

    /// Reading the state and hashing it takes processor time: it belongs where it may block. The end of the runtime
    /// waits for it: it holds the database open.
    fn start_aside(
        &self,
        folder: PathBuf,
        members: Vec<OriginMember>,
        sender: mpsc::Sender<Message>,
        place: OwnedSemaphorePermit,
    ) {
        let (store, stop) = (Arc::clone(&self.store), self.stop.clone());
        tokio::task::spawn_blocking(move || {
            let gone = || stop.is_cancelled() || sender.is_closed();
            let done = tempfile::tempfile_in(folder)
                .map_err(|error| failed(&error))
                .and_then(|file| {
                    produce(&store, members, file, &gone, |message| {
                        !gone() && sender.blocking_send(Ok(message)).is_ok()
                    })
                });
            if let Err(status) = done {
                // Nobody may be there to hear it.
                let _ = sender.blocking_send(Err(status));
            }
            drop(place);
        });
    }

    /// A simulation has one thread, and little data.
    fn start_task(
        &self,
        members: Vec<OriginMember>,
        sender: mpsc::Sender<Message>,
        place: OwnedSemaphorePermit,
    ) {
        let mut messages = Vec::new();
        let done = produce(
            &self.store,
            members,
            Cursor::new(Vec::new()),
            &|| false,
            |message| {
                messages.push(Ok(message));
                true
            },
        );
        messages.extend(done.err().map(Err));
        tokio::spawn(async move {
            for message in messages {
                if sender.send(message).await.is_err() {
                    break;
                }
            }
            drop(place);
        });
    }
}

/// Writes the state to `file`, then hands it out; `send` says whether to go on.
fn produce<F: Read + Write + Seek>(
    store: &Store,
    members: Vec<OriginMember>,
    file: F,
    gone: &dyn Fn() -> bool,
    mut send: impl FnMut(SnapshotResponse) -> bool,
) -> Result<(), Status> {
    let begun = Instant::now();
    let (mut file, total) = {
        let view = store.view();
        let applied = applied_state::read(&*view)
            .map_err(|error| crate::status::unreadable(&error))?
            .log_id
            .unwrap_or_default();
        let origin = Origin {
            index: applied.index,
            term: applied.term,
            members,
        };
        let out = BufWriter::with_capacity(WRITE_BYTES, WhileWanted { file, gone });
        let (out, total) = export(&*view, &origin, out).map_err(|error| failed(&error))?;
        let out = out.into_inner().map_err(|error| failed(error.error()))?;
        (out.file, total)
    };
    store
        .metrics
        .state
        .backend_snapshot
        .observe(begun.elapsed().as_secs_f64());
    file.seek(SeekFrom::Start(0)).map_err(|error| failed(&error))?;
    let mut digest = Sha256::new();
    let mut remaining = total;
    while remaining > 0 {
        let mut blob = vec![0; BLOB.min(usize::try_from(remaining).unwrap_or(BLOB))];
        file.read_exact(&mut blob).map_err(|error| failed(&error))?;
        digest.update(&blob);
        remaining -= blob.len() as u64;
        if !send(message(blob, remaining)) {
            return Ok(());
        }
    }
    send(message(digest.finalize().to_vec(), 0));
    Ok(())
}

fn message(blob: Vec<u8>, remaining: u64) -> SnapshotResponse {
    SnapshotResponse {
        header: None,
        remaining_bytes: remaining,
        blob: Bytes::from(blob),
        version: STORAGE_VERSION.to_owned(),
    }
}

fn failed(error: &dyn std::error::Error) -> Status {
    Status::internal(format!("etcdserver: making a snapshot: {error}"))
}

/// A file that fails once nobody waits for it any more.
struct WhileWanted<'a, F> {
    file: F,
    gone: &'a dyn Fn() -> bool,
}

impl<F: Write> Write for WhileWanted<'_, F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if (self.gone)() {
            return Err(io::Error::other("nobody waits for the snapshot any more"));
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl<F: Seek> Seek for WhileWanted<'_, F> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}
