//! How a member learns that it isn't one any more.
//!
//! A removed member hears nothing from the leader, and may not have the entry that removed it. So a member
//! that has heard nothing for a while asks the others. Any of them may answer: what they go by is committed.

use super::desk::Desk;
use crate::consensus::Consensus;
use crate::member::MemberError;
use crate::raft::RaftGate;
use futures::future::join_all;
use kvstore_core::is_removed_member;
use kvstore_storage::StorageError;
use proto::raftpb::{DescribeRequest, Standing};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often a member looks whether it has heard from a leader.
const TICK: Duration = Duration::from_millis(250);
/// The others get this long to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Watches until `cancel` that this member is still one.
///
/// # Errors
/// [`MemberError::Removed`] when it isn't: durably so, it won't start again.
pub async fn watch_removal(
    consensus: Consensus,
    gate: Arc<RaftGate>,
    desk: Arc<Desk>,
    silence: Duration,
    cancel: CancellationToken,
) -> Result<(), MemberError> {
    loop {
        tokio::select! {
            biased;
            () = cancel.cancelled() => return Ok(()),
            () = tokio::time::sleep(TICK) => {}
        }
        let told = is_removed_member(&*consensus.store().view(), consensus.id).map_err(StorageError::from)?;
        let unsure = !consensus.view().is_leader && gate.silence() > silence;
        if told || (unsure && ask(&consensus).await) {
            tracing::error!("this member has been permanently removed from the cluster");
            desk.settle(Standing::Removed)?;
            return Err(MemberError::Removed);
        }
    }
}

/// Whether one of the others says so.
async fn ask(consensus: &Consensus) -> bool {
    let others = consensus.members().into_keys().filter(|id| *id != consensus.id);
    let asked = others.map(|id| async move {
        let mut client = consensus.membership_client(id);
        let request = DescribeRequest { from: consensus.id };
        match tokio::time::timeout(PATIENCE, client.describe(request)).await {
            Ok(Ok(answer)) => {
                let answer = answer.into_inner();
                answer.removed && answer.cluster == consensus.cluster_id
            }
            _ => {
                consensus.reconnect(id);
                false
            }
        }
    });
    join_all(asked).await.contains(&true)
}
