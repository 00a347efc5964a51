//! One of three members holds something that it was never told.

use super::harness::{Node, PATIENCE, channel, get_prefix, put, put_soon};
use super::upkeep::alarms;
use kvstore_core::Space;
use kvstore_server::{ClusterPeer, CorruptCheck, DataDir, MemberConfig, member_id};
use kvstore_storage::MemoryDisk;
use proto::etcdserverpb::alarm_request::AlarmAction;
use proto::etcdserverpb::maintenance_client::MaintenanceClient;
use proto::etcdserverpb::watch_client::WatchClient;
use proto::etcdserverpb::watch_request::RequestUnion;
use proto::etcdserverpb::{
    AlarmMember, AlarmRequest, AlarmType, RangeRequest, StatusRequest, WatchCreateRequest, WatchRequest,
    WatchResponse,
};
use std::time::{Duration, Instant};
use test_ports::free_address;
use tokio_stream::StreamExt as _;

const CORRUPT: &str = "etcdserver: corrupt cluster";

struct Cluster {
    disks: Vec<MemoryDisk>,
    configs: Vec<MemberConfig>,
    _nodes: Vec<Node>,
}

impl Cluster {
    fn start() -> Self {
        let peers: Vec<ClusterPeer> = ["one", "two", "three"]
            .iter()
            .map(|name| ClusterPeer::new(*name, format!("http://{}", free_address())))
            .collect();
        let disks: Vec<MemoryDisk> = peers.iter().map(|_| MemoryDisk::new()).collect();
        let configs: Vec<MemberConfig> = peers
            .iter()
            .zip(&disks)
            .map(|(peer, disk)| {
                let data = DataDir::Simulated(disk.clone(), Duration::ZERO);
                MemberConfig {
                    peer_listen: Some(peer.peer_urls[0].trim_start_matches("http://").to_owned()),
                    initial_cluster: peers.clone(),
                    corrupt_check: CorruptCheck {
                        initial: true,
                        interval: Duration::from_secs(1),
                    },
                    ..MemberConfig::single(&peer.name, data, &free_address())
                }
            })
            .collect();
        let nodes = configs.iter().map(Node::start).collect();
        Self {
            disks,
            configs,
            _nodes: nodes,
        }
    }

    fn address(&self, member: usize) -> &str {
        &self.configs[member].client_listen[0]
    }

    fn id(&self, member: usize) -> u64 {
        let config = &self.configs[member];
        member_id(&config.cluster_token, &config.initial_cluster[member])
    }

    async fn leader(&self) -> usize {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut client = MaintenanceClient::new(channel(self.address(0)));
            if let Ok(status) = client.status(StatusRequest {}).await {
                let leader = status.into_inner().leader;
                if let Some(member) = (0..3).find(|member| self.id(*member) == leader) {
                    return member;
                }
            }
            assert!(Instant::now() < deadline, "no leader");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Writes a key and waits until every member holds it.
    async fn everywhere(&self, key: &str) {
        put_soon(self.address(0), key, "value").await;
        for member in 0..3 {
            let deadline = Instant::now() + PATIENCE;
            while get_prefix(self.address(member), key).await.is_err() {
                assert!(Instant::now() < deadline, "member {member} lags");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    /// Waits until exactly this member is named, on every member.
    async fn named(&self, member: usize) {
        let expected = AlarmMember {
            member_id: self.id(member),
            alarm: AlarmType::Corrupt as i32,
        };
        for via in 0..3 {
            let deadline = Instant::now() + PATIENCE;
            loop {
                let raised = alarms(self.address(via)).await;
                if raised == [expected] {
                    break;
                }
                assert!(raised.is_empty(), "{raised:?}");
                // Checks follow writes.
                let _ = put(self.address(via), "tick", "").await;
                assert!(Instant::now() < deadline, "nobody noticed");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }

    async fn readyz(&self, member: usize) -> String {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut stream = tokio::net::TcpStream::connect(self.address(member))
            .await
            .unwrap();
        let request = "GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn watch(&self, member: usize) -> tonic::Streaming<WatchResponse> {
        let create = WatchCreateRequest {
            key: "tick".into(),
            ..WatchCreateRequest::default()
        };
        let request = WatchRequest {
            request_union: Some(RequestUnion::CreateRequest(create)),
        };
        // The client's side stays open.
        let requests = tokio_stream::iter([request]).chain(tokio_stream::pending());
        let mut client = WatchClient::new(channel(self.address(member)));
        client.watch(requests).await.unwrap().into_inner()
    }

    /// Damages what `victim` holds, waits for the verdict, and checks who serves after it.
    async fn find(&self, victim: usize) {
        let mut watching = self.watch(victim).await;
        // The last byte of the value: the record can still be read.
        let damage = |record: &mut Vec<u8>| *record.last_mut().unwrap() ^= 1;
        assert!(self.disks[victim].corrupt(Space::Live, b"cold", damage));
        self.named(victim).await;
        let ended = async { while let Ok(Some(_)) = watching.message().await {} };
        tokio::time::timeout(PATIENCE, ended)
            .await
            .expect("its watches end");
        for member in 0..3 {
            let serializable = RangeRequest {
                key: "key".into(),
                serializable: true,
                ..RangeRequest::default()
            };
            let read = super::harness::kv(self.address(member)).range(serializable).await;
            if member == victim {
                assert_eq!(read.unwrap_err().message(), CORRUPT);
                let refused = put(self.address(member), "key", "").await.unwrap_err();
                assert_eq!(
                    (refused.code(), refused.message()),
                    (tonic::Code::DataLoss, CORRUPT)
                );
                let answer = self.readyz(member).await;
                assert!(
                    answer.contains("503") && answer.contains("[-]data_corruption"),
                    "{answer}"
                );
            } else {
                read.unwrap();
                put_soon(self.address(member), "key", "2").await;
                assert!(self.readyz(member).await.contains("200 OK"));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_differs_is_named_and_stops_while_the_others_go_on() {
    let cluster = Cluster::start();
    put_soon(cluster.address(0), "key", "1").await;
    cluster.everywhere("cold").await;
    let victim = (cluster.leader().await + 1) % 3;
    cluster.find(victim).await;
    // Disarmed by hand, it serves again; here its state is still wrong, and that is found again.
    let disarm = AlarmRequest {
        action: AlarmAction::Deactivate as i32,
        member_id: cluster.id(victim),
        alarm: AlarmType::Corrupt as i32,
    };
    let healthy = (victim + 1) % 3;
    let mut client = MaintenanceClient::new(channel(cluster.address(healthy)));
    client.alarm(disarm).await.unwrap();
    cluster.named(victim).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_differs_gives_its_place_away() {
    let cluster = Cluster::start();
    put_soon(cluster.address(0), "key", "1").await;
    cluster.everywhere("cold").await;
    let victim = cluster.leader().await;
    cluster.find(victim).await;
    assert_ne!(cluster.leader().await, victim);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alarm_for_the_whole_cluster_stops_all_of_it_until_it_is_disarmed() {
    let cluster = Cluster::start();
    put_soon(cluster.address(0), "key", "1").await;
    let request = |action: AlarmAction| AlarmRequest {
        action: action as i32,
        member_id: 0,
        alarm: AlarmType::Corrupt as i32,
    };
    let mut client = MaintenanceClient::new(channel(cluster.address(1)));
    client.alarm(request(AlarmAction::Activate)).await.unwrap();
    for member in 0..3 {
        let deadline = Instant::now() + PATIENCE;
        while let Ok(_before) = get_prefix(cluster.address(member), "key").await {
            assert!(Instant::now() < deadline, "member {member} serves");
        }
        assert_eq!(
            put(cluster.address(member), "key", "")
                .await
                .unwrap_err()
                .message(),
            CORRUPT
        );
    }
    client.alarm(request(AlarmAction::Deactivate)).await.unwrap();
    for member in 0..3 {
        put_soon(cluster.address(member), "key", "2").await;
    }
}
