//! Members that keep their addresses whatever happens to them, and clients that go on.

use crate::harness::{Node, PATIENCE, channel, get_prefix, kv, put_soon, until};
use kvstore_server::{ClusterPeer, DataDir, InitialState, MemberConfig};
use kvstore_storage::MemoryDisk;
use proto::etcdserverpb::cluster_client::ClusterClient;
use proto::etcdserverpb::maintenance_client::MaintenanceClient;
use proto::etcdserverpb::{
    self as etcd, HashKvRequest, MemberAddRequest, MemberListRequest, MemberPromoteRequest,
    MemberRemoveRequest, PutRequest, StatusRequest,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use test_ports::free_address;
use tonic::transport::Channel;
use tonic::{Code, Status};

/// A place for a member: its addresses stay, its disk may be lost.
pub struct Seat {
    pub peer: ClusterPeer,
    pub config: MemberConfig,
    pub disk: MemoryDisk,
    pub node: Option<Node>,
}

impl Seat {
    pub fn new(name: &str) -> Self {
        let peer_address = free_address();
        let peer = ClusterPeer::new(name, format!("http://{peer_address}"));
        let disk = MemoryDisk::new();
        let data = DataDir::Simulated(disk.clone(), Duration::ZERO);
        let config = MemberConfig {
            peer_listen: Some(peer_address),
            initial_cluster: vec![peer.clone()],
            ..MemberConfig::single(name, data, &free_address())
        };
        Self {
            peer,
            config,
            disk,
            node: None,
        }
    }

    pub fn address(&self) -> &str {
        &self.config.client_listen[0]
    }

    pub fn start(&mut self) {
        self.node = Some(Node::start(&self.config));
    }

    /// Returns once its addresses can be listened on again.
    pub fn kill(&mut self) {
        self.node.take().unwrap().kill();
        let peer = self.config.peer_listen.clone();
        for address in self.config.client_listen.iter().chain(&peer) {
            let deadline = Instant::now() + PATIENCE;
            while let Err(error) = std::net::TcpListener::bind(address) {
                assert!(Instant::now() < deadline, "{address}: {error}");
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }

    pub fn wipe(&mut self) {
        self.disk = MemoryDisk::new();
        self.config.data_dir = DataDir::Simulated(self.disk.clone(), Duration::ZERO);
    }

    /// Why the member stopped by itself.
    pub async fn error(&self) -> String {
        until("a member stops by itself", async || {
            self.node.as_ref().unwrap().error()
        })
        .await
    }

    pub fn cluster(&self) -> ClusterClient<Channel> {
        ClusterClient::new(channel(self.address()))
    }

    pub fn maintenance(&self) -> MaintenanceClient<Channel> {
        MaintenanceClient::new(channel(self.address()))
    }

    pub async fn members(&self) -> Vec<etcd::Member> {
        until("members are listed", async || {
            let request = MemberListRequest { linearizable: true };
            let list = self.cluster().member_list(request).await.ok()?.into_inner();
            Some(list.members)
        })
        .await
    }

    pub async fn id(&self) -> u64 {
        until("a member says its id", async || {
            let status = self.maintenance().status(StatusRequest {}).await.ok()?;
            Some(status.into_inner().header?.member_id)
        })
        .await
    }

    pub async fn add(&self, peer: &ClusterPeer, learner: bool) -> Result<etcd::MemberAddResponse, Status> {
        let request = MemberAddRequest {
            peer_ur_ls: peer.peer_urls.clone(),
            is_learner: learner,
        };
        Ok(self.cluster().member_add(request).await?.into_inner())
    }

    pub async fn remove(&self, id: u64) -> Result<etcd::MemberRemoveResponse, Status> {
        let answer = self.cluster().member_remove(MemberRemoveRequest { id }).await?;
        Ok(answer.into_inner())
    }

    pub async fn promote(&self, id: u64) -> Result<etcd::MemberPromoteResponse, Status> {
        let answer = self.cluster().member_promote(MemberPromoteRequest { id }).await?;
        Ok(answer.into_inner())
    }
}

/// Members that start a cluster together.
pub fn founders(names: &[&str]) -> Vec<Seat> {
    let mut seats: Vec<Seat> = names.iter().map(|name| Seat::new(name)).collect();
    let peers: Vec<ClusterPeer> = seats.iter().map(|seat| seat.peer.clone()).collect();
    for seat in &mut seats {
        seat.config.initial_cluster = peers.clone();
        seat.start();
    }
    seats
}

/// A member that is to join those of `seats`.
pub fn joiner(name: &str, seats: &[&Seat]) -> Seat {
    let mut seat = Seat::new(name);
    let others = seats.iter().map(|other| other.peer.clone());
    seat.config.initial_cluster = others.chain([seat.peer.clone()]).collect();
    seat.config.initial_state = InitialState::Existing;
    seat
}

pub fn refusal<T: std::fmt::Debug>(result: Result<T, Status>) -> (Code, String) {
    let status = result.unwrap_err();
    (status.code(), status.message().to_owned())
}

pub fn precondition(text: &str) -> (Code, String) {
    (Code::FailedPrecondition, format!("etcdserver: {text}"))
}

pub async fn leader(seats: &[Seat]) -> usize {
    until("there is a leader", async || {
        for (at, seat) in seats.iter().enumerate().filter(|(_, seat)| seat.node.is_some()) {
            if let Ok(status) = seat.maintenance().status(StatusRequest {}).await {
                let status = status.into_inner();
                if status.leader != 0 && status.leader == status.header.unwrap().member_id {
                    return Some(at);
                }
            }
        }
        None
    })
    .await
}

/// All members hold the same.
pub async fn assert_level(seats: &[&Seat]) {
    let revision = put_soon(seats[0].address(), "level", "").await;
    let mut hashes = Vec::new();
    for seat in seats {
        let hash = until("a member has caught up", async || {
            let mut client = seat.maintenance();
            let answer = client.hash_kv(HashKvRequest { revision }).await.ok()?;
            Some(answer.into_inner().hash)
        });
        hashes.push(hash.await);
    }
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
}

/// Writes through any of the endpoints until it is stopped, as etcd's clients do: what can't be had from one
/// is asked of the next.
pub struct Writer {
    stop: Arc<AtomicBool>,
    writes: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<BTreeMap<String, String>>,
}

impl Writer {
    pub fn start(prefix: &str, endpoints: Vec<String>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, prefix) = (Arc::clone(&stop), prefix.to_owned());
        let writes = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&writes);
        let task = tokio::spawn(async move {
            let mut clients: Vec<_> = endpoints.iter().map(|endpoint| kv(endpoint)).collect();
            let mut acknowledged = BTreeMap::new();
            let (mut number, mut at) = (0, 0);
            while !stopped.load(Ordering::Relaxed) {
                number += 1;
                let (key, value) = (format!("{prefix}/{:04}", number % 500), format!("{number:08}"));
                let since = Instant::now();
                loop {
                    let request = PutRequest {
                        key: key.clone().into(),
                        value: value.clone().into(),
                        ..PutRequest::default()
                    };
                    let Err(status) = clients[at].put(request).await else {
                        break;
                    };
                    // Broken connections have other codes here than in Go.
                    assert!(
                        matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled),
                        "{status}"
                    );
                    assert!(since.elapsed() < PATIENCE, "writes don't go on: {status}");
                    at = (at + 1) % clients.len();
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                acknowledged.insert(key, value);
                count.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            acknowledged
        });
        Self { stop, writes, task }
    }

    /// What was acknowledged, once that are enough writes to say something.
    pub async fn finish(self) -> BTreeMap<String, String> {
        until("writes are acknowledged", async || {
            (self.writes.load(Ordering::Relaxed) > 10 || self.task.is_finished()).then_some(())
        })
        .await;
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}

/// Every acknowledged write is there.
pub async fn assert_kept(seat: &Seat, prefix: &str, acknowledged: &BTreeMap<String, String>) {
    let found = until("a linearizable read", async || {
        get_prefix(seat.address(), &format!("{prefix}/")).await.ok()
    });
    let found: BTreeMap<Vec<u8>, Vec<u8>> = found
        .await
        .kvs
        .into_iter()
        .map(|kv| (kv.key.to_vec(), kv.value.to_vec()))
        .collect();
    for (key, value) in acknowledged {
        let stored = found.get(key.as_bytes());
        assert!(
            stored.is_some_and(|stored| stored.as_slice() >= value.as_bytes()),
            "{key} was acknowledged as {value}, is {stored:?}"
        );
    }
}

pub fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(test);
}
