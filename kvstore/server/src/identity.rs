//! Who a member is: ids of members and clusters, and the record of them in the data folder.
//!
//! Ids are derived, so that the members of a new cluster agree on them without asking. As in etcd
//! (`server/etcdserver/api/membership`, `computeMemberID` and `genID`) a member's id follows from its peer
//! URLs and the token, the cluster's from those of its first members; the hash is another one. The id of
//! a member that comes later is random.

use crate::config::ClusterPeer;
use bytes::Bytes;
use kvstore_core::{Batch, ReadError, Space};
use kvstore_storage::{Engine, StorageError};
use prost::Message as _;
use proto::raftpb::Identity;
use sha2::{Digest as _, Sha256};

const VERSION: u32 = 1;
const IDENTITY: &[u8] = b"identity";

/// The id of a member of a new cluster. Its name counts only if it has no peer URL.
pub fn member_id(cluster_token: &str, peer: &ClusterPeer) -> u64 {
    let mut urls = peer.peer_urls.clone();
    urls.sort_unstable();
    let of = if urls.is_empty() {
        peer.name.clone()
    } else {
        urls.concat()
    };
    hash(&[of.as_bytes(), cluster_token.as_bytes()])
}

/// The id of a cluster that starts with these members.
pub fn cluster_id(cluster_token: &str, initial: &[ClusterPeer]) -> u64 {
    let mut ids: Vec<u64> = initial
        .iter()
        .map(|peer| member_id(cluster_token, peer))
        .collect();
    ids.sort_unstable();
    let bytes: Vec<u8> = ids.into_iter().flat_map(u64::to_be_bytes).collect();
    hash(&[&bytes])
}

/// The identity that the folder holds, if it was ever used.
///
/// # Errors
/// When it can't be read, or is of a release that this one doesn't know.
pub fn load_identity(engine: &dyn Engine) -> Result<Option<Identity>, StorageError> {
    let Some(bytes) = engine.view().get(Space::RaftState, IDENTITY)? else {
        return Ok(None);
    };
    let corrupt = |what: String| StorageError::Read(ReadError::corrupt(Space::RaftState, what));
    let identity = Identity::decode(bytes).map_err(|error| corrupt(error.to_string()))?;
    if identity.version != VERSION {
        return Err(corrupt(format!("identity of version {}", identity.version)));
    }
    Ok(Some(identity))
}

/// Keeps the identity; durable when it returns.
///
/// # Errors
/// When the disk fails.
pub fn save_identity(engine: &dyn Engine, identity: &Identity) -> Result<(), StorageError> {
    let record = Identity {
        version: VERSION,
        ..identity.clone()
    };
    let mut batch = Batch::default();
    batch.put(Space::RaftState, IDENTITY, Bytes::from(record.encode_to_vec()));
    engine.write(&batch)?;
    engine.sync()
}

/// The first eight bytes of a SHA-256; never zero, which etcd takes for "none".
fn hash(parts: &[&[u8]]) -> u64 {
    let digest = parts
        .iter()
        .fold(Sha256::new(), |digest, part| digest.chain_update(part))
        .finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(first).max(1)
}
