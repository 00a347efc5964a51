//! What a member does beside serving: it makes itself known, watches over raft, gives leadership away.

use crate::config::MemberConfig;
use crate::consensus::{Consensus, done};
use crate::member::MemberError;
use crate::raft::Raft;
use crate::read_barrier::ReadBarrier;
use crate::store::Store;
use kvstore_core::{Command, member_attributes};
use kvstore_storage::StorageError;
use openraft::async_runtime::WatchReceiver as _;
use proto::membershippb::{Attributes, ClusterMemberAttrSetRequest};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How soon a disk that failed, or a raft that stopped, ends the member. Raft's metrics change with every write: who
/// followed them would be woken by each.
const HEALTH_INTERVAL: Duration = Duration::from_millis(250);
/// A leader that is told to stop waits this long for another to take over.
const HANDOVER: Duration = Duration::from_secs(2);

/// How soon a member looks again whether it has its vote.
const PLACE_RETRY: Duration = Duration::from_millis(20);

/// Tells the cluster this member's name and client addresses, if it doesn't know them.
pub async fn publish(
    config: MemberConfig,
    id: u64,
    consensus: Consensus,
    store: Arc<Store>,
    cancel: CancellationToken,
) -> Result<(), MemberError> {
    let attributes = Attributes {
        name: config.name,
        client_urls: config.client_advertise,
    };
    let known = member_attributes(&*store.view()).map_err(StorageError::from)?;
    if known.contains(&(id, attributes.clone())) {
        return Ok(());
    }
    let command = Command {
        cluster_member_attr_set: Some(ClusterMemberAttrSetRequest {
            member_id: id,
            member_attributes: Some(attributes),
        }),
        ..Command::default()
    };
    // Who shows as started has its vote, unless it is to have none: an operator may count on it.
    while !consensus.is_voter(id) && !consensus.is_learner(id) {
        tokio::select! {
            biased;
            () = cancel.cancelled() => return Ok(()),
            () = tokio::time::sleep(PLACE_RETRY) => {}
        }
    }
    loop {
        let proposed = tokio::select! {
            biased;
            () = cancel.cancelled() => return Ok(()),
            proposed = consensus.propose(&command) => proposed,
        };
        match proposed.and_then(done) {
            Ok(_) => return Ok(()),
            Err(status) => tracing::debug!(%status, "publishing this member"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Waits until this member has confirmed with a leader that it knows everything committed.
pub async fn in_step(barrier: ReadBarrier) {
    while barrier.wait().await.is_err() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Ends with an error when the disk has failed, or raft has stopped by itself.
pub async fn watch_health(
    raft: Raft,
    store: Arc<Store>,
    cancel: CancellationToken,
) -> Result<(), MemberError> {
    let metrics = raft.metrics();
    loop {
        if let Some(failure) = store.engine().failure() {
            return Err(failure.into());
        }
        let state = metrics.borrow_watched().running_state.clone();
        if let Err(fatal) = state {
            return Err(MemberError::Raft(fatal.to_string()));
        }
        tokio::select! {
            biased;
            () = cancel.cancelled() => return Ok(()),
            () = tokio::time::sleep(HEALTH_INTERVAL) => {}
        }
    }
}

/// A leader gives its place away before it stops: the others need not wait for an election.
pub async fn hand_over(consensus: &Consensus) {
    let view = consensus.view();
    let Some(next) = consensus.next_leader().filter(|_| view.is_leader) else {
        return;
    };
    if let Err(status) = consensus.transfer_leader(next, HANDOVER).await {
        tracing::warn!(%status, "no other member took over");
    }
}
