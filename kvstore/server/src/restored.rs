//! The member that a restored folder holds: one of a new cluster, at the first place of a new log.
//!
//! The state counts as the outcome of that log's first entry, which is gone: so whoever joins later gets the
//! state, not a log that starts from nothing.

use crate::applied_state;
use crate::config::ClusterPeer;
use crate::identity::{cluster_id, member_id, save_identity};
use kvstore_core::{Overlay, ReadError};
use kvstore_storage::{Engine, RaftLog, StorageError};
use proto::raftpb;
use std::sync::Arc;

/// Where every member of a restored cluster stands.
const START: raftpb::LogId = raftpb::LogId { term: 1, index: 1 };

/// Why a folder can't be a member's.
#[derive(Debug, thiserror::Error)]
pub enum FoundError {
    #[error("the initial cluster doesn't name this member, {0:?}")]
    NotNamed(String),
    #[error("two members have the same peer URLs")]
    SameUrls,
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Who a folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Founded {
    pub cluster: u64,
    pub member: u64,
}

/// Makes `engine`, which holds a state and no log, a member of a new cluster of `initial`. All of them must
/// hold the same state.
///
/// # Errors
/// When `name` isn't one of them, or the disk fails.
pub fn found_restored_cluster(
    engine: &Arc<dyn Engine>,
    cluster_token: &str,
    initial: &[ClusterPeer],
    name: &str,
) -> Result<Founded, FoundError> {
    let me = initial
        .iter()
        .find(|peer| peer.name == name)
        .ok_or_else(|| FoundError::NotNamed(name.to_owned()))?;
    let founded = Founded {
        cluster: cluster_id(cluster_token, initial),
        member: member_id(cluster_token, me),
    };
    let mut members: Vec<raftpb::Member> = initial
        .iter()
        .map(|peer| {
            let mut peer_urls = peer.peer_urls.clone();
            peer_urls.sort_unstable();
            raftpb::Member {
                id: member_id(cluster_token, peer),
                name: peer.name.clone(),
                peer_urls,
                ..raftpb::Member::default()
            }
        })
        .collect();
    members.sort_unstable_by_key(|member| member.id);
    members.dedup_by_key(|member| member.id);
    if members.len() < initial.len() {
        return Err(FoundError::SameUrls);
    }
    let identity = raftpb::Identity {
        // Nobody asks a founder that is restored which folder it was.
        incarnation: founded.member,
        standing: raftpb::Standing::Founder.into(),
        cluster: founded.cluster,
        member: founded.member,
        initial: members.clone(),
        ..raftpb::Identity::default()
    };
    let membership = raftpb::Membership {
        configs: vec![raftpb::Voters {
            ids: members.iter().map(|member| member.id).collect(),
        }],
        members,
    };
    let applied = raftpb::Applied {
        log_id: Some(START),
        membership: Some(raftpb::StoredMembership {
            log_id: Some(START),
            membership: Some(membership),
        }),
    };
    let batch = {
        let view = engine.view();
        let mut state = Overlay::new(&*view);
        applied_state::write(&mut state, &applied);
        state.into_batch()
    };
    engine.write(&batch)?;
    let log = RaftLog::new(Arc::clone(engine));
    log.purge(START)?;
    // A vote of the log's term, for oneself and not elected: the first election is of the next term.
    log.save_vote(raftpb::Vote {
        leader: Some(raftpb::LeaderId {
            term: START.term,
            node: founded.member,
        }),
        committed: false,
    })?;
    save_identity(&**engine, &identity)?;
    Ok(founded)
}
