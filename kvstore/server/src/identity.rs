//! Ids of members and clusters: derived, so that members agree on them without asking.

use crate::config::ClusterPeer;
use sha2::{Digest as _, Sha256};

/// The id of the member called `name`. It doesn't depend on addresses, which may change.
pub fn member_id(cluster_token: &str, name: &str) -> u64 {
    hash(&[cluster_token.as_bytes(), b"/member/", name.as_bytes()])
}

/// The id of a cluster that started with these members.
pub fn cluster_id(cluster_token: &str, initial: &[ClusterPeer]) -> u64 {
    let mut names: Vec<&str> = initial.iter().map(|peer| peer.name.as_str()).collect();
    names.sort_unstable();
    hash(&[cluster_token.as_bytes(), b"/cluster/", names.join(",").as_bytes()])
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
