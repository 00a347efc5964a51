//! Saves a backup from a member: to `FILE.part`, checked and synced, then renamed
//! (etcd `client/v3/snapshot/v3_snapshot.go`).

use crate::client::Client;
use proto::etcdserverpb::SnapshotRequest;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use tonic::Status;

/// The last message of the stream is the checksum of all before.
const CHECKSUM_BYTES: usize = 32;

/// Why a backup was not saved.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    #[error("the member doesn't give a snapshot: {}", .0.message())]
    Refused(Status),
    #[error("the stream broke off: {}", .0.message())]
    Broken(Status),
    #[error("the stream ended {0} bytes early")]
    Short(u64),
    #[error("the stream ended without a checksum")]
    NoChecksum,
    #[error("the checksum does not match: the backup was damaged on its way")]
    Damaged,
    #[error("writing {path}: {source}")]
    File {
        path: String,
        #[source]
        source: std::io::Error,
    },
}

#[derive(Debug, Clone)]
pub struct SaveOptions {
    pub file: PathBuf,
}

/// A saved backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// Bytes of the file.
    pub bytes: u64,
    /// The storage version that the member named; empty before etcd 3.6.
    pub version: String,
}

/// Saves a backup of the member that `client` is connected to.
///
/// # Errors
/// When there is none to have, or it can't be written; then there is no file, and an older one stays.
pub async fn save(client: Client, options: &SaveOptions) -> Result<Saved, SaveError> {
    let part = Part::create(&options.file)?;
    let saved = receive(client, &part).await?;
    part.finish(&options.file)?;
    Ok(saved)
}

async fn receive(mut client: Client, part: &Part) -> Result<Saved, SaveError> {
    let answer = client.snapshot(SnapshotRequest {}).await;
    let mut messages = answer.map_err(SaveError::Refused)?.into_inner();
    let mut digest = Sha256::new();
    // The newest message: whether it is the checksum is known only when no other follows.
    let mut last: Option<(Vec<u8>, u64)> = None;
    let mut saved = Saved {
        bytes: 0,
        version: String::new(),
    };
    while let Some(message) = messages.message().await.map_err(SaveError::Broken)? {
        saved.version = message.version;
        if let Some((blob, _)) = last.replace((message.blob.to_vec(), message.remaining_bytes)) {
            digest.update(&blob);
            saved.bytes += part.write(&blob)?;
        }
    }
    let (checksum, remaining) = last.ok_or(SaveError::NoChecksum)?;
    if remaining > 0 {
        return Err(SaveError::Short(remaining));
    }
    if checksum.len() != CHECKSUM_BYTES {
        return Err(SaveError::NoChecksum);
    }
    if digest.finalize()[..] != checksum[..] {
        return Err(SaveError::Damaged);
    }
    saved.bytes += part.write(&checksum)?;
    Ok(saved)
}

/// The unfinished file; removed unless it is finished.
struct Part {
    path: PathBuf,
    file: File,
}

impl Part {
    fn create(target: &Path) -> Result<Self, SaveError> {
        let mut path = target.as_os_str().to_owned();
        path.push(".part");
        let path = PathBuf::from(path);
        // Whoever reads a backup reads all secrets of the cluster.
        let opened = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path);
        match opened {
            Ok(file) => Ok(Self { path, file }),
            Err(source) => Err(failed(&path, source)),
        }
    }

    fn write(&self, bytes: &[u8]) -> Result<u64, SaveError> {
        (&self.file)
            .write_all(bytes)
            .map_err(|source| failed(&self.path, source))?;
        Ok(bytes.len() as u64)
    }

    fn finish(&self, target: &Path) -> Result<(), SaveError> {
        self.file
            .sync_all()
            .and_then(|()| std::fs::rename(&self.path, target))
            .and_then(|()| sync_parent(target))
            .map_err(|source| failed(target, source))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // It is gone already after a rename.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A rename lasts once its folder is synced.
pub fn sync_parent(path: &Path) -> std::io::Result<()> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

fn failed(path: &Path, source: std::io::Error) -> SaveError {
    SaveError::File {
        path: path.display().to_string(),
        source,
    }
}
