//! A member: opens its state, joins raft, serves clients and peers until told to stop.

use crate::auto_compaction;
use crate::compactor;
use crate::config::{DataDir, MemberConfig};
use crate::consensus::Consensus;
use crate::corruption::{self, Checker};
use crate::duties;
use crate::gateway::Gateway;
use crate::grpc_server::{self, Router};
use crate::http::{AccessControl, HttpEndpoints};
use crate::identity::{cluster_id, member_id};
use crate::leadership;
use crate::local::Local;
use crate::peers::{MAX_PEER_MESSAGE, Peers, address_of};
use crate::raft::{LogStore, PeerNode, Raft, RaftNetwork, RaftService, Runtime, StateMachine, SyncQueue};
use crate::read_barrier::ReadBarrier;
use crate::services::{
    AuthService, ClusterService, ElectionService, IntegrityService, KvService, LeaderService, LeaseService,
    LockService, MaintenanceService, RANGE_PATH, RangeMethod, Shared, WATCH_PATH, WatchMethod,
};
use crate::store::Store;
use kvstore_storage::{Engine, RaftLog, RocksEngine, StorageError};
use openraft::errors::{InitializeError, RaftError};
use openraft::{Config, SnapshotPolicy};
use proto::etcdserverpb::auth_server::AuthServer;
use proto::etcdserverpb::cluster_server::ClusterServer;
use proto::etcdserverpb::kv_server::KvServer;
use proto::etcdserverpb::lease_server::LeaseServer;
use proto::etcdserverpb::maintenance_server::MaintenanceServer;
use proto::raftpb::integrity_server::IntegrityServer;
use proto::raftpb::leader_server::LeaderServer;
use proto::raftpb::raft_server::RaftServer;
use proto::v3electionpb::election_server::ElectionServer;
use proto::v3lockpb::lock_server::LockServer;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use support::{Env, Listener};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Open streams get this long to end after the services have been told to stop.
const DRAIN: Duration = Duration::from_secs(2);

/// How much slower the clock of a cluster of one goes.
const ALONE_PACE: u32 = 5;
/// How often idle connections are pinged.
const CLIENT_KEEPALIVE: Duration = Duration::from_secs(10);
const PEER_KEEPALIVE: Duration = Duration::from_secs(2);

/// Why a member could not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum MemberError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("{0}")]
    Config(String),
    #[error("listening on {address}")]
    Listen { address: String, source: std::io::Error },
    #[error("starting {what}")]
    Start {
        what: &'static str,
        source: std::io::Error,
    },
    #[error("raft: {0}")]
    Raft(String),
}

/// One member of a store.
pub struct Member {
    config: MemberConfig,
    env: Env,
    store: Arc<Store>,
    id: u64,
}

impl Member {
    /// Opens the state. Nothing is served before [`Member::run`].
    ///
    /// # Errors
    /// When the configuration contradicts itself or the state can't be read.
    pub fn new(config: MemberConfig, env: Env) -> Result<Self, MemberError> {
        if !config.initial_cluster.iter().any(|peer| peer.name == config.name) {
            return Err(MemberError::Config(format!(
                "the initial cluster doesn't name this member, {:?}",
                config.name
            )));
        }
        if config.initial_cluster.len() > 1 && config.peer_listen.is_none() {
            return Err(MemberError::Config(
                "a cluster of several members needs a peer listener".to_owned(),
            ));
        }
        if config.client_listen.is_empty() {
            return Err(MemberError::Config("no client listener".to_owned()));
        }
        let engine: Arc<dyn Engine> = match &config.data_dir {
            DataDir::Directory(path, options) => Arc::new(RocksEngine::open(path, *options)?),
            DataDir::Simulated(disk, latency) => Arc::new(disk.open(*latency)),
        };
        let id = config
            .initial_cluster
            .iter()
            .find(|peer| peer.name == config.name)
            .map_or(0, |peer| member_id(&config.cluster_token, peer));
        Ok(Self {
            store: Arc::new(Store::open(engine)?),
            config,
            env,
            id,
        })
    }

    pub fn id(&self) -> u64 {
        self.id
    }

    /// Serves until `cancel`; then hands leadership over and stops in order.
    ///
    /// # Errors
    /// When a listener can't be opened, or the member has to stop because its disk failed.
    pub async fn run(self, cancel: CancellationToken) -> Result<(), MemberError> {
        let seed = self.env.random.u64();
        Runtime::scope(seed, self.run_seeded(cancel)).await
    }

    async fn run_seeded(self, cancel: CancellationToken) -> Result<(), MemberError> {
        let peers = Peers::new(&self.config, &self.env);
        let raft = self.start_raft(&peers).await?;
        let consensus = Consensus::new(
            (
                self.id,
                cluster_id(&self.config.cluster_token, &self.config.initial_cluster),
            ),
            raft.clone(),
            peers,
            Arc::clone(&self.store),
            self.env.random.fork(),
            self.config.request_timeout(),
        );
        // Two steps down: first the services and the leader's duties, then raft.
        let services = CancellationToken::new();
        let shared = Shared::new(
            &self.config,
            Arc::clone(&self.store),
            consensus.clone(),
            ReadBarrier::start(consensus.clone(), Arc::clone(&self.store.metrics)),
            self.env.random.fork(),
            services.clone(),
        );
        let mut tasks: JoinSet<Result<(), MemberError>> = JoinSet::new();
        if let Some(address) = &self.config.peer_listen {
            let listener = self.listen(address).await?;
            tasks.spawn(self.serve_peers(listener, raft.clone(), shared.clone(), services.clone()));
        }
        for address in &self.config.client_listen {
            let listener = self.listen(address).await?;
            tasks.spawn(self.serve_clients(listener, shared.clone(), services.clone()));
        }
        for metrics in &self.config.metrics_listen {
            let listener = self.listen(&metrics.address).await?;
            let tls = self.config.client_tls.clone().filter(|_| metrics.tls);
            let router = Router::default().with_http(HttpEndpoints::observed(shared.clone()));
            let stop = services.clone();
            tasks.spawn(async move {
                grpc_server::serve(listener, tls, router, CLIENT_KEEPALIVE, stop).await;
                Ok(())
            });
        }
        self.initialize(&raft).await?;
        // Who is alone need not wait to hear of another leader.
        if consensus.members().len() == 1 && !consensus.view().is_leader {
            raft.trigger()
                .elect(true)
                .await
                .map_err(|error| MemberError::Raft(error.to_string()))?;
        }
        let duties = services.clone();
        let (store, extra) = (Arc::clone(&self.store), self.config.election_max);
        tasks.spawn({
            let (consensus, store, duties) = (consensus.clone(), Arc::clone(&store), duties.clone());
            async move {
                leadership::follow(consensus, store, extra, duties).await;
                Ok(())
            }
        });
        tasks.spawn({
            let (consensus, store, duties) = (consensus.clone(), Arc::clone(&store), duties.clone());
            async move {
                leadership::expire_leases(consensus, store, duties).await;
                Ok(())
            }
        });
        tasks.spawn({
            let (store, duties) = (Arc::clone(&store), duties.clone());
            let pace = self.config.compaction_pace;
            async move { Ok(compactor::run(store, pace, duties).await?) }
        });
        self.keep_in_order(&mut tasks, &shared, &duties);
        tasks.spawn(duties::publish(
            self.config.clone(),
            self.id,
            consensus.clone(),
            Arc::clone(&store),
            duties,
        ));
        tasks.spawn(duties::watch_health(raft.clone(), store, services.clone()));
        tracing::info!(
            name = self.config.name,
            id = format!("{:x}", self.id),
            "ready to serve client requests"
        );
        let outcome = loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => break Ok(()),
                finished = tasks.join_next() => match finished {
                    // A duty that has ended in peace, like publishing.
                    Some(Ok(Ok(()))) => {}
                    Some(Ok(Err(error))) => break Err(error),
                    Some(Err(error)) => break Err(MemberError::Raft(error.to_string())),
                    None => break Ok(()),
                },
            }
        };
        if outcome.is_ok() {
            duties::hand_over(&consensus).await;
        }
        services.cancel();
        let drained = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, drained).await.is_err() {
            tasks.shutdown().await;
        }
        if let Err(error) = raft.shutdown().await {
            tracing::warn!(%error, "raft did not stop in order");
        }
        // Nothing depends on it, but a clean stop leaves nothing to replay.
        if outcome.is_ok() {
            self.store.engine().sync()?;
        }
        outcome
    }

    /// What keeps the store in order beside serving: quota, compaction, comparing with the others.
    fn keep_in_order(
        &self,
        tasks: &mut JoinSet<Result<(), MemberError>>,
        shared: &Shared,
        duties: &CancellationToken,
    ) {
        let checker = Checker {
            options: self.config.corrupt_check,
            consensus: shared.consensus.clone(),
            store: Arc::clone(&shared.store),
            soon: Arc::clone(&shared.check_soon),
        };
        let (consensus, store) = (shared.consensus.clone(), Arc::clone(&shared.store));
        let mut spawn = |duty: Pin<Box<dyn Future<Output = ()> + Send>>| {
            tasks.spawn(async move {
                duty.await;
                Ok(())
            });
        };
        spawn(Box::pin(shared.quota.clone().watch(duties.clone())));
        spawn(Box::pin(auto_compaction::run(
            self.config.auto_compaction,
            consensus.clone(),
            Arc::clone(&store),
            duties.clone(),
        )));
        spawn(Box::pin(corruption::ask_for_check(
            self.config.corrupt_check,
            consensus.clone(),
            Arc::clone(&shared.check_soon),
            duties.clone(),
        )));
        spawn(Box::pin(checker.run(duties.clone())));
        spawn(Box::pin(corruption::step_aside(consensus, store, duties.clone())));
    }

    async fn start_raft(&self, peers: &Peers) -> Result<Raft, MemberError> {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        // Nobody listens to the heartbeats of a cluster of one: it takes its time, and the processor rests.
        let pace = if self.config.initial_cluster.len() == 1 {
            ALONE_PACE
        } else {
            1
        };
        let config = Config {
            cluster_name: self.config.cluster_token.clone(),
            heartbeat_interval: millis(self.config.heartbeat * pace),
            election_timeout_min: millis(self.config.election_min * pace),
            election_timeout_max: millis(self.config.election_max * pace),
            install_snapshot_timeout: 60_000,
            snapshot_policy: SnapshotPolicy::LogsSinceLast(self.config.snapshot_entries),
            max_in_snapshot_log_to_keep: self.config.snapshot_entries,
            replication_lag_threshold: self.config.snapshot_entries * 2,
            purge_batch_size: 256,
            enable_pre_vote: Some(true),
            // Who led before a restart doesn't know what it had committed: as a leader again it would answer
            // reads from before writes that were acknowledged. An election finds out.
            enable_leader_restore: Some(false),
            ..Config::default()
        };
        let config = config
            .validate()
            .map_err(|error| MemberError::Config(error.to_string()))?;
        let engine = Arc::clone(self.store.engine());
        let metrics = &self.store.metrics;
        let syncs =
            SyncQueue::start(Arc::clone(&engine), metrics.state.wal_fsync.clone()).map_err(|source| {
                MemberError::Start {
                    what: "the log's sync thread",
                    source,
                }
            })?;
        Raft::new(
            self.id,
            Arc::new(config),
            RaftNetwork::new(self.id, peers.clone(), Arc::clone(metrics)),
            LogStore::new(RaftLog::new(engine), syncs, metrics.state.wal_bytes.clone()),
            StateMachine::new(Arc::clone(&self.store)),
        )
        .await
        .map_err(|error| MemberError::Raft(error.to_string()))
    }

    /// Every member of a new cluster starts it with the same members; which one is first doesn't matter.
    async fn initialize(&self, raft: &Raft) -> Result<(), MemberError> {
        let members: BTreeMap<u64, PeerNode> = self
            .config
            .initial_cluster
            .iter()
            .map(|peer| {
                let address = peer.peer_urls.first().map_or("", |url| address_of(url));
                let node = PeerNode {
                    name: peer.name.clone(),
                    peer_address: address.to_owned(),
                };
                (member_id(&self.config.cluster_token, peer), node)
            })
            .collect();
        if members.len() < self.config.initial_cluster.len() {
            return Err(MemberError::Config(
                "two members have the same peer URLs".to_owned(),
            ));
        }
        match raft.initialize(members).await {
            // Not allowed: there is a log already, from this boot's peers or from an earlier boot.
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
            Err(error) => Err(MemberError::Raft(error.to_string())),
        }
    }

    async fn listen(&self, address: &str) -> Result<Box<dyn Listener>, MemberError> {
        self.env
            .net
            .listen(address)
            .await
            .map_err(|source| MemberError::Listen {
                address: address.to_owned(),
                source,
            })
    }

    fn serve_clients(
        &self,
        listener: Box<dyn Listener>,
        shared: Shared,
        stop: CancellationToken,
    ) -> impl Future<Output = Result<(), MemberError>> + Send + 'static {
        // Between the two limits the client gets etcd's own error, above it gRPC's.
        let limit = self.config.max_request_bytes + (512 << 10);
        let scheme = if self.config.peer_tls.is_some() {
            "https"
        } else {
            "http"
        };
        let tls = self.config.client_tls.clone();
        let access = AccessControl {
            origins: self.config.cors.clone(),
            hosts: self.config.host_whitelist.clone(),
            tls: tls.is_some(),
        };
        let gateway = self
            .config
            .enable_grpc_gateway
            .then(|| Arc::new(Gateway::new(limit)));
        async move {
            let (health, health_service) = tonic_health::server::health_reporter();
            health.set_serving::<KvServer<KvService>>().await;
            let http = HttpEndpoints::new(shared.clone(), access, gateway);
            let (metrics, cancel) = (Arc::clone(&shared.store.metrics), shared.cancel.clone());
            let router = Router::default()
                .with(KvServer::new(KvService::new(shared.clone())).max_decoding_message_size(limit))
                .with_method(RANGE_PATH, RangeMethod::new(shared.clone(), limit))
                .with_method(WATCH_PATH, WatchMethod::new(shared.clone(), limit))
                .with(LeaseServer::new(LeaseService::new(shared.clone())))
                .with(MaintenanceServer::new(MaintenanceService::new(shared.clone())))
                .with(ClusterServer::new(ClusterService::new(shared.clone(), scheme)))
                .with(AuthServer::new(AuthService::new(shared)))
                .with(health_service);
            let inner = Local::inner(router.clone());
            let router = router
                .with(LockServer::new(LockService::new(inner.clone(), cancel.clone())))
                .with(ElectionServer::new(ElectionService::new(inner, cancel)))
                .with_metrics(metrics)
                .with_http(http);
            grpc_server::serve(listener, tls, router, CLIENT_KEEPALIVE, stop).await;
            Ok(())
        }
    }

    fn serve_peers(
        &self,
        listener: Box<dyn Listener>,
        raft: Raft,
        shared: Shared,
        stop: CancellationToken,
    ) -> impl Future<Output = Result<(), MemberError>> + Send + 'static {
        let tls = self.config.peer_tls.as_ref().map(|tls| tls.server.clone());
        let raft = RaftService::new(
            raft,
            Arc::clone(self.store.engine()),
            self.env.random.fork(),
            Arc::clone(&self.store.metrics),
        );
        async move {
            let router = Router::default()
                .with(
                    RaftServer::new(raft)
                        .max_decoding_message_size(MAX_PEER_MESSAGE)
                        .max_encoding_message_size(MAX_PEER_MESSAGE),
                )
                .with(
                    LeaderServer::new(LeaderService::new(shared.clone()))
                        .max_decoding_message_size(MAX_PEER_MESSAGE)
                        .max_encoding_message_size(MAX_PEER_MESSAGE),
                )
                .with(IntegrityServer::new(IntegrityService::new(shared)));
            grpc_server::serve(listener, tls, router, PEER_KEEPALIVE, stop).await;
            Ok(())
        }
    }
}
