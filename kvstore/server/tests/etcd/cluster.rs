//! Three members with real disks and mutual TLS between them.

use super::harness::{Node, PATIENCE, channel, get_prefix, kv, put_soon, until};
use super::http_client::get;
use kvstore_server::{ClusterPeer, DataDir, MemberConfig, PeerTls, member_id};
use kvstore_storage::{MemoryDisk, RocksOptions};
use proto::etcdserverpb::lease_client::LeaseClient;
use proto::etcdserverpb::maintenance_client::MaintenanceClient;
use proto::etcdserverpb::{
    HashKvRequest, LeaseGrantRequest, MoveLeaderRequest, PutRequest, RangeRequest, StatusRequest,
};
use std::time::{Duration, Instant};
use support::tls::{CertificateAuthority, CertificateRequest, ClientTls, ServerTls, Usage};
use support::{SystemClock, WallClock as _};
use test_ports::free_address;
use tokio_stream::wrappers::ReceiverStream;

struct Cluster {
    _folder: tempfile::TempDir,
    configs: Vec<MemberConfig>,
    nodes: Vec<Option<Node>>,
}

impl Cluster {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let names = ["one", "two", "three"];
        let peers: Vec<ClusterPeer> = names
            .iter()
            .map(|name| ClusterPeer::new(*name, format!("https://{}", free_address())))
            .collect();
        let authority = CertificateAuthority::generate("store peers", SystemClock.now()).unwrap();
        let configs: Vec<MemberConfig> = peers
            .iter()
            .map(|peer| {
                let request = CertificateRequest {
                    common_name: peer.name.clone(),
                    organizations: Vec::new(),
                    subject_alt_names: vec!["127.0.0.1".to_owned()],
                    usage: Usage::Peer,
                    validity: Duration::from_secs(3600),
                };
                let identity = authority.issue(&request, SystemClock.now()).unwrap();
                let data = DataDir::Directory(folder.path().join(&peer.name), RocksOptions::default());
                MemberConfig {
                    peer_listen: Some(peer.peer_urls[0].trim_start_matches("https://").to_owned()),
                    peer_tls: Some(PeerTls {
                        server: ServerTls::new(&identity, Some(authority.cert_pem()), true).unwrap(),
                        client: ClientTls::new(authority.cert_pem(), Some(&identity)).unwrap(),
                    }),
                    initial_cluster: peers.clone(),
                    ..MemberConfig::single(&peer.name, data, &free_address())
                }
            })
            .collect();
        let nodes = configs.iter().map(|config| Some(Node::start(config))).collect();
        Self {
            _folder: folder,
            configs,
            nodes,
        }
    }

    fn address(&self, member: usize) -> &str {
        &self.configs[member].client_listen[0]
    }

    fn id(&self, member: usize) -> u64 {
        let config = &self.configs[member];
        member_id(&config.cluster_token, &config.initial_cluster[member])
    }

    fn restart(&mut self, member: usize) {
        self.nodes[member] = Some(Node::start(&self.configs[member]));
    }

    fn kill(&mut self, member: usize) {
        self.nodes[member].take().unwrap().kill();
    }

    /// Which member leads, once `via` knows one that lives.
    async fn leader(&self, via: usize) -> usize {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = MaintenanceClient::new(channel(self.address(via)))
                .status(StatusRequest {})
                .await;
            if let Ok(status) = status {
                let leader = status.into_inner().leader;
                if let Some(member) = (0..3).find(|m| self.id(*m) == leader && self.nodes[*m].is_some()) {
                    return member;
                }
            }
            assert!(Instant::now() < deadline, "no leader");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The hash of all data at the newest revision of member 0, on each member that has reached it.
    async fn hashes(&self) -> Vec<u32> {
        let revision = put_soon(self.address(0), "last", "").await;
        let mut hashes = Vec::new();
        for member in 0..3 {
            let deadline = Instant::now() + PATIENCE;
            let hash = loop {
                let mut client = MaintenanceClient::new(channel(self.address(member)));
                match client.hash_kv(HashKvRequest { revision }).await {
                    Ok(answer) => break answer.into_inner().hash,
                    Err(status) => assert!(Instant::now() < deadline, "{status}"),
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            };
            hashes.push(hash);
        }
        hashes
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

#[test]
fn three_members_lose_nothing_when_one_dies_and_returns() {
    let mut cluster = Cluster::start();
    runtime().block_on(async {
        for number in 0..60 {
            put_soon(cluster.address(number % 3), &format!("k/{number:03}"), "v").await;
        }
        let leader = cluster.leader(0).await;
        let survivor = (leader + 1) % 3;
        cluster.kill(leader);
        let since = Instant::now();
        put_soon(cluster.address(survivor), "k/060", "after").await;
        eprintln!("writes go on {:?} after the leader died", since.elapsed());
        for number in 61..90 {
            put_soon(cluster.address(survivor), &format!("k/{number:03}"), "v").await;
        }
        cluster.restart(leader);
        // The returned member answers linearizably, so it has caught up.
        put_soon(cluster.address(leader), "k/090", "v").await;
        for member in 0..3 {
            let found = get_prefix(cluster.address(member), "k/").await.unwrap();
            assert_eq!(found.count, 91, "on member {member}");
        }
        let hashes = cluster.hashes().await;
        assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
    });
}

#[test]
fn leadership_moves_when_asked_and_when_the_leader_stops() {
    let mut cluster = Cluster::start();
    runtime().block_on(async {
        // Through each: so all of them have found their place, and any two are a quorum.
        for member in 0..3 {
            put_soon(cluster.address(member), "k/0", "v").await;
        }
        let leader = cluster.leader(0).await;
        let next = (leader + 1) % 3;
        let request = MoveLeaderRequest {
            target_id: cluster.id(next),
        };
        // On a busy machine an election may come in between: then the new leader is asked.
        let deadline = Instant::now() + PATIENCE;
        loop {
            let leader = cluster.leader(next).await;
            if leader == next {
                break;
            }
            let mut client = MaintenanceClient::new(channel(cluster.address(leader)));
            if let Err(status) = client.move_leader(request).await {
                eprintln!("moving leadership: {status}");
            }
            assert!(Instant::now() < deadline, "leadership doesn't move");
        }
        let refused = MaintenanceClient::new(channel(cluster.address(leader)))
            .move_leader(request)
            .await
            .unwrap_err();
        assert_eq!(refused.message(), "etcdserver: not leader");
        let node = cluster.nodes[next].take().unwrap();
        tokio::task::spawn_blocking(move || node.stop()).await.unwrap();
        put_soon(cluster.address(leader), "k/1", "v").await;
        assert_eq!(get_prefix(cluster.address(leader), "k/").await.unwrap().count, 2);
    });
}

#[test]
fn a_member_that_missed_the_log_is_given_the_state() {
    let mut cluster = Cluster::start();
    for config in &mut cluster.configs {
        config.snapshot_entries = 50;
    }
    runtime().block_on(async {
        // Through each: so all of them have found their place.
        for member in 0..3 {
            put_soon(cluster.address(member), "k/first", "v").await;
        }
        // Restarted, so that they cut their logs early.
        for member in 0..3 {
            cluster.kill(member);
            cluster.restart(member);
        }
        put_soon(cluster.address(0), "k/second", "v").await;
        let away = (cluster.leader(0).await + 1) % 3;
        cluster.kill(away);
        let via = (away + 1) % 3;
        for number in 0..400 {
            put_soon(cluster.address(via), &format!("k/{number:03}"), "v").await;
        }
        cluster.restart(away);
        put_soon(cluster.address(away), "k/last", "v").await;
        assert_eq!(get_prefix(cluster.address(away), "k/").await.unwrap().count, 403);
        let hashes = cluster.hashes().await;
        assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
        let metrics = get(cluster.address(away), "/metrics").await.body;
        let received = |line: &str| line.starts_with("etcd_network_snapshot_receive_success{From=");
        let mut received = metrics.lines().filter(|line| received(line));
        assert!(received.any(|line| !line.ends_with(" 0")), "{metrics}");
    });
}

/// etcd `server/etcdserver/api/membership/cluster.go`, `buildMembershipMetric`.
#[test]
fn every_member_knows_all_of_them_itself_included() {
    let cluster = Cluster::start();
    runtime().block_on(async {
        for member in 0..3 {
            put_soon(cluster.address(member), "k", "v").await;
            let metrics = get(cluster.address(member), "/metrics").await.body;
            let known = metrics
                .lines()
                .filter(|line| line.starts_with("etcd_network_known_peers{"));
            assert_eq!(known.count(), 3, "{metrics}");
        }
    });
}

#[test]
fn signs_of_life_to_other_members_are_measured() {
    let mut cluster = Cluster::start();
    runtime().block_on(async {
        put_soon(cluster.address(0), "k", "v").await;
        let leader = cluster.leader(0).await;
        let at = cluster.address(leader).to_owned();
        let measured = async |name: &str, wanted: fn(&[f64]) -> bool| {
            until(name, async || {
                let text = get(&at, "/metrics").await.body;
                let of_name = text.lines().filter(|line| line.starts_with(name));
                let values = of_name.filter_map(|line| line.rsplit_once(' ')?.1.parse().ok());
                wanted(&values.collect::<Vec<f64>>()).then_some(())
            })
            .await;
        };
        let both = |values: &[f64]| values.len() == 2 && values.iter().all(|count| *count > 0.0);
        measured("etcd_network_peer_round_trip_time_seconds_count{", both).await;
        cluster.kill((leader + 1) % 3);
        let some = |values: &[f64]| values.iter().any(|count| *count > 0.0);
        measured("etcd_network_peer_sent_failures_total{", some).await;
        measured("etcd_server_heartbeat_send_failures_total", some).await;
    });
}

/// etcd `tests/integration/v3_lease_test.go`, `TestV3LeaseKeepAliveForwardingCatchError`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeping_a_lease_alive_ends_when_a_needed_leader_is_lost() {
    let mut cluster = Cluster::start();
    put_soon(cluster.address(0), "k", "v").await;
    let leader = cluster.leader(0).await;
    let (gone, left) = ((leader + 1) % 3, (leader + 2) % 3);
    put_soon(cluster.address(left), "k", "v").await;
    let (requests, queue) = tokio::sync::mpsc::channel(1);
    let mut request = tonic::Request::new(ReceiverStream::new(queue));
    request
        .metadata_mut()
        .insert("hasleader", "true".parse().unwrap());
    let mut leases = LeaseClient::new(channel(cluster.address(left)));
    let mut answers = leases.lease_keep_alive(request).await.unwrap().into_inner();
    cluster.kill(leader);
    cluster.kill(gone);
    let end = tokio::time::timeout(PATIENCE, answers.message()).await.unwrap();
    assert_eq!(end.unwrap_err().message(), "etcdserver: no leader");
    drop(requests);
}

/// etcd `tests/integration/v3_grpc_test.go`, `TestGRPCRequireLeader`: whoever is left alone says so, whether it
/// followed or led.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_left_alone_knows_of_no_leader() {
    for led in [false, true] {
        let mut cluster = Cluster::start();
        put_soon(cluster.address(0), "k", "v").await;
        let leader = cluster.leader(0).await;
        let left = if led { leader } else { (leader + 1) % 3 };
        put_soon(cluster.address(left), "k", "v").await;
        cluster.kill((left + 1) % 3);
        cluster.kill((left + 2) % 3);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut maintenance = MaintenanceClient::new(channel(cluster.address(left)));
            let status = maintenance.status(StatusRequest {}).await.unwrap().into_inner();
            if status.leader == 0 {
                assert!(status.errors.contains(&"etcdserver: no leader".to_owned()));
                break;
            }
            assert!(Instant::now() < deadline, "it led: {led}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let mut request = tonic::Request::new(RangeRequest {
            key: "k".into(),
            serializable: true,
            ..RangeRequest::default()
        });
        let stale = kv(cluster.address(left)).range(request.get_ref().clone()).await;
        assert_eq!(stale.unwrap().into_inner().count, 1);
        request
            .metadata_mut()
            .insert("hasleader", "true".parse().unwrap());
        let refused = kv(cluster.address(left)).range(request).await.unwrap_err();
        assert_eq!(refused.message(), "etcdserver: no leader");
        if !led {
            let put = PutRequest {
                key: "k".into(),
                ..PutRequest::default()
            };
            let refused = kv(cluster.address(left)).put(put).await.unwrap_err();
            assert_eq!(refused.message(), "etcdserver: request timed out");
        }
    }
}

/// etcd `server/lease/lessor.go`: a lease is never shorter than an election and a half.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shortest_lease_outlives_an_election() {
    let disk = DataDir::Simulated(MemoryDisk::new(), Duration::ZERO);
    let node = Node::start(&MemberConfig {
        election_min: Duration::from_secs(3),
        election_max: Duration::from_secs(5),
        ..MemberConfig::single("one", disk, &free_address())
    });
    put_soon(&node.address, "k", "v").await;
    let mut leases = LeaseClient::new(channel(&node.address));
    for (ttl, granted) in [(1, 8), (9, 9)] {
        let request = LeaseGrantRequest { ttl, id: 0 };
        let answer = leases.lease_grant(request).await.unwrap().into_inner();
        assert_eq!(answer.ttl, granted);
    }
}
