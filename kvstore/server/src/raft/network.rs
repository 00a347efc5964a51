//! openraft's network: our raft service on the other members.

use super::append_stream::{self, Opened};
use super::convert::{entry_out, log_id_in, log_id_out, vote_in, vote_out};
use super::snapshot_sender::snapshot_chunks;
use super::state_machine::SnapshotData;
use super::types::{PeerNode, TypeConfig};
use crate::metrics::Metrics;
use crate::peers::Peers;
use futures::future::BoxFuture;
use futures::{FutureExt as _, Stream};
use openraft::alias::{SnapshotOf, VoteOf};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::{Backoff, RPCOption, RaftNetworkFactory, RaftNetworkV2, stream_append_sequential};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, RPCTypes};
use prost::Message as _;
use proto::raftpb;
use proto::raftpb::raft_client::RaftClient;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Code, Response, Status};

/// A member that can't be reached is tried again this often: a restarted one is back within a heartbeat
/// or two.
const RETRY: Duration = Duration::from_millis(100);
/// A follower's disk may be slower than a heartbeat: an append with entries waits this long.
pub(super) const APPEND_TIMEOUT: Duration = Duration::from_secs(1);
/// A connection that has answered nothing for this long is given up: one that lost a segment never
/// recovers, and a slow answer is no reason to shake hands again.
const SILENCE: Duration = Duration::from_secs(1);
/// A snapshot may take long; what counts is that it moves. Each chunk is bounded by the connection's
/// keep-alive, the whole by this.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(600);

/// Makes connections for openraft.
pub struct RaftNetwork {
    cluster: u64,
    id: u64,
    peers: Peers,
    metrics: Arc<Metrics>,
}

impl RaftNetwork {
    pub fn new((cluster, id): (u64, u64), peers: Peers, metrics: Arc<Metrics>) -> Self {
        Self {
            cluster,
            id,
            peers,
            metrics,
        }
    }
}

impl RaftNetworkFactory<TypeConfig> for RaftNetwork {
    type Network = Connection;

    async fn new_heartbeat_client(&mut self, target: u64, node: &PeerNode) -> Connection {
        Connection {
            beats: true,
            ..self.new_client(target, node).await
        }
    }

    async fn new_client(&mut self, target: u64, node: &PeerNode) -> Connection {
        self.peers.learn(target, &node.peer_urls);
        let address = self.peers.address(target);
        Connection {
            id: self.id,
            target,
            to: raftpb::Receiver {
                cluster: self.cluster,
                member: target,
            },
            client: self.peers.raft(&address),
            address,
            beats: false,
            answered: Instant::now(),
            last_beat: Instant::now(),
            inactive: false,
            peers: self.peers.clone(),
            metrics: Arc::clone(&self.metrics),
        }
    }
}

/// A connection to one member.
pub struct Connection {
    id: u64,
    target: u64,
    to: raftpb::Receiver,
    address: String,
    client: RaftClient<Channel>,
    /// Only for signs of life: each is a call by itself, which costs less than a stream for each.
    beats: bool,
    /// When the connection last answered, or was made.
    answered: Instant,
    /// When a sign of life was last answered, or the connection was made.
    last_beat: Instant,
    /// No sign of life was answered for a while, which the log has been told.
    inactive: bool,
    peers: Peers,
    metrics: Arc<Metrics>,
}

impl Connection {
    /// Moves on to where the member is now, if that has changed.
    pub(super) fn client(&mut self) -> RaftClient<Channel> {
        let address = self.peers.address(self.target);
        if address != self.address {
            self.client = self.peers.raft(&address);
            self.address = address;
            self.answered = Instant::now();
        }
        self.client.clone()
    }

    /// Bounds a call and tells openraft's kinds of failure apart.
    pub(super) async fn call<T>(
        &mut self,
        action: RPCTypes,
        timeout: Duration,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, RPCError<TypeConfig>> {
        match tokio::time::timeout(timeout, call).await {
            Ok(Ok(response)) => {
                self.answered = Instant::now();
                Ok(response.into_inner())
            }
            Ok(Err(status)) if status.code() == Code::Unavailable => {
                self.peers.failed(self.target, &self.address);
                Err(Unreachable::new(&status).into())
            }
            Ok(Err(status)) => Err(NetworkError::new(&status).into()),
            Err(_) => Err(self.timed_out(action, timeout)),
        }
    }

    /// Nothing was answered within `timeout`.
    pub(super) fn timed_out(&mut self, action: RPCTypes, timeout: Duration) -> RPCError<TypeConfig> {
        if self.answered.elapsed() > SILENCE {
            self.client = self.peers.raft(&self.address);
            self.answered = Instant::now();
        }
        Timeout {
            action,
            id: self.id,
            target: self.target,
            timeout,
        }
        .into()
    }

    pub(super) fn append_out(&self, request: &AppendEntriesRequest<TypeConfig>) -> raftpb::AppendRequest {
        raftpb::AppendRequest {
            vote: Some(vote_out(&request.vote)),
            previous: request.prev_log_id.as_ref().map(log_id_out),
            entries: request.entries.iter().map(entry_out).collect(),
            committed: request.leader_commit.as_ref().map(log_id_out),
            to: Some(self.to),
        }
    }

    /// An append goes out.
    pub(super) fn sends(&self, message: &raftpb::AppendRequest) {
        let peer = self.metrics.peers.of(self.target);
        peer.sent_bytes.inc_by(message.encoded_len() as u64);
    }

    /// An append, or a stream of them, has failed.
    pub(super) fn failed(&self) {
        self.metrics.peers.of(self.target).send_failures.inc();
    }

    /// Tells the log, once each time, that the member has fallen silent or is heard again (etcd
    /// `server/etcdserver/api/rafthttp/peer_status.go`).
    fn note_beat(&mut self, failure: Option<&RPCError<TypeConfig>>) {
        match failure {
            None => {
                self.last_beat = Instant::now();
                if std::mem::take(&mut self.inactive) {
                    tracing::info!("peer-id" = format!("{:x}", self.target), "peer became active");
                }
            }
            Some(error) if !self.inactive && self.last_beat.elapsed() > SILENCE => {
                self.inactive = true;
                tracing::warn!("peer-id" = format!("{:x}", self.target), %error, "peer became inactive");
            }
            Some(_) => {}
        }
    }

    /// Something was answered.
    pub(super) fn heard(&mut self) {
        self.answered = Instant::now();
    }

    async fn ask_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
        pre: bool,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let message = raftpb::VoteRequest {
            vote: Some(vote_out(&request.vote)),
            last_log: request.last_log_id.as_ref().map(log_id_out),
            leadership_transfer: request.leadership_transfer,
            to: Some(self.to),
        };
        let mut client = self.client();
        let call = async move {
            if pre {
                client.pre_vote(message).await
            } else {
                client.vote(message).await
            }
        };
        let answer = self.call(RPCTypes::Vote, option.soft_ttl(), call).await?;
        Ok(VoteResponse {
            vote: vote_in(answer.vote),
            vote_granted: answer.granted,
            last_log_id: answer.last_log.map(log_id_in),
        })
    }
}

pub(super) fn append_in(
    answer: raftpb::AppendResponse,
) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
    use raftpb::append_response::Result as Answer;
    Ok(match answer.result {
        Some(Answer::Success(_)) => AppendEntriesResponse::Success,
        Some(Answer::Partial(partial)) => {
            AppendEntriesResponse::PartialSuccess(partial.matching.map(log_id_in))
        }
        Some(Answer::Conflict(_)) => AppendEntriesResponse::Conflict,
        Some(Answer::HigherVote(vote)) => AppendEntriesResponse::HigherVote(vote_in(Some(vote))),
        None => return Err(NetworkError::new(&Status::internal("append answer without a result")).into()),
    })
}

impl RaftNetworkV2<TypeConfig> for Connection {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        let timeout = if request.entries.is_empty() {
            option.soft_ttl()
        } else {
            APPEND_TIMEOUT
        };
        let message = self.append_out(&request);
        self.sends(&message);
        let asked = Instant::now();
        let mut client = self.client();
        let call = async move { client.append(message).await };
        let answered = self.call(RPCTypes::AppendEntries, timeout, call).await;
        if self.beats {
            self.note_beat(answered.as_ref().err());
        }
        match (&answered, request.entries.is_empty()) {
            (Ok(_), true) => self.metrics.peers.of(self.target).answered(asked.elapsed()),
            (Ok(_), false) => {}
            (Err(_), heartbeat) => {
                self.failed();
                self.metrics.state.heartbeats_failed.inc_by(u64::from(heartbeat));
            }
        }
        append_in(answered?)
    }

    fn stream_append<'s, S>(&'s mut self, input: S, option: RPCOption) -> BoxFuture<'s, Opened<'s>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        if self.beats {
            return stream_append_sequential(self, input, option);
        }
        let answers = append_stream::open(self, input);
        futures::future::ready(Ok(answers)).boxed()
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.ask_vote(request, option, false).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.ask_vote(request, option, true).await
    }

    async fn full_snapshot(
        &mut self,
        vote: VoteOf<TypeConfig>,
        snapshot: SnapshotOf<TypeConfig, SnapshotData>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let SnapshotData::Here(store) = snapshot.snapshot else {
            let reason = Status::internal("a snapshot that isn't installed yet is not passed on");
            return Err(StreamingError::Network(NetworkError::new(&reason)));
        };
        let first = raftpb::SnapshotChunk {
            vote: Some(vote_out(&vote)),
            to: Some(self.to),
            ..raftpb::SnapshotChunk::default()
        };
        let chunks = snapshot_chunks(store, first);
        let mut client = self.client();
        let metrics = Arc::clone(&self.metrics);
        let peer = metrics.peers.of(self.target);
        let sending = peer.sending_snapshot();
        let send = async move { client.snapshot(chunks).await };
        let send = self
            .call(RPCTypes::InstallSnapshot, SNAPSHOT_TIMEOUT, send)
            .fuse();
        let send = std::pin::pin!(send);
        let cancel = std::pin::pin!(cancel);
        tokio::select! {
            biased;
            closed = cancel => Err(StreamingError::Closed(closed)),
            answer = send => {
                let answer = answer?;
                sending.succeeded();
                Ok(SnapshotResponse::new(vote_in(answer.vote)))
            }
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        let message = raftpb::TransferLeaderRequest {
            from: Some(vote_out(request.from_leader())),
            to: *request.to_node_id(),
            last_log: request.last_log_id().map(log_id_out),
            receiver: Some(self.to),
        };
        let mut client = self.client();
        let call = async move { client.transfer_leader(message).await };
        let answer = self
            .call(RPCTypes::TransferLeader, option.soft_ttl(), call)
            .await?;
        if !answer.accepted {
            return Err(NetworkError::new(&Status::failed_precondition(answer.reason)).into());
        }
        Ok(Ok(()))
    }

    fn backoff(&self) -> Option<Backoff> {
        Some(Backoff::new(std::iter::repeat(RETRY)))
    }
}
