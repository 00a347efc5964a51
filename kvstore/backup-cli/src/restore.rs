//! Restores a backup into the data folder of a member of a new cluster.
//!
//! Every member of the new cluster restores the same file with the same flags but its own name; then they
//! hold the same state at the same place of a new log.

use crate::save::sync_parent;
use kvstore_backup::{
    Checked, ChecksumError, Database, FormatError, ImportError, RevisionBump, Target, import, verify,
};
use kvstore_core::{Batch, Read};
use kvstore_server::{ClusterPeer, FoundError, found_restored_cluster};
use kvstore_storage::{Engine, RocksEngine, RocksOptions, StorageError};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a backup was not restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error("--mark-compacted required if --bump-revision > 0, and the other way round")]
    BumpWithoutMark,
    #[error("--initial-cluster {0:?} is not `name=url,name=url`")]
    InitialCluster(String),
    #[error("--initial-cluster doesn't name this member, {0:?}")]
    NotInCluster(String),
    #[error(
        "--initial-cluster has {name:?} at {cluster:?}, but --initial-advertise-peer-urls is {advertised:?}"
    )]
    PeerUrls {
        name: String,
        cluster: Vec<String>,
        advertised: Vec<String>,
    },
    #[error("data-dir {0:?} not empty or could not be read")]
    NotEmpty(PathBuf),
    #[error("opening {path}: {source}")]
    Open {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Checksum(#[from] ChecksumError),
    #[error(
        "snapshot missing hash but --skip-hash-check=false: the file is cut short, or a copy from a data folder"
    )]
    NoChecksum,
    #[error("the backup is damaged: {0}")]
    Format(#[from] FormatError),
    #[error("the backup can't be restored: {0}")]
    Import(#[from] ImportError<StorageError>),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Found(#[from] FoundError),
    #[error("making {path}: {source}")]
    Folder {
        path: String,
        #[source]
        source: std::io::Error,
    },
}

#[derive(Debug, Clone)]
pub struct RestoreOptions {
    pub file: PathBuf,
    /// Absent or empty.
    pub data_dir: PathBuf,
    pub name: String,
    /// `name=url,…`; a name may come several times, with a URL each.
    pub initial_cluster: String,
    pub initial_cluster_token: String,
    /// This member's, as the initial cluster has them.
    pub peer_urls: Vec<String>,
    pub skip_hash_check: bool,
    pub bump_revision: u64,
    pub mark_compacted: bool,
}

/// What was restored, and as whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    pub revision: i64,
    /// Events in the history.
    pub events: u64,
    pub leases: u64,
    pub member: u64,
    pub cluster: u64,
}

/// Restores a backup. A member started on the folder with the same name, initial cluster and token belongs
/// to a new cluster that has the backup's keys, revisions and leases.
///
/// # Errors
/// When the backup is damaged or the flags contradict each other; then there is no folder.
pub fn restore(options: &RestoreOptions) -> Result<Restored, RestoreError> {
    if options.mark_compacted != (options.bump_revision > 0) {
        return Err(RestoreError::BumpWithoutMark);
    }
    let peers = parse_initial_cluster(&options.initial_cluster)?;
    check_own_urls(options, &peers)?;
    refuse_used(&options.data_dir)?;
    let file = File::open(&options.file).map_err(|source| RestoreError::Open {
        path: options.file.display().to_string(),
        source,
    })?;
    if !options.skip_hash_check && verify(&file)? == Checked::Absent {
        return Err(RestoreError::NoChecksum);
    }
    let database = Database::open(file)?;
    let folder = Unfinished::create(&options.data_dir)?;
    let restored = fill(&folder.path, &database, &peers, options)?;
    folder.finish(&options.data_dir)?;
    Ok(restored)
}

fn fill(
    folder: &Path,
    database: &Database<File>,
    peers: &[ClusterPeer],
    options: &RestoreOptions,
) -> Result<Restored, RestoreError> {
    let target = Folder(Arc::new(RocksEngine::open(folder, RocksOptions::default())?));
    let bump = options
        .mark_compacted
        .then_some(RevisionBump(options.bump_revision));
    let imported = import(database, bump, &target)?;
    let founded = found_restored_cluster(&target.0, &options.initial_cluster_token, peers, &options.name)?;
    target.0.sync()?;
    Ok(Restored {
        revision: imported.revision,
        events: imported.events,
        leases: imported.leases,
        member: founded.member,
        cluster: founded.cluster,
    })
}

/// The engine that a backup is restored into.
struct Folder(Arc<dyn Engine>);

impl Target for Folder {
    type Error = StorageError;

    fn write(&self, batch: &Batch) -> Result<(), StorageError> {
        self.0.write(batch)
    }

    fn view(&self) -> Box<dyn Read + '_> {
        self.0.view()
    }
}

/// A folder beside the wanted one, removed unless it is finished: half a state must not look like a whole.
struct Unfinished {
    path: PathBuf,
}

impl Unfinished {
    fn create(target: &Path) -> Result<Self, RestoreError> {
        let mut path = target.as_os_str().to_owned();
        path.push(".restoring");
        let path = PathBuf::from(path);
        // What an earlier try left when it was killed.
        match std::fs::remove_dir_all(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed(&path, source));
            }
            _ => {}
        }
        std::fs::create_dir_all(&path).map_err(|source| failed(&path, source))?;
        Ok(Self { path })
    }

    fn finish(self, target: &Path) -> Result<(), RestoreError> {
        File::open(&self.path)
            .and_then(|folder| folder.sync_all())
            // An empty folder of that name gives way.
            .and_then(|()| std::fs::rename(&self.path, target))
            .and_then(|()| sync_parent(target))
            .map_err(|source| failed(target, source))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // It is gone already after a rename.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

fn failed(path: &Path, source: std::io::Error) -> RestoreError {
    RestoreError::Folder {
        path: path.display().to_string(),
        source,
    }
}

fn refuse_used(folder: &Path) -> Result<(), RestoreError> {
    let free = match std::fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    };
    if free {
        return Ok(());
    }
    Err(RestoreError::NotEmpty(folder.to_owned()))
}

/// etcd `client/pkg/types/urlsmap.go`, `NewURLsMap`.
fn parse_initial_cluster(text: &str) -> Result<Vec<ClusterPeer>, RestoreError> {
    let mut peers: Vec<ClusterPeer> = Vec::new();
    for part in text.split(',') {
        let (name, url) = part
            .trim()
            .split_once('=')
            .filter(|(name, url)| !name.is_empty() && url.contains("://"))
            .ok_or_else(|| RestoreError::InitialCluster(text.to_owned()))?;
        match peers.iter_mut().find(|peer| peer.name == name) {
            Some(peer) => peer.peer_urls.push(url.to_owned()),
            None => peers.push(ClusterPeer::new(name, url)),
        }
    }
    Ok(peers)
}

fn check_own_urls(options: &RestoreOptions, peers: &[ClusterPeer]) -> Result<(), RestoreError> {
    let me = peers
        .iter()
        .find(|peer| peer.name == options.name)
        .ok_or_else(|| RestoreError::NotInCluster(options.name.clone()))?;
    let (mut cluster, mut advertised) = (me.peer_urls.clone(), options.peer_urls.clone());
    cluster.sort_unstable();
    advertised.sort_unstable();
    if cluster == advertised {
        return Ok(());
    }
    Err(RestoreError::PeerUrls {
        name: options.name.clone(),
        cluster,
        advertised,
    })
}
