//! What the services ask of raft: propose a command, find a safe place to read, who leads.

mod cluster;
mod forwarded;

pub use cluster::{Progress, Standing};

use crate::forwarder::{Forwarder, replaced};
use crate::local_proposals::{Elsewhere, LocalProposals, leader_of};
use crate::peers::Peers;
use crate::raft::{CommandBytes, PeerNode, Raft, RaftGate, Runtime, TypeConfig};
use crate::status;
use crate::store::{Reply, Store};
use bytes::Bytes;
use forwarded::Forwarded;
use futures::StreamExt as _;
use kvstore_core::{Command, Response};
use openraft::Instant as _;
use openraft::async_runtime::WatchReceiver as _;
use openraft::errors::{ClientWriteError, LinearizableReadError, RaftError};
use openraft::raft::linearizable_read::LinearizerOption;
use openraft::{RaftMetrics, ServerState};
use prost::Message as _;
use proto::etcdserverpb::ResponseHeader;
use proto::raftpb;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::{Random, Sabotage};
use tokio::time::Instant;
use tonic::{Code, Status};

/// How soon a request that finds no leader looks again: well below an election.
const LEADER_RETRY: Duration = Duration::from_millis(10);
/// A follower that lacks no more entries than this has them within some milliseconds.
const CLOSE: u64 = 500;

/// A member that has not answered its leader for so long is not connected.
const SILENCE: Duration = Duration::from_secs(2);

/// The leader as this member sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaderView {
    pub term: u64,
    pub leader: Option<u64>,
    pub is_leader: bool,
    pub last_index: u64,
    pub committed_index: u64,
}

/// A handle on raft; cheap to clone.
#[derive(Clone)]
pub struct Consensus {
    pub id: u64,
    pub cluster_id: u64,
    raft: Raft,
    peers: Peers,
    forwarder: Forwarder,
    proposals: LocalProposals,
    store: Arc<Store>,
    random: Random,
    timeout: Duration,
    pub sabotage: Sabotage,
    lease: Duration,
    touch: Touch,
}

/// How a member knows that it has lost its leader.
#[derive(Clone)]
pub struct Touch {
    /// Through which a leader's messages come.
    pub gate: Arc<RaftGate>,
    /// A leader that isn't heard from for this long, or hears from no quorum, is none any more.
    pub patience: Duration,
}

impl Consensus {
    pub fn new(
        (id, cluster_id): (u64, u64),
        raft: Raft,
        peers: Peers,
        store: Arc<Store>,
        random: Random,
        (timeout, lease): (Duration, Duration),
        touch: Touch,
    ) -> Self {
        Self {
            id,
            cluster_id,
            forwarder: Forwarder::new(raft.clone(), peers.clone(), Arc::clone(&store)),
            proposals: LocalProposals::start(raft.clone(), random.fork()),
            raft,
            peers,
            store,
            random,
            timeout,
            sabotage: Sabotage::NONE,
            lease,
            touch,
        }
    }

    /// With a known bug, in a simulation.
    pub fn with_sabotage(mut self, sabotage: Sabotage) -> Self {
        self.sabotage = sabotage;
        self
    }

    pub fn raft(&self) -> &Raft {
        &self.raft
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    pub fn view(&self) -> LeaderView {
        self.with_metrics(|metrics| LeaderView {
            term: metrics.current_term,
            leader: metrics.current_leader,
            is_leader: metrics.state == ServerState::Leader,
            last_index: metrics.last_log_index.unwrap_or(0),
            committed_index: metrics.local_committed.map_or(0, |id| id.index),
        })
    }

    /// The leader, as long as this member is in touch with it: a follower hears from it, and a leader from a
    /// quorum. Raft itself remembers a lost leader until there is another (etcd forgets it when it calls an
    /// election, and a leader by its `CheckQuorum`).
    pub fn leader_in_touch(&self) -> Option<u64> {
        let Touch { gate, patience } = &self.touch;
        self.with_metrics(|metrics| {
            let in_touch = match metrics.state {
                ServerState::Leader => {
                    let alone = metrics.membership_config.voter_ids().nth(1).is_none();
                    let acknowledged = metrics.last_quorum_acked.as_ref();
                    alone || acknowledged.is_none_or(|at| at.elapsed() <= *patience)
                }
                _ => gate.silence() <= *patience,
            };
            metrics.current_leader.filter(|_| in_touch)
        })
    }

    /// The voters and learners that this member knows of.
    pub fn members(&self) -> BTreeMap<u64, PeerNode> {
        self.with_metrics(|metrics| {
            let nodes = metrics.membership_config.nodes();
            nodes.map(|(id, node)| (*id, node.clone())).collect()
        })
    }

    /// A connection for asking a member what it holds.
    pub fn integrity_of(&self, id: u64) -> Option<IntegrityClient> {
        let node = self.members().remove(&id)?;
        Some(self.peers.integrity(id, &node.peer_urls))
    }

    /// Drops the connection to a member that didn't answer.
    pub fn reconnect(&self, id: u64) {
        self.peers.reconnect(id);
    }

    pub fn is_voter(&self, id: u64) -> bool {
        self.with_metrics(|metrics| metrics.membership_config.voter_ids().any(|voter| voter == id))
    }

    /// The members that raft talks to from here, and whether they answer.
    pub fn peers_heard(&self) -> Vec<(u64, bool)> {
        self.with_metrics(|metrics| match &metrics.heartbeat {
            Some(heard) => {
                let others = heard.iter().filter(|(id, _)| **id != self.id);
                let heard = others.map(|(id, at)| (*id, at.is_some_and(|at| at.elapsed() < SILENCE)));
                heard.collect()
            }
            None => metrics.current_leader.map(|id| (id, true)).into_iter().collect(),
        })
    }

    /// The other voter whose log is longest, of those that still answer: the best one to lead next.
    pub fn next_leader(&self) -> Option<u64> {
        self.with_metrics(|metrics| {
            let (replication, heard) = (metrics.replication.as_ref()?, metrics.heartbeat.as_ref()?);
            let answers = |id: &u64| {
                let at = heard.get(id).and_then(Option::as_ref);
                at.is_some_and(|at| at.elapsed() <= self.touch.patience)
            };
            let voters = metrics.membership_config.voter_ids();
            voters
                .filter(|id| *id != self.id && answers(id))
                .filter_map(|id| Some((replication.get(&id)?.as_ref()?.index, id)))
                .max()
                .map(|(_, id)| id)
        })
    }

    /// Gives leadership to `target` and waits until it has it. Writes are refused from the moment the target is
    /// told until it has the whole log, so that moment waits until it is [`CLOSE`]; not until it is level, which
    /// under load it may never be.
    ///
    /// # Errors
    /// `Unavailable` when it doesn't lead within `patience`.
    pub async fn transfer_leader(&self, target: u64, patience: Duration) -> Result<(), Status> {
        let is_close = || {
            self.with_metrics(|metrics| {
                let replication = metrics.replication.as_ref()?;
                let matching = replication.get(&target)?.as_ref()?.index;
                Some(Some(matching + CLOSE) >= metrics.last_log_index)
            })
        };
        let transfer = async {
            while self.view().is_leader && is_close() != Some(true) {
                tokio::time::sleep(LEADER_RETRY).await;
            }
            let trigger = self.raft.trigger();
            let triggered = self.seeded(trigger.transfer_leader(target)).await;
            triggered.map_err(|_| status::stopped())?;
            while self.view().leader != Some(target) {
                tokio::time::sleep(LEADER_RETRY).await;
            }
            Ok(())
        };
        tokio::time::timeout(patience, transfer)
            .await
            .map_err(|_| status::transfer_timed_out())?
    }

    fn with_metrics<T>(&self, read: impl FnOnce(&RaftMetrics<TypeConfig>) -> T) -> T {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        read(&metrics)
    }

    /// A header of this member; `revision` as the answer has it.
    pub fn header(&self, revision: i64) -> ResponseHeader {
        ResponseHeader {
            cluster_id: self.cluster_id,
            member_id: self.id,
            revision,
            raft_term: self.view().term,
        }
    }

    /// Replicates `command` and gives what it came to, once this member has applied it too.
    ///
    /// # Errors
    /// `Unavailable` when there's no leader in time, or when the outcome can't be known.
    pub async fn propose(&self, command: &Command) -> Result<Reply, Status> {
        let bytes = Bytes::from(command.encode_to_vec());
        let mut proposal = self.store.metrics.state.proposal();
        let begun = Instant::now();
        let lost = AtomicBool::new(false);
        let outcome = async {
            let mut forwarded = None;
            loop {
                let leader = match self.propose_here(bytes.clone()).await {
                    Ok((reply, _)) => return Ok(reply),
                    Err(Elsewhere::Failed(status)) => return Err(status),
                    Err(Elsewhere::Leader(leader)) => leader,
                };
                // While the leader is lost there is nobody to ask: wait for the next, as etcd's raft does.
                if self.leader_in_touch().is_some()
                    && let Some((id, node)) = leader.filter(|(id, _)| *id != self.id)
                {
                    let number = || self.random.u64().max(1);
                    let forwarded =
                        forwarded.get_or_insert_with(|| Forwarded::new(command, &bytes, number(), &lost));
                    if let Some(answer) = self.propose_at((id, &node), forwarded).await? {
                        return Ok(answer);
                    }
                }
                tokio::time::sleep(LEADER_RETRY).await;
            }
        };
        let outcome = match tokio::time::timeout(self.timeout, outcome).await {
            Ok(outcome) => outcome,
            Err(_) => Err(self.proposal_timed_out(lost.load(Ordering::Relaxed))),
        };
        let requests = &self.store.metrics.requests;
        requests.ended(command, outcome.is_ok(), begun.elapsed());
        outcome.inspect(|_| proposal.done())
    }

    /// As [`Consensus::propose`], but only if this member leads.
    pub async fn propose_as_leader(&self, bytes: Bytes) -> Result<(Reply, u64), Status> {
        self.within(async {
            // A leader that has just been elected refuses until its first quorum answer; and one that
            // leads no more says so.
            loop {
                match self.propose_here(bytes.clone()).await {
                    Ok(done) => return Ok(done),
                    Err(Elsewhere::Failed(status)) => return Err(status),
                    Err(Elsewhere::Leader(_)) if !self.view().is_leader => return Err(status::not_leader()),
                    Err(Elsewhere::Leader(_)) => tokio::time::sleep(LEADER_RETRY).await,
                }
            }
        })
        .await
    }

    /// Proposes all of `commands` at once, only if this member leads; gives an answer for each.
    ///
    /// # Errors
    /// `FailedPrecondition`: this member doesn't lead, and nothing was done.
    pub async fn propose_many_as_leader(
        &self,
        commands: Vec<Bytes>,
    ) -> Result<Vec<Result<(Reply, u64), Status>>, Status> {
        self.within(async {
            loop {
                let data = commands.iter().cloned().map(CommandBytes);
                let write = self.raft.client_write_many(data);
                let mut results = self.seeded(write).await.map_err(|_| status::stopped())?;
                let mut answers = Vec::with_capacity(commands.len());
                // All of them are written, or none is.
                let mut written = true;
                while let Some(result) = results.next().await {
                    match result.map_err(|_| status::stopped())? {
                        Ok(done) => answers.push(Ok((done.response, done.log_id.index))),
                        Err(ClientWriteError::ForwardToLeader(_)) => {
                            written = false;
                            break;
                        }
                        Err(_) => answers.push(Err(status::leader_changed())),
                    }
                }
                if written {
                    return Ok(answers);
                }
                // One that has just been elected refuses until its first quorum answer.
                if !self.view().is_leader {
                    return Err(status::not_leader());
                }
                tokio::time::sleep(LEADER_RETRY).await;
            }
        })
        .await
    }

    async fn propose_here(&self, bytes: Bytes) -> Result<(Reply, u64), Elsewhere> {
        self.proposals.propose(bytes).await
    }

    /// Waits until state is applied that is at least as new as now; gives its index.
    ///
    /// # Errors
    /// `Unavailable` when no leader confirms in time.
    pub async fn read_index(&self) -> Result<u64, Status> {
        self.within(async {
            loop {
                let leader = match self.read_index_here().await {
                    Ok(index) => return Ok(index),
                    Err(Elsewhere::Failed(status)) => return Err(status),
                    Err(Elsewhere::Leader(leader)) => leader,
                };
                if let Some((id, node)) = leader.filter(|(id, _)| *id != self.id) {
                    let mut leader = self.peers.leader(id, &node.peer_urls);
                    let asked = leader.read_index(raftpb::ReadIndexRequest {});
                    match self.unless_replaced(id, asked).await {
                        Ok(answer) => {
                            let index = answer.into_inner().index;
                            self.store.applied.wait(index).await;
                            return Ok(index);
                        }
                        // Reads are free to be tried again.
                        Err(status) if status.code() != Code::FailedPrecondition => {
                            self.peers.reconnect(id);
                        }
                        Err(_) => {}
                    }
                }
                tokio::time::sleep(LEADER_RETRY).await;
            }
        })
        .await
    }

    /// As [`Consensus::read_index`], but only if this member leads.
    pub async fn read_index_as_leader(&self) -> Result<u64, Status> {
        match self.read_index_here().await {
            Ok(index) => Ok(index),
            Err(Elsewhere::Failed(status)) => Err(status),
            Err(Elsewhere::Leader(_)) => Err(status::not_leader()),
        }
    }

    async fn read_index_here(&self) -> Result<u64, Elsewhere> {
        if self.sabotage.is("unchecked-lease-read") && self.view().is_leader {
            return Ok(self.store.applied.get());
        }
        // While a quorum has answered not long ago nobody else can have been elected: no need to ask again.
        // Otherwise the next answer of a quorum is waited for (ReadIndex).
        let option = LinearizerOption::new(Some(self.lease), true);
        let linearizer = self.raft.get_read_linearizer(option);
        match self.seeded(linearizer).await {
            Ok(linearizer) => {
                let index = linearizer.read_log_id().index();
                self.store.applied.wait(index).await;
                Ok(index)
            }
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward))) => {
                Err(Elsewhere::Leader(leader_of(forward)))
            }
            Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => {
                Err(Elsewhere::Leader(None))
            }
            Err(RaftError::Fatal(_)) => Err(Elsewhere::Failed(status::stopped())),
        }
    }

    /// Asks the leader, wherever it is: `here` on this member, `there` on another. `FAILED_PRECONDITION`
    /// from either means "not the leader". What is asked may be asked again, when a leader is lost meanwhile.
    pub async fn at_leader<T, F, G>(
        &self,
        here: impl Fn() -> F,
        there: impl Fn(LeaderClient) -> G,
    ) -> Result<T, Status>
    where
        F: Future<Output = Result<T, Status>>,
        G: Future<Output = Result<T, Status>>,
    {
        self.within(async {
            loop {
                let view = self.view();
                let answer = match view.leader {
                    Some(id) if id == self.id => here().await,
                    Some(id) => {
                        let node = self.members().remove(&id).unwrap_or_default();
                        let asked = there(self.peers.leader(id, &node.peer_urls));
                        self.unless_replaced(id, asked).await
                    }
                    None => Err(status::not_leader()),
                };
                match answer {
                    Err(status) if status.code() == Code::FailedPrecondition => {
                        tokio::time::sleep(LEADER_RETRY).await;
                    }
                    Err(status) if status::is_lost_on_the_way(&status) => {
                        if let Some(id) = view.leader {
                            self.peers.reconnect(id);
                        }
                        tokio::time::sleep(LEADER_RETRY).await;
                    }
                    other => return other,
                }
            }
        })
        .await
        .map_err(|status| match self.leader_in_touch() {
            // etcd `server/etcdserver/v3_server.go`, `waitLeader`.
            None if status.code() == Code::Unavailable => status::no_leader(),
            _ => status,
        })
    }

    /// What leader `id` answers; a leader that hangs is not waited for once another member leads.
    async fn unless_replaced<T>(
        &self,
        id: u64,
        asked: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, Status> {
        tokio::select! {
            biased;
            answer = asked => answer,
            () = replaced(&self.raft, id) => Err(status::not_leader()),
        }
    }

    async fn within<T>(&self, work: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
        match tokio::time::timeout(self.timeout, work).await {
            Ok(result) => result,
            Err(_) => Err(status::timed_out()),
        }
    }

    /// Handlers run in the connection's tasks; openraft draws its seeds from the task it is called in.
    async fn seeded<F: Future>(&self, future: F) -> F::Output {
        Runtime::scope(self.random.u64(), future).await
    }
}

pub type IntegrityClient = raftpb::integrity_client::IntegrityClient<tonic::transport::Channel>;
pub type LeaderClient = raftpb::leader_client::LeaderClient<tonic::transport::Channel>;

/// The answer to a command without one of its own.
pub fn done(reply: Reply) -> Result<Response, Status> {
    reply.map_err(status::refused)
}
