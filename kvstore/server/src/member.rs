//! A member: opens its state, joins raft, serves clients and peers until told to stop.

use crate::auth::{AuthError, Settings};
use crate::auto_compaction;
use crate::compactor;
use crate::config::{
    ClientListener, ConnectionLimits, DataDir, ListenerSecurity, MemberConfig, PeerListener,
};
use crate::consensus::{Consensus, Touch};
use crate::corruption::{self, Checker};
use crate::duties;
use crate::gateway::Gateway;
use crate::grpc_server::{self, Endpoint, Router};
use crate::http::{AccessControl, HttpEndpoints};
use crate::late_service::LateService;
use crate::leadership;
use crate::local::Local;
use crate::membership::{
    Changes, Desk, MembershipService, Roster, Rules, force_new_cluster, place_of, take_place, tend,
    watch_removal,
};
use crate::peers::{MAX_PEER_MESSAGE, Peers};
use crate::raft::{
    LogStore, PeerNode, Raft, RaftGate, RaftNetwork, RaftService, Runtime, StateMachine, SyncQueue, node_in,
};
use crate::read_barrier::ReadBarrier;
use crate::services::{
    AuthService, ClusterService, ElectionService, IntegrityService, KvService, LeaderService, LearnerGuard,
    LeaseService, LockService, MaintenanceService, RANGE_PATH, RangeMethod, Shared, WATCH_PATH, WatchMethod,
};
use crate::store::Store;
use futures::future::BoxFuture;
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
use proto::raftpb::members_server::MembersServer;
use proto::raftpb::raft_server::RaftServer;
use proto::raftpb::{Identity, Standing};
use proto::v3electionpb::election_server::ElectionServer;
use proto::v3lockpb::lock_server::LockServer;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use support::{Env, Listener, Security};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Open streams get this long to end after the services have been told to stop.
const DRAIN: Duration = Duration::from_secs(2);

/// How much slower the clock of a member goes that no other can reach.
const ALONE_PACE: u32 = 5;
/// How often members ping each other's idle connections.
const PEER_KEEPALIVE: Duration = Duration::from_secs(2);

/// How many threads serve a member that has a process of its own: half of the processors. The log's sync and
/// RocksDB have theirs, and a second thread that only passes work to and fro costs more than it carries.
pub fn worker_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |processors| (processors.get() / 2).max(1))
}

/// Why a member could not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum MemberError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("{0}")]
    Config(String),
    #[error(transparent)]
    Auth(#[from] AuthError),
    #[error("listening on {address}")]
    Listen { address: String, source: std::io::Error },
    #[error("starting {what}")]
    Start {
        what: &'static str,
        source: std::io::Error,
    },
    #[error("raft: {0}")]
    Raft(String),
    #[error("the member has been permanently removed from the cluster")]
    Removed,
}

/// One member of a store.
pub struct Member {
    config: MemberConfig,
    env: Env,
    store: Arc<Store>,
    desk: Arc<Desk>,
    ready: CancellationToken,
    auth: Arc<Settings>,
}

impl Member {
    /// Opens the state. Nothing is served before [`Member::run`].
    ///
    /// # Errors
    /// When the configuration contradicts itself or the state can't be read.
    pub fn new(config: MemberConfig, env: Env) -> Result<Self, MemberError> {
        let clients = config.all_client_listeners();
        if clients.is_empty() {
            return Err(MemberError::Config("no client listener".to_owned()));
        }
        let secure = clients
            .iter()
            .any(|listener| listener.security != ListenerSecurity::Plain);
        if secure && config.client_tls.is_none() {
            return Err(MemberError::Config(
                "a client listener needs TLS, and there is none".to_owned(),
            ));
        }
        if config.peer_tls.is_none() && config.all_peer_listeners().iter().any(|listener| listener.tls) {
            return Err(MemberError::Config(
                "a peer listener needs TLS, and there is none".to_owned(),
            ));
        }
        let engine: Arc<dyn Engine> = match &config.data_dir {
            DataDir::Directory(path, options) => Arc::new(RocksEngine::open(path, *options)?),
            DataDir::Simulated(disk, latency) => Arc::new(disk.open(*latency)),
        };
        let desk = Desk::open(Arc::clone(&engine), &env.random)?;
        let auth = Settings::new(&config, &env, engine.sync_style())?;
        let store = Arc::new(Store::open(engine, config.auth_token_ttl, env.sabotage)?);
        let identity = desk.identity();
        match identity.standing() {
            Standing::Removed => return Err(MemberError::Removed),
            Standing::Fresh => {
                refuse_orphan(&store)?;
                let (cluster, member) = place_of(&config)?;
                desk.intend(cluster, member);
            }
            Standing::Founder | Standing::Admitted => {
                if config.force_new_cluster {
                    force_new_cluster(store.engine(), identity.member)?;
                }
                refuse_foreign(&config, &store, &identity)?;
            }
        }
        Ok(Self {
            auth: Arc::new(auth),
            store,
            config,
            env,
            desk: Arc::new(desk),
            ready: CancellationToken::new(),
        })
    }

    /// The id under which this member takes part. A fresh folder may turn out to have another one.
    pub fn id(&self) -> u64 {
        self.desk.identity().member
    }

    /// Is cancelled once the member serves as part of a cluster with a leader.
    pub fn ready(&self) -> CancellationToken {
        self.ready.clone()
    }

    /// Serves until `cancel`; then hands leadership over and stops in order. Boxed, so that the machine code of it
    /// all is made in this crate, and not again in every program and test that runs one.
    ///
    /// # Errors
    /// When a listener can't be opened, or the member has to stop because its disk failed.
    pub fn run(self, cancel: CancellationToken) -> BoxFuture<'static, Result<(), MemberError>> {
        let seed = self.env.random.u64();
        Box::pin(Runtime::scope(seed, self.run_seeded(cancel)))
    }

    async fn run_seeded(self, cancel: CancellationToken) -> Result<(), MemberError> {
        if self.config.extensive_metrics {
            self.store.metrics.extend();
        }
        let peers = Peers::new(&self.config, &self.env);
        // Two steps down: first the services and the leader's duties, then raft.
        let services = CancellationToken::new();
        let gate = Arc::new(RaftGate::default());
        let for_peers = ForPeers::default();
        let mut tasks: JoinSet<Result<(), MemberError>> = JoinSet::new();
        for peers in self.config.all_peer_listeners() {
            let listener = self.listen(&peers.address).await?;
            tasks.spawn(self.serve_peers(
                (peers, listener),
                Arc::clone(&gate),
                for_peers.clone(),
                services.clone(),
            ));
        }
        let identity = tokio::select! {
            biased;
            () = cancel.cancelled() => {
                services.cancel();
                tasks.shutdown().await;
                return Ok(());
            }
            identity = self.identify(&peers) => identity?,
        };
        let (cluster, id) = (identity.cluster, identity.member);
        let raft = self.start_raft(&identity, &peers).await?;
        let consensus = Consensus::new(
            (id, cluster),
            raft.clone(),
            peers,
            Arc::clone(&self.store),
            self.env.random.fork(),
            (self.config.request_timeout(), self.config.read_lease()),
            Touch {
                gate: Arc::clone(&gate),
                patience: self.config.election_max * 2,
            },
        )
        .with_sabotage(self.env.sabotage);
        let shared = Shared::new(
            &self.config,
            Arc::clone(&self.store),
            consensus.clone(),
            ReadBarrier::start(consensus.clone(), Arc::clone(&self.store.metrics)),
            Arc::clone(&self.auth),
            self.env.random.fork(),
            services.clone(),
        );
        let rules = Rules {
            strict: self.config.strict_reconfig,
            max_learners: self.config.max_learners,
            health_interval: self.config.health_interval,
        };
        let changes = Changes::new(consensus.clone(), rules, self.env.random.fork());
        self.initialize(&raft, &identity).await?;
        consensus.learn_addresses();
        self.desk.open_changes(changes.clone());
        for_peers.open(&shared);
        gate.open(raft.clone(), cluster, id);
        for clients in self.config.all_client_listeners() {
            let listener = self.listen(&clients.address).await?;
            tasks.spawn(self.serve_clients(
                (clients, listener),
                shared.clone(),
                changes.clone(),
                services.clone(),
            ));
        }
        for metrics in &self.config.metrics_listen {
            let listener = self.listen(&metrics.address).await?;
            let security = Security::from(self.config.client_tls.clone().filter(|_| metrics.tls));
            let limits = self.config.client_limits;
            let router = Router::default().with_http(HttpEndpoints::observed(shared.clone()));
            let stop = services.clone();
            tasks.spawn(async move {
                grpc_server::serve(listener, (Endpoint::Client, security), router, limits, stop).await;
                Ok(())
            });
        }
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
            let (pace, clock) = (self.config.compaction_pace, Arc::clone(&self.env.clock));
            async move { Ok(compactor::run(store, pace, clock, duties).await?) }
        });
        self.keep_in_order(&mut tasks, &shared, &duties);
        tasks.spawn({
            let (changes, duties) = (changes.clone(), duties.clone());
            async move {
                tend(changes, duties).await;
                Ok(())
            }
        });
        tasks.spawn(watch_removal(
            consensus.clone(),
            Arc::clone(&gate),
            Arc::clone(&self.desk),
            self.config.election_max * 2,
            duties.clone(),
        ));
        tasks.spawn({
            let published = duties::publish(
                self.config.clone(),
                id,
                consensus.clone(),
                Arc::clone(&store),
                duties.clone(),
            );
            let name = self.config.name.clone();
            let (barrier, ready) = (shared.barrier.clone(), self.ready.clone());
            async move {
                published.await?;
                tokio::select! {
                    biased;
                    () = duties.cancelled() => {}
                    () = duties::in_step(barrier) => {
                        tracing::info!(name, id = format!("{id:x}"), "ready to serve client requests");
                        ready.cancel();
                    }
                }
                Ok(())
            }
        });
        tasks.spawn(duties::watch_health(raft.clone(), store, services.clone()));
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

    /// The identity in the folder, or the one that a fresh folder gets.
    async fn identify(&self, peers: &Peers) -> Result<Identity, MemberError> {
        let identity = self.desk.identity();
        match identity.standing() {
            Standing::Fresh => take_place(&self.config, peers, &self.desk).await,
            Standing::Founder | Standing::Admitted => Ok(identity),
            Standing::Removed => Err(MemberError::Removed),
        }
    }

    async fn start_raft(&self, identity: &Identity, peers: &Peers) -> Result<Raft, MemberError> {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        // Nobody listens to the heartbeats of a member that no other can reach: it takes its time, and the
        // processor rests.
        let pace = if self.config.all_peer_listeners().is_empty() {
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
        let writes = (metrics.state.wal_bytes.clone(), metrics.state.wal_write.clone());
        Raft::new(
            identity.member,
            Arc::new(config),
            RaftNetwork::new(
                (identity.cluster, identity.member),
                peers.clone(),
                Arc::clone(metrics),
            ),
            LogStore::new(RaftLog::new(engine), syncs, writes).with_sabotage(self.env.sabotage),
            StateMachine::new(Arc::clone(&self.store)),
        )
        .await
        .map_err(|error| MemberError::Raft(error.to_string()))
    }

    /// Every founder starts the cluster with the same members; which one is first doesn't matter.
    async fn initialize(&self, raft: &Raft, identity: &Identity) -> Result<(), MemberError> {
        if identity.standing() != Standing::Founder {
            return Ok(());
        }
        let members: BTreeMap<u64, PeerNode> = identity.initial.iter().cloned().map(node_in).collect();
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
        (clients, listener): (ClientListener, Box<dyn Listener>),
        shared: Shared,
        changes: Changes,
        stop: CancellationToken,
    ) -> impl Future<Output = Result<(), MemberError>> + Send + 'static {
        // Between the two limits the client gets etcd's own error, above it gRPC's.
        let limit = self.config.max_request_bytes + (512 << 10);
        let security = match (clients.security, &self.config.client_tls) {
            (ListenerSecurity::Plain, _) | (_, None) => Security::Plain,
            (ListenerSecurity::Tls, Some(tls)) => Security::Tls(tls.clone()),
            (ListenerSecurity::Either, Some(tls)) => Security::Either(tls.clone()),
        };
        let (limits, slow) = (self.config.client_limits, self.config.slow_request);
        let access = AccessControl {
            origins: self.config.cors.clone(),
            hosts: self.config.host_whitelist.clone(),
            // Where both are served, the stricter rule holds for both.
            tls: clients.security == ListenerSecurity::Tls,
        };
        let gateway = self
            .config
            .enable_grpc_gateway
            .then(|| Arc::new(Gateway::new(limit, limits.streams)));
        async move {
            let (health, health_service) = tonic_health::server::health_reporter();
            health.set_serving::<KvServer<KvService>>().await;
            let http = HttpEndpoints::new(shared.clone(), access, gateway);
            let (metrics, cancel) = (Arc::clone(&shared.store.metrics), shared.cancel.clone());
            let guard = LearnerGuard::new(shared.consensus.clone());
            let router = Router::default()
                .with(KvServer::new(KvService::new(shared.clone())).max_decoding_message_size(limit))
                .with_method(RANGE_PATH, RangeMethod::new(shared.clone(), limit))
                .with_method(WATCH_PATH, WatchMethod::new(shared.clone(), limit))
                .with(LeaseServer::new(LeaseService::new(shared.clone())))
                .with(MaintenanceServer::new(MaintenanceService::new(shared.clone())))
                .with(ClusterServer::new(ClusterService::new(shared.clone(), changes)))
                .with(AuthServer::new(AuthService::new(shared)))
                .with(health_service);
            let inner = Local::inner(router.clone());
            let router = router
                .with(LockServer::new(LockService::new(inner.clone(), cancel.clone())))
                .with(ElectionServer::new(ElectionService::new(inner, cancel)))
                .with_metrics(metrics)
                .with_guard(guard)
                .with_slow(slow)
                .with_http(http)
                .only(clients.serves);
            let secure = !matches!(security, Security::Plain);
            tracing::info!(address = clients.address, secure, "serving client traffic");
            grpc_server::serve(listener, (Endpoint::Client, security), router, limits, stop).await;
            Ok(())
        }
    }

    fn serve_peers(
        &self,
        (peers, listener): (PeerListener, Box<dyn Listener>),
        gate: Arc<RaftGate>,
        late: ForPeers,
        stop: CancellationToken,
    ) -> impl Future<Output = Result<(), MemberError>> + Send + 'static {
        let tls = self.config.peer_tls.as_ref().filter(|_| peers.tls);
        let security = Security::from(tls.map(|tls| tls.server.clone()));
        let limits = ConnectionLimits {
            ping_interval: Some(PEER_KEEPALIVE),
            ..ConnectionLimits::default()
        };
        let raft = RaftService::new(
            gate,
            Arc::clone(self.store.engine()),
            self.env.random.fork(),
            Arc::clone(&self.store.metrics),
            stop.clone(),
        );
        let membership = MembershipService::new(Arc::clone(&self.desk));
        async move {
            let router = Router::default()
                .with(MembersServer::new(membership))
                .with(
                    RaftServer::new(raft)
                        .max_decoding_message_size(MAX_PEER_MESSAGE)
                        .max_encoding_message_size(MAX_PEER_MESSAGE),
                )
                .with(late.leader)
                .with(late.integrity);
            grpc_server::serve(listener, (Endpoint::Peer, security), router, limits, stop).await;
            Ok(())
        }
    }
}

/// What members ask of each other beside raft, once this one takes part.
#[derive(Clone, Default)]
struct ForPeers {
    leader: LateService<LeaderServer<LeaderService>>,
    integrity: LateService<IntegrityServer<IntegrityService>>,
}

impl ForPeers {
    fn open(&self, shared: &Shared) {
        let leader = LeaderServer::new(LeaderService::new(shared.clone()))
            .max_decoding_message_size(MAX_PEER_MESSAGE)
            .max_encoding_message_size(MAX_PEER_MESSAGE);
        self.leader.open(leader);
        let integrity = IntegrityServer::new(IntegrityService::new(shared.clone()));
        self.integrity.open(integrity);
    }
}

/// Refuses a folder with a log but without an identity: nobody could say who voted in it.
fn refuse_orphan(store: &Store) -> Result<(), MemberError> {
    let log = RaftLog::new(Arc::clone(store.engine()));
    if log.vote()?.is_some() || log.last()?.is_some() || log.purged()?.is_some() {
        return Err(MemberError::Config(
            "the data folder holds a raft log and doesn't say whose".to_owned(),
        ));
    }
    Ok(())
}

/// Refuses a folder that is another member's: by its peer URLs, this one is not who the folder says.
fn refuse_foreign(config: &MemberConfig, store: &Store, identity: &Identity) -> Result<(), MemberError> {
    let roster = Roster::read(&*store.view()).map_err(StorageError::from)?;
    let mut urls = if config.peer_advertise.is_empty() {
        let mut initial = config.initial_cluster.iter();
        let myself = initial.find(|peer| peer.name == config.name);
        myself.map(|peer| peer.peer_urls.clone()).unwrap_or_default()
    } else {
        config.peer_advertise.clone()
    };
    urls.sort_unstable();
    let me = identity.member;
    match roster.other_at(&urls, me) {
        Some(id) if !urls.is_empty() => Err(MemberError::Config(format!(
            "the data folder is of member {me:x}; the peer URLs {urls:?} are of member {id:x}"
        ))),
        _ => Ok(()),
    }
}
