//! Proposals of this member's clients that another member decides on.
//!
//! A leader that dies may or may not have written what it was sent. So nothing is sent twice, and nobody is told of
//! a failure before it is known: either this member applies the command, or it applies what a later leader has
//! written, after which the entries of the one before count no more (etcd `server/etcdserver/v3_server.go`,
//! `processInternalRaftRequestOnce`, waits its whole time-out for that).

use super::Consensus;
use crate::forwarder::{Target, Unanswered};
use crate::raft::{PeerNode, log_id_out};
use crate::services::decode_reply;
use crate::status;
use crate::store::Reply;
use bytes::Bytes;
use kvstore_core::Command;
use openraft::async_runtime::WatchReceiver as _;
use prost::Message as _;
use std::sync::atomic::{AtomicBool, Ordering};
use tonic::Status;

/// A command and what this member knows it by.
pub(super) struct Forwarded<'a> {
    command: &'a Command,
    number: u64,
    bytes: Bytes,
    /// Whether an answer to it was lost.
    lost: &'a AtomicBool,
}

impl<'a> Forwarded<'a> {
    /// `bytes` is `command` encoded; it is sent with the number, by which it is known again when it is applied.
    pub(super) fn new(command: &'a Command, bytes: &Bytes, number: u64, lost: &'a AtomicBool) -> Self {
        let numbered = Command {
            id: number,
            ..Command::default()
        };
        // Protobuf reads one message after another as one.
        let bytes = [&bytes[..], &numbered.encode_to_vec()].concat().into();
        Self {
            command,
            number,
            bytes,
            lost,
        }
    }
}

impl Consensus {
    /// Proposes through the leader. `None`: it isn't the leader, and nothing was done.
    ///
    /// # Errors
    /// As the leader says, or when what became of the proposal can't be known any more.
    pub(super) async fn propose_at(
        &self,
        (id, node): (u64, &PeerNode),
        proposal: &Forwarded<'_>,
    ) -> Result<Option<Reply>, Status> {
        let to = Target {
            id,
            urls: node.peer_urls.clone(),
        };
        let term = self.view().term;
        let mut awaited = self.store().awaited.expect(proposal.number);
        let answer = tokio::select! {
            biased;
            reply = awaited.reply() => return Ok(Some(reply)),
            answer = self.forwarder.propose(to, proposal.bytes.clone()) => answer,
        };
        match answer {
            Ok(answer) => decode_reply(proposal.command, answer).map(Some),
            Err(Unanswered::NotLeader) => Ok(None),
            Err(Unanswered::Refused(status)) => Err(status),
            // It may have arrived: asked again, it may be done twice.
            Err(Unanswered::Lost) if self.sabotage.is("repeated-proposal") => Ok(None),
            Err(Unanswered::Lost) => {
                proposal.lost.store(true, Ordering::Relaxed);
                tokio::select! {
                    biased;
                    reply = awaited.reply() => Ok(Some(reply)),
                    end = self.outlived(term) => Err(end),
                }
            }
        }
    }

    /// What to say of a proposal without an answer in time, `lost`: the leader could not be asked (etcd
    /// `server/etcdserver/server.go`, `parseProposeCtxErr`).
    pub(super) fn proposal_timed_out(&self, lost: bool) -> Status {
        match self.leader_in_touch() {
            Some(_) if lost => status::connection_lost(),
            _ => status::timed_out(),
        }
    }

    /// Returns when this member has applied something of a term after `term`; gives what to say then.
    async fn outlived(&self, term: u64) -> Status {
        let mut metrics = self.raft().data_metrics();
        loop {
            let applied = metrics.borrow_watched().last_applied.as_ref().map(log_id_out);
            if applied.is_some_and(|applied| applied.term > term) {
                return status::leader_failed();
            }
            if metrics.changed().await.is_err() {
                return status::stopped();
            }
        }
    }
}
