//! Proposals of this member's own clients while it leads: many become one write of the log.

use crate::batches;
use crate::raft::{CommandBytes, PeerNode, Raft, Runtime, TypeConfig};
use crate::status;
use crate::store::Reply;
use bytes::Bytes;
use futures::StreamExt as _;
use openraft::errors::{ClientWriteError, ForwardToLeader};
use support::Random;
use tokio::sync::{mpsc, oneshot};
use tonic::Status;

/// Proposals that wait for a batch; more are refused, as they can't be worked off in time.
const QUEUE: usize = 16 * 1024;

/// Why a proposal was not decided on here.
pub enum Elsewhere {
    /// By this member, if known. Nothing was done.
    Leader(Option<(u64, PeerNode)>),
    Failed(Status),
}

type Answer = Result<(Reply, u64), Elsewhere>;

struct Proposal {
    command: Bytes,
    answer: oneshot::Sender<Answer>,
}

/// Proposes to this member's own raft; cheap to clone.
#[derive(Clone)]
pub struct LocalProposals {
    queue: mpsc::Sender<Proposal>,
}

impl LocalProposals {
    /// Runs until all its handles are dropped.
    pub fn start(raft: Raft, random: Random) -> Self {
        let (queue, proposals) = mpsc::channel(QUEUE);
        tokio::spawn(batches::run(
            proposals,
            |proposal: &Proposal| proposal.command.len(),
            move |batch| {
                let write = write(raft.clone(), batch);
                // openraft draws its seeds from the task it is called in.
                Runtime::scope(random.u64(), write)
            },
        ));
        Self { queue }
    }

    /// Replicates `command`; gives what it came to, and its index.
    ///
    /// # Errors
    /// When this member doesn't lead, or what became of it is not known.
    pub async fn propose(&self, command: Bytes) -> Answer {
        let (answer, answered) = oneshot::channel();
        self.queue
            .try_send(Proposal { command, answer })
            .map_err(|_| Elsewhere::Failed(status::too_many_requests()))?;
        answered.await.map_err(|_| Elsewhere::Failed(status::stopped()))?
    }
}

async fn write(raft: Raft, batch: Vec<Proposal>) {
    let (commands, waiting): (Vec<_>, Vec<_>) = batch
        .into_iter()
        .map(|proposal| (CommandBytes(proposal.command), proposal.answer))
        .unzip();
    let mut results = raft.client_write_many(commands).await.ok();
    for waiting in waiting {
        let result = match &mut results {
            Some(results) => results.next().await,
            None => None,
        };
        let answer = match result {
            Some(Ok(Ok(done))) => Ok((done.response, done.log_id.index)),
            Some(Ok(Err(ClientWriteError::ForwardToLeader(forward)))) => {
                Err(Elsewhere::Leader(leader_of(forward)))
            }
            // It may still be committed by the next leader: not to be repeated.
            Some(Ok(Err(_))) => Err(Elsewhere::Failed(status::leader_changed())),
            Some(Err(_)) | None => Err(Elsewhere::Failed(status::stopped())),
        };
        // A client that has gone away needs no answer.
        let _ = waiting.send(answer);
    }
}

/// Who leads, as far as raft knows.
pub fn leader_of(forward: ForwardToLeader<TypeConfig>) -> Option<(u64, PeerNode)> {
    Some((forward.leader_id?, forward.leader_node.unwrap_or_default()))
}
