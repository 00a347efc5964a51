//! What only the leader does: it keeps the leases' clock and revokes those whose time is over.

use crate::consensus::Consensus;
use crate::status;
use crate::store::Store;
use bytes::Bytes;
use kvstore_core::{Command, ReadError, leases};
use openraft::async_runtime::WatchReceiver as _;
use prost::Message as _;
use proto::etcdserverpb::{LeaseRevokeRequest, RequestHeader};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Revocations proposed together (etcd: 1000 a second, 16 at a time).
const REVOKE_BATCH: usize = 64;

/// Follows who leads, and starts and stops the leases' clock, until `cancel`.
pub async fn follow(consensus: Consensus, store: Arc<Store>, extra: Duration, cancel: CancellationToken) {
    let mut metrics = consensus.raft().server_metrics();
    let mut leading_term = None;
    let left = |ttl| {
        if consensus.sabotage.is("lease-cut-by-new-leader") {
            0
        } else {
            ttl
        }
    };
    loop {
        let view = consensus.view();
        let now = view.is_leader.then_some(view.term);
        store.metrics.state.saw_leader(view.leader);
        if now != leading_term {
            if now.is_some() {
                tracing::info!(term = view.term, "this member leads");
                let load = || {
                    let leases = leases(&*store.view())?;
                    Ok::<_, ReadError>(
                        leases
                            .into_iter()
                            .map(|lease| (lease.id, left(lease.ttl)))
                            .collect(),
                    )
                };
                if let Err(error) = store.lessor.promote(extra, load) {
                    tracing::error!(%error, "reading the leases");
                }
            } else {
                store.lessor.demote();
            }
            leading_term = now;
        }
        tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            changed = metrics.changed() => if changed.is_err() { return },
        }
    }
}

/// Revokes expired leases while this member leads, until `cancel`.
pub async fn expire_leases(consensus: Consensus, store: Arc<Store>, cancel: CancellationToken) {
    loop {
        let mut changed = std::pin::pin!(store.lessor.changed());
        changed.as_mut().enable();
        match store.lessor.expired(REVOKE_BATCH) {
            Ok(expired) => {
                store.metrics.state.leases_expired.inc_by(expired.len() as u64);
                let header = store.auth.own_header();
                let revocations = expired
                    .into_iter()
                    .map(|id| revoke(&consensus, id, header.clone()));
                let work = futures::future::join_all(revocations);
                tokio::select! {
                    biased;
                    () = cancel.cancelled() => return,
                    results = work => if results.contains(&false) {
                        // No leader any more, or no quorum: the clock will be stopped or it will pass.
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    },
                }
            }
            Err(until) => {
                // Far away when there is nothing to wait for; a change wakes up.
                let until = until.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
                tokio::select! {
                    biased;
                    () = cancel.cancelled() => return,
                    () = changed => {}
                    () = tokio::time::sleep_until(until) => {}
                }
            }
        }
    }
}

/// Only ever proposed by the leader itself: an ex-leader's clock must not reach the new one.
async fn revoke(consensus: &Consensus, id: i64, header: Option<RequestHeader>) -> bool {
    let command = Command {
        header,
        lease_revoke: Some(LeaseRevokeRequest { id }),
        ..Command::default()
    };
    if consensus.sabotage.is("expiry-by-ex-leader") {
        return consensus.propose(&command).await.is_ok();
    }
    match consensus
        .propose_as_leader(Bytes::from(command.encode_to_vec()))
        .await
    {
        Ok((reply, _)) => {
            if let Err(refusal) = reply {
                tracing::debug!(id, status = %status::refused(refusal), "revoking an expired lease");
            }
            true
        }
        Err(status) => {
            tracing::debug!(id, %status, "revoking an expired lease");
            false
        }
    }
}
