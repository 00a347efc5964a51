//! The way back when most members are lost for good: a survivor becomes the only member, with all that it
//! has (etcd `--force-new-cluster`).
//!
//! Its whole log is kept: of an entry that only it holds nobody can say that it wasn't acknowledged.

use crate::applied_state;
use crate::member::MemberError;
use crate::raft::PeerNode;
use crate::raft::{membership_in, node_out};
use kvstore_storage::{Engine, RaftLog, StorageError};
use proto::raftpb::{Entry, LogId, Membership, Voters, entry};
use std::sync::Arc;

/// Ends the log of `member` with a membership of it alone; nothing when that is so already.
///
/// # Errors
/// When the folder holds no member of this id, or the disk fails.
pub fn force_new_cluster(engine: &Arc<dyn Engine>, member: u64) -> Result<(), MemberError> {
    let log = RaftLog::new(Arc::clone(engine));
    let newest = newest_membership(&**engine, &log)?;
    let last = log.last()?.or(log.purged()?).unwrap_or_default();
    let known = membership_in(newest);
    let node: PeerNode = known
        .get_node(&member)
        .cloned()
        .ok_or_else(|| MemberError::Config(format!("the data folder's cluster has no member {member:x}")))?;
    let alone = known.nodes().count() == 1 && known.voter_ids().eq([member]);
    if alone {
        return Ok(());
    }
    tracing::warn!(
        others = known.nodes().count() - 1,
        "forcing a new cluster: all other members are removed"
    );
    let node = PeerNode {
        learner: false,
        ..node
    };
    log.append([Entry {
        id: Some(LogId {
            term: last.term,
            index: last.index + 1,
        }),
        payload: Some(entry::Payload::Membership(Membership {
            configs: vec![Voters { ids: vec![member] }],
            members: vec![node_out(member, &node)],
        })),
    }])?;
    engine.sync()?;
    Ok(())
}

/// The last membership in the log, else the one that is applied.
fn newest_membership(engine: &dyn Engine, log: &RaftLog) -> Result<Membership, StorageError> {
    /// Bytes of the log read at once.
    const PAGE: usize = 4 << 20;
    let applied = applied_state::read(&*engine.view())?;
    let mut newest = applied
        .membership
        .unwrap_or_default()
        .membership
        .unwrap_or_default();
    let mut next = applied.log_id.map_or(0, |id| id.index + 1);
    loop {
        let entries = log.read(next, u64::MAX, PAGE)?;
        let Some(last) = entries.last().and_then(|entry| entry.id) else {
            return Ok(newest);
        };
        next = last.index + 1;
        for entry in entries {
            if let Some(entry::Payload::Membership(membership)) = entry.payload {
                newest = membership;
            }
        }
    }
}
