//! Three members on simulated disks: a killed one forgets what it had not synced.

use super::harness::{Node, PATIENCE, channel, put_soon};
use kvstore_server::{ClusterPeer, DataDir, MemberConfig, member_id};
use kvstore_storage::MemoryDisk;
use proto::etcdserverpb::maintenance_client::MaintenanceClient;
use proto::etcdserverpb::{HashKvRequest, HashKvResponse, HashRequest, StatusRequest, StatusResponse};
use std::time::{Duration, Instant};
use test_ports::free_address;
use tonic::Status;

pub struct Trio {
    configs: Vec<MemberConfig>,
    nodes: Vec<Option<Node>>,
}

impl Trio {
    /// `snapshot_entries`: how long the log may grow before it is cut.
    pub fn start(snapshot_entries: u64) -> Self {
        Self::start_each(snapshot_entries, |_, config| config)
    }

    /// Each member with what `change` makes of its number and configuration.
    pub fn start_each(snapshot_entries: u64, change: impl Fn(usize, MemberConfig) -> MemberConfig) -> Self {
        let peers: Vec<ClusterPeer> = ["one", "two", "three"]
            .iter()
            .map(|name| ClusterPeer::new(*name, format!("http://{}", free_address())))
            .collect();
        let configs: Vec<MemberConfig> = peers
            .iter()
            .map(|peer| MemberConfig {
                peer_listen: Some(peer.peer_urls[0].trim_start_matches("http://").to_owned()),
                initial_cluster: peers.clone(),
                snapshot_entries,
                ..MemberConfig::single(
                    &peer.name,
                    DataDir::Simulated(MemoryDisk::new(), Duration::from_millis(1)),
                    &free_address(),
                )
            })
            .enumerate()
            .map(|(member, config)| change(member, config))
            .collect();
        let nodes = configs.iter().map(|config| Some(Node::start(config))).collect();
        Self { configs, nodes }
    }

    pub fn address(&self, member: usize) -> &str {
        &self.configs[member].client_listen[0]
    }

    pub fn addresses(&self) -> Vec<String> {
        (0..3).map(|member| self.address(member).to_owned()).collect()
    }

    pub fn kill(&mut self, member: usize) {
        self.nodes[member].take().unwrap().kill();
    }

    pub fn restart(&mut self, member: usize) {
        self.nodes[member] = Some(Node::start(&self.configs[member]));
    }

    pub fn pause(&self, member: usize, duration: Duration) {
        self.nodes[member].as_ref().unwrap().pause(duration);
    }

    pub async fn status(&self, member: usize) -> Result<StatusResponse, Status> {
        let mut client = MaintenanceClient::new(channel(self.address(member)));
        Ok(client.status(StatusRequest {}).await?.into_inner())
    }

    /// Which member leads, as `via` sees it.
    pub async fn leader(&self, via: usize) -> usize {
        let deadline = Instant::now() + PATIENCE;
        let ids: Vec<u64> = (self.configs.iter().zip(0..))
            .map(|(config, at)| member_id(&config.cluster_token, &config.initial_cluster[at]))
            .collect();
        loop {
            if let Ok(status) = self.status(via).await
                && let Some(leader) = ids.iter().position(|id| *id == status.leader)
                && self.nodes[leader].is_some()
            {
                return leader;
            }
            assert!(Instant::now() < deadline, "no leader");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// What member `at` has at `revision`, once it has got there.
    pub async fn hash(&self, at: usize, revision: i64) -> HashKvResponse {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut client = MaintenanceClient::new(channel(self.address(at)));
            match client.hash_kv(HashKvRequest { revision }).await {
                Ok(answer) => return answer.into_inner(),
                Err(status) => assert!(Instant::now() < deadline, "{status}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// All members must hold the same; gives the revision at which they were compared.
    pub async fn agree(&self) -> i64 {
        let revision = put_soon(self.address(0), "agreed", "").await;
        let mut hashes = Vec::new();
        for member in 0..3 {
            let answer = self.hash(member, revision).await;
            hashes.push((answer.hash, answer.compact_revision, answer.hash_revision));
        }
        assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
        self.agree_on_everything(revision).await;
        revision
    }

    /// The history included, and what has no revision, once all have got there.
    async fn agree_on_everything(&self, revision: i64) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut hashes = Vec::new();
            for member in 0..3 {
                let mut client = MaintenanceClient::new(channel(self.address(member)));
                let answer = client.hash(HashRequest {}).await.unwrap().into_inner();
                hashes.push((answer.hash, answer.header.unwrap().revision));
            }
            if hashes.iter().all(|hash| *hash == hashes[0]) && hashes[0].1 >= revision {
                return;
            }
            assert!(Instant::now() < deadline, "{hashes:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
