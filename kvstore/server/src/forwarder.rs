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

struct Proposal {
    command: Bytes,
    answer: oneshot::Sender<Result<ProposeResponse, Status>>,
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
    /// `FailedPrecondition`: that member doesn't lead, and nothing was done. Any other: as the leader says, or it
    /// is not known what became of it.
    pub async fn propose(&self, to: Target, command: Bytes) -> Result<ProposeResponse, Status> {
        let (answer, answered) = oneshot::channel();
        self.queue(to)
            .try_send(Proposal { command, answer })
            .map_err(|_| status::too_many_requests())?;
        answered.await.map_err(|_| status::stopped())?
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
            Err(status) => Err(status),
        };
        for waiting in waiting {
            let answer = match &mut answers {
                Err(status) => Err(status.clone()),
                Ok(answers) => match answers.next() {
                    None => Err(Status::internal("the leader left out an answer")),
                    Some(answer) if answer.code != 0 => {
                        Err(Status::new(Code::from_i32(answer.code), answer.message))
                    }
                    Some(answer) => Ok(answer),
                },
            };
            // A client that has gone away needs no answer.
            let _ = waiting.send(answer);
        }
    }

    async fn send(&self, target: &Target, commands: Vec<Bytes>) -> Result<Vec<ProposeResponse>, Status> {
        let mut leader = self.peers.leader(target.id, &target.urls);
        let answer = tokio::select! {
            biased;
            answer = leader.propose_many(ProposeManyRequest { commands }) => answer,
            // Whether they were written before that is unknown.
            () = async {
                self.replaced(target.id).await;
                tokio::time::sleep(LAST_ANSWERS).await;
            } => Err(status::leader_changed()),
        };
        let answers = match answer {
            Ok(answer) => answer.into_inner().answers,
            Err(status) if status.code() == Code::FailedPrecondition => return Err(status),
            Err(status) => {
                tracing::debug!(%status, "forwarding proposals");
                self.peers.reconnect(target.id);
                // They may have arrived: whether they count is unknown.
                return Err(status::connection_lost());
            }
        };
        // Clients may read from this member next and expect to find their writes.
        if let Some(last) = answers.iter().map(|answer| answer.index).max() {
            self.store.applied.wait(last).await;
        }
        Ok(answers)
    }

    /// Returns when another member leads.
    async fn replaced(&self, id: u64) {
        let mut metrics = self.raft.server_metrics();
        loop {
            let leader = metrics.borrow_watched().current_leader;
            if leader.is_some_and(|leader| leader != id) || metrics.changed().await.is_err() {
                return;
            }
        }
    }
}
