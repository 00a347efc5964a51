//! Proposals of this member's own clients while it leads: many become one write of the log.

use crate::batches;
use crate::raft::{CommandBytes, PeerNode, Raft, Runtime, TypeConfig};
use crate::status;
use crate::store::Reply;
use bytes::Bytes;
use futures::stream::{self, Stream, StreamExt as _};
use openraft::errors::{ClientWriteError, Fatal, ForwardToLeader};
use openraft::raft::WriteResult;
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
    let results = raft.client_write_many(commands).await.ok();
    answer_in_turn(stream::iter(results).flatten().map(answer_of), waiting).await;
}

fn answer_of(result: Result<WriteResult<TypeConfig>, Fatal<TypeConfig>>) -> Answer {
    match result {
        Ok(Ok(done)) => Ok((done.response, done.log_id.index)),
        Ok(Err(ClientWriteError::ForwardToLeader(forward))) => Err(Elsewhere::Leader(leader_of(forward))),
        // It may still be committed by the next leader: not to be repeated.
        Ok(Err(_)) => Err(Elsewhere::Failed(status::leader_changed())),
        Err(_) => Err(Elsewhere::Failed(status::stopped())),
    }
}

/// A raft that stops, as it does when the disk is full, answers once more, and no more for all who still wait.
async fn answer_in_turn(answers: impl Stream<Item = Answer>, waiting: Vec<oneshot::Sender<Answer>>) {
    let mut answers = std::pin::pin!(answers.fuse());
    for waiting in waiting {
        let answer = answers.next().await;
        // A client that has gone away needs no answer.
        let _ = waiting.send(answer.unwrap_or_else(|| Err(Elsewhere::Failed(status::stopped()))));
    }
}

/// Who leads, as far as raft knows.
pub fn leader_of(forward: ForwardToLeader<TypeConfig>) -> Option<(u64, PeerNode)> {
    Some((forward.leader_id?, forward.leader_node.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::{Answer, Elsewhere, answer_in_turn};
    use crate::status;
    use futures::stream;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn who_waits_behind_the_last_answer_of_a_raft_that_stops_is_told_so() {
        // Like openraft's: not to be asked again after its end.
        let last = stream::unfold(Some(()), |first| async move {
            first.map(|()| (Err(Elsewhere::Failed(status::leader_changed())), None))
        });
        let (waiting, answers): (Vec<_>, Vec<_>) = (0..4).map(|_| oneshot::channel::<Answer>()).unzip();
        answer_in_turn(last, waiting).await;
        let mut texts = Vec::new();
        for answer in answers {
            match answer.await.expect("an answer") {
                Err(Elsewhere::Failed(status)) => texts.push(status.message().to_owned()),
                _ => texts.push("done".to_owned()),
            }
        }
        let stopped = status::stopped().message().to_owned();
        let first = status::leader_changed().message().to_owned();
        assert_eq!(texts, [first, stopped.clone(), stopped.clone(), stopped]);
    }
}
