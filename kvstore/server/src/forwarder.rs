//! Proposals on their way to the leader, many in one message.
//!
//! Each member that leads or has led has a queue of its own, so that nothing waits behind one that doesn't answer
//! any more.

use crate::batches;
use crate::peers::Peers;
use crate::raft::Raft;
use crate::status;
use crate::store::Store;
use bytes::Bytes;
use openraft::async_runtime::WatchReceiver as _;
use proto::raftpb::{ProposeManyRequest, ProposeResponse};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tonic::{Code, Status};

/// Proposals that wait for a message; more are refused, as for a leader that can't keep up.
const QUEUE: usize = 16 * 1024;
/// A leader that has given its place away still answers what it has written; after this it's not waited for.
const LAST_ANSWERS: Duration = Duration::from_millis(200);

/// Where the leader is thought to be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    pub id: u64,
    pub urls: Vec<String>,
}

/// Why a leader gave no answer.
#[derive(Debug, Clone)]
pub enum Unanswered {
    /// That member doesn't lead, and nothing was done.
    NotLeader,
    /// The leader refuses, and nothing was done.
    Refused(Status),
    /// The command may have been written, or may be yet.
    Lost,
}

type Answer = Result<ProposeResponse, Unanswered>;

struct Proposal {
    command: Bytes,
    answer: oneshot::Sender<Answer>,
}

/// Sends proposals to the leader; cheap to clone.
#[derive(Clone)]
pub struct Forwarder {
    line: Line,
    queues: Arc<Mutex<BTreeMap<Target, mpsc::Sender<Proposal>>>>,
}

impl Forwarder {
    pub fn new(raft: Raft, peers: Peers, store: Arc<Store>) -> Self {
        Self {
            line: Line { raft, peers, store },
            queues: Arc::default(),
        }
    }

    /// Has the leader decide on `command`; returns once this member has applied it too.
    ///
    /// # Errors
    /// See [`Unanswered`].
    pub async fn propose(&self, to: Target, command: Bytes) -> Answer {
        let (answer, answered) = oneshot::channel();
        self.queue(to)
            .try_send(Proposal { command, answer })
            .map_err(|_| Unanswered::Refused(status::too_many_requests()))?;
        answered
            .await
            .map_err(|_| Unanswered::Refused(status::stopped()))?
    }

    fn queue(&self, to: Target) -> mpsc::Sender<Proposal> {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = queues.entry(to).or_insert_with_key(|target| {
            let (queue, proposals) = mpsc::channel(QUEUE);
            // Ends with the last handle on the queues.
            tokio::spawn(self.line.clone().run(target.clone(), proposals));
            queue
        });
        queue.clone()
    }
}

/// What it takes to send.
#[derive(Clone)]
struct Line {
    raft: Raft,
    peers: Peers,
    store: Arc<Store>,
}

impl Line {
    async fn run(self, target: Target, proposals: mpsc::Receiver<Proposal>) {
        let line = Arc::new((self, target));
        batches::run(
            proposals,
            |proposal| proposal.command.len(),
            |batch| {
                let line = Arc::clone(&line);
                async move { line.0.deliver(&line.1, batch).await }
            },
        )
        .await;
    }

    async fn deliver(&self, target: &Target, batch: Vec<Proposal>) {
        let (commands, waiting): (Vec<_>, Vec<_>) = batch
            .into_iter()
            .map(|proposal| (proposal.command, proposal.answer))
            .unzip();
        let mut answers = match self.send(target, commands).await {
            Ok(answers) => Ok(answers.into_iter()),
            Err(unanswered) => Err(unanswered),
        };
        for waiting in waiting {
            let answer = match &mut answers {
                Err(unanswered) => Err(unanswered.clone()),
                Ok(answers) => match answers.next() {
                    None => Err(Unanswered::Refused(Status::internal(
                        "the leader left out an answer",
                    ))),
                    Some(answer) => judge(answer),
                },
            };
            // A client that has gone away needs no answer.
            let _ = waiting.send(answer);
        }
    }

    async fn send(&self, target: &Target, commands: Vec<Bytes>) -> Result<Vec<ProposeResponse>, Unanswered> {
        let mut leader = self.peers.leader(target.id, &target.urls);
        let answer = tokio::select! {
            biased;
            answer = leader.propose_many(ProposeManyRequest { commands }) => answer,
            // Whether they were written before that is unknown.
            () = async {
                replaced(&self.raft, target.id).await;
                tokio::time::sleep(LAST_ANSWERS).await;
            } => Err(status::leader_changed()),
        };
        let answers = match answer {
            Ok(answer) => answer.into_inner().answers,
            Err(status) if status.code() == Code::FailedPrecondition => return Err(Unanswered::NotLeader),
            Err(status) => {
                tracing::debug!(%status, "forwarding proposals");
                self.peers.reconnect(target.id);
                // They may have arrived: whether they count is unknown.
                return Err(Unanswered::Lost);
            }
        };
        // Clients may read from this member next and expect to find their writes.
        if let Some(last) = answers.iter().map(|answer| answer.index).max() {
            self.store.applied.wait(last).await;
        }
        Ok(answers)
    }
}

/// Returns when another member than `id` leads.
pub async fn replaced(raft: &Raft, id: u64) {
    let mut metrics = raft.server_metrics();
    loop {
        let leader = metrics.borrow_watched().current_leader;
        if leader.is_some_and(|leader| leader != id) || metrics.changed().await.is_err() {
            return;
        }
    }
}

/// What the leader says of one command. One that it has written before it was replaced or stopped may still count.
fn judge(answer: ProposeResponse) -> Answer {
    match Code::from_i32(answer.code) {
        Code::Ok => Ok(answer),
        Code::Unavailable => Err(Unanswered::Lost),
        code => Err(Unanswered::Refused(Status::new(code, answer.message))),
    }
}
