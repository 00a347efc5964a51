//! The raft service: what other members ask of this one.

use super::convert::{entry_in, log_id_in, log_id_out, stored_membership_in, vote_in, vote_out};
use super::snapshot_receiver::{ReceivedSnapshot, SnapshotReceiver};
use super::state_machine::SnapshotData;
use super::types::{Raft, Runtime, TypeConfig};
use crate::metrics::Metrics;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryFutureExt as _, TryStreamExt as _};
use kvstore_storage::{Engine, check_state_format};
use openraft::alias::{SnapshotMetaOf, SnapshotOf};
use openraft::async_runtime::WatchReceiver as _;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, StreamAppendError, StreamAppendResult,
    TransferLeaderRequest, VoteRequest, VoteResponse,
};
use prost::Message as _;
use proto::raftpb::raft_server;
use proto::raftpb::{self, append_response};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use support::Random;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

/// Lets raft messages in once the member knows who it is, and only those meant for it.
#[derive(Default)]
pub struct RaftGate {
    inside: OnceLock<(Raft, raftpb::Receiver)>,
    /// When a leader last sent something, or the gate was opened.
    heard: Mutex<Option<Instant>>,
}

impl RaftGate {
    /// Lets messages in for member `member` of `cluster`.
    pub fn open(&self, raft: Raft, cluster: u64, member: u64) {
        self.hear();
        // Opened once: a second time would be a fault of ours, and change nothing.
        let _ = self.inside.set((raft, raftpb::Receiver { cluster, member }));
    }

    /// How long no leader has sent anything.
    pub fn silence(&self) -> Duration {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.map_or(Duration::ZERO, |heard| heard.elapsed())
    }

    fn hear(&self) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Raft, for a message to `to`.
    fn raft(&self, to: Option<raftpb::Receiver>) -> Result<&Raft, Status> {
        let (raft, receiver) = self
            .inside
            .get()
            .ok_or_else(|| Status::unavailable("this member doesn't take part yet"))?;
        let fits = |wanted: u64, is: u64| wanted == 0 || wanted == is;
        let to = to.unwrap_or_default();
        if fits(to.cluster, receiver.cluster) && fits(to.member, receiver.member) {
            return Ok(raft);
        }
        tracing::debug!(
            cluster = format!("{:x}", to.cluster),
            member = format!("{:x}", to.member),
            "a raft message for somebody else"
        );
        Err(Status::unavailable("this is another member"))
    }
}

/// Answers raft messages.
pub struct RaftService {
    gate: Arc<RaftGate>,
    snapshots: SnapshotReceiver,
    random: Random,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
}

impl RaftService {
    /// `stop` ends the streams.
    pub fn new(
        gate: Arc<RaftGate>,
        engine: Arc<dyn Engine>,
        random: Random,
        metrics: Arc<Metrics>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            gate,
            snapshots: SnapshotReceiver::new(engine),
            random,
            metrics,
            stop,
        }
    }

    /// Handlers run in the connection's tasks; openraft draws its seeds from the task it is called in.
    async fn seeded<F: Future>(&self, future: F) -> F::Output {
        Runtime::scope(self.random.u64(), future).await
    }
}

fn fatal(error: impl std::fmt::Display) -> Status {
    Status::unavailable(format!("raft: {error}"))
}

fn vote_request(message: raftpb::VoteRequest) -> VoteRequest<TypeConfig> {
    VoteRequest {
        vote: vote_in(message.vote),
        last_log_id: message.last_log.map(log_id_in),
        leadership_transfer: message.leadership_transfer,
    }
}

fn vote_response(answer: &VoteResponse<TypeConfig>) -> Response<raftpb::VoteResponse> {
    Response::new(raftpb::VoteResponse {
        vote: Some(vote_out(&answer.vote)),
        granted: answer.vote_granted,
        last_log: answer.last_log_id.as_ref().map(log_id_out),
    })
}

fn append_in(metrics: &Metrics, message: raftpb::AppendRequest) -> AppendEntriesRequest<TypeConfig> {
    if let Some(leader) = message.vote.as_ref().and_then(|vote| vote.leader.as_ref()) {
        let peer = metrics.peers.of(leader.node);
        peer.received_bytes.inc_by(message.encoded_len() as u64);
    }
    AppendEntriesRequest {
        vote: vote_in(message.vote),
        prev_log_id: message.previous.map(log_id_in),
        entries: message.entries.into_iter().map(entry_in).collect(),
        leader_commit: message.committed.map(log_id_in),
    }
}

fn stream_append_out(answer: StreamAppendResult<TypeConfig>) -> raftpb::AppendResponse {
    let result = match answer {
        Ok(matching) => append_response::Result::Partial(raftpb::Partial {
            matching: matching.as_ref().map(log_id_out),
        }),
        Err(StreamAppendError::Conflict(_)) => append_response::Result::Conflict(raftpb::Blank {}),
        Err(StreamAppendError::HigherVote(vote)) => append_response::Result::HigherVote(vote_out(&vote)),
    };
    raftpb::AppendResponse { result: Some(result) }
}

#[tonic::async_trait]
impl raft_server::Raft for RaftService {
    async fn append(
        &self,
        request: Request<raftpb::AppendRequest>,
    ) -> Result<Response<raftpb::AppendResponse>, Status> {
        let message = request.into_inner();
        let raft = self.gate.raft(message.to)?;
        let request = append_in(&self.metrics, message);
        let answer = self.seeded(raft.append_entries(request)).await.map_err(fatal)?;
        if !matches!(answer, AppendEntriesResponse::HigherVote(_)) {
            self.gate.hear();
        }
        let result = match answer {
            AppendEntriesResponse::Success => append_response::Result::Success(raftpb::Blank {}),
            AppendEntriesResponse::PartialSuccess(matching) => {
                append_response::Result::Partial(raftpb::Partial {
                    matching: matching.as_ref().map(log_id_out),
                })
            }
            AppendEntriesResponse::Conflict => append_response::Result::Conflict(raftpb::Blank {}),
            AppendEntriesResponse::HigherVote(vote) => append_response::Result::HigherVote(vote_out(&vote)),
        };
        Ok(Response::new(raftpb::AppendResponse { result: Some(result) }))
    }

    type AppendStreamStream = BoxStream<'static, Result<raftpb::AppendResponse, Status>>;

    async fn append_stream(
        &self,
        request: Request<Streaming<raftpb::AppendRequest>>,
    ) -> Result<Response<Self::AppendStreamStream>, Status> {
        let (stop, metrics) = (self.stop.clone(), Arc::clone(&self.metrics));
        let (gate, hearer) = (Arc::clone(&self.gate), Arc::clone(&self.gate));
        // An error is the end: the leader has gone away, or opens another stream.
        let mut messages = request
            .into_inner()
            .take_while(|message| std::future::ready(message.is_ok()))
            .filter_map(|message| std::future::ready(message.ok()))
            .boxed();
        // Who is meant is said in the first message, which the leader sends when it has been let in.
        let answers = async move {
            let Some(first) = messages.next().await else {
                return Ok(futures::stream::empty().boxed());
            };
            let raft = gate.raft(first.to)?.clone();
            let requests = futures::stream::iter([first])
                .chain(messages)
                .map(move |message| append_in(&metrics, message));
            Ok::<_, Status>(raft.stream_append(requests).map_err(fatal).boxed())
        };
        // openraft draws its seeds from the task it is called in.
        let answers = Runtime::scope(self.random.u64(), answers)
            .try_flatten_stream()
            .map_ok(move |answer| {
                if !matches!(answer, Err(StreamAppendError::HigherVote(_))) {
                    hearer.hear();
                }
                stream_append_out(answer)
            })
            // Else it would hold up the end of a member that is told to stop.
            .take_until(stop.cancelled_owned())
            .boxed();
        Ok(Response::new(answers))
    }

    async fn vote(
        &self,
        request: Request<raftpb::VoteRequest>,
    ) -> Result<Response<raftpb::VoteResponse>, Status> {
        let raft = self.gate.raft(request.get_ref().to)?;
        let request = vote_request(request.into_inner());
        let answer = self.seeded(raft.vote(request)).await.map_err(fatal)?;
        Ok(vote_response(&answer))
    }

    async fn pre_vote(
        &self,
        request: Request<raftpb::VoteRequest>,
    ) -> Result<Response<raftpb::VoteResponse>, Status> {
        let raft = self.gate.raft(request.get_ref().to)?;
        let request = vote_request(request.into_inner());
        let answer = self.seeded(raft.pre_vote(request)).await.map_err(fatal)?;
        Ok(vote_response(&answer))
    }

    async fn snapshot(
        &self,
        request: Request<Streaming<raftpb::SnapshotChunk>>,
    ) -> Result<Response<raftpb::SnapshotResponse>, Status> {
        let mut chunks = request.into_inner();
        let first = chunks
            .message()
            .await?
            .ok_or_else(|| Status::invalid_argument("an empty snapshot"))?;
        let raft = self.gate.raft(first.to)?;
        // A long transfer is a sign of life.
        self.gate.hear();
        let format = first.meta.as_ref().map_or(0, |meta| meta.format);
        check_state_format(format).map_err(|error| Status::failed_precondition(error.to_string()))?;
        // A leader of the past must not break off what the present one sends.
        let known = raft.metrics().borrow_watched().vote;
        if vote_in(first.vote) < known {
            return Ok(Response::new(raftpb::SnapshotResponse {
                vote: Some(vote_out(&known)),
            }));
        }
        let leader = first.vote.as_ref().and_then(|vote| vote.leader.as_ref());
        let transfer = leader.map(|leader| self.metrics.peers.of(leader.node).receiving_snapshot());
        let ReceivedSnapshot { vote, meta, state } = self.snapshots.receive(first, chunks).await?;
        if let Some(transfer) = transfer {
            transfer.succeeded();
        }
        let snapshot = SnapshotOf::<TypeConfig, SnapshotData> {
            meta: SnapshotMetaOf::<TypeConfig> {
                last_log_id: meta.last_log.map(log_id_in),
                last_membership: stored_membership_in(meta.membership),
            },
            snapshot: SnapshotData::Received(state),
        };
        let install = raft.install_full_snapshot(vote_in(vote), snapshot);
        let answer = self.seeded(install).await.map_err(fatal)?;
        Ok(Response::new(raftpb::SnapshotResponse {
            vote: Some(vote_out(&answer.vote)),
        }))
    }

    async fn transfer_leader(
        &self,
        request: Request<raftpb::TransferLeaderRequest>,
    ) -> Result<Response<raftpb::TransferLeaderResponse>, Status> {
        let message = request.into_inner();
        let raft = self.gate.raft(message.receiver)?;
        let request =
            TransferLeaderRequest::new(vote_in(message.from), message.to, message.last_log.map(log_id_in));
        let answer = self
            .seeded(raft.handle_transfer_leader(request))
            .await
            .map_err(fatal)?;
        Ok(Response::new(match answer {
            Ok(()) => raftpb::TransferLeaderResponse {
                accepted: true,
                reason: String::new(),
            },
            Err(error) => raftpb::TransferLeaderResponse {
                accepted: false,
                reason: error.to_string(),
            },
        }))
    }
}
