//! What it costs when a member that is far behind gets the whole state: time, and memory on both sides.
//!
//! `cargo bench -p kvstore-server --bench catch_up -- [MEBIBYTES]`. Three members, each a process of its own so
//! that its memory can be told, on loopback and real disks. One is stopped, the others take that many
//! mebibytes of values, and it is started again.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use kvstore_server::{ClusterPeer, DataDir, Member, MemberConfig};
use kvstore_storage::RocksOptions;
use proto::etcdserverpb::kv_client::KvClient;
use proto::etcdserverpb::maintenance_client::MaintenanceClient;
use proto::etcdserverpb::{PutRequest, StatusRequest, StatusResponse};
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};
use support::Env;
use test_ports::free_address;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

const VALUE: usize = 64 << 10;
const WRITERS: u64 = 16;

/// Where the members are; handed on to their processes as one argument.
struct Plan {
    folder: String,
    clients: Vec<String>,
    peers: Vec<String>,
}

impl Plan {
    fn make(folder: &Path) -> Self {
        Self {
            folder: folder.display().to_string(),
            clients: (0..3).map(|_| free_address()).collect(),
            peers: (0..3).map(|_| free_address()).collect(),
        }
    }

    fn encode(&self) -> String {
        [
            std::slice::from_ref(&self.folder),
            &self.clients[..],
            &self.peers[..],
        ]
        .concat()
        .join(",")
    }

    fn decode(text: &str) -> Self {
        let parts: Vec<String> = text.split(',').map(str::to_owned).collect();
        Self {
            folder: parts[0].clone(),
            clients: parts[1..4].to_vec(),
            peers: parts[4..7].to_vec(),
        }
    }

    fn start(&self, member: usize) -> Child {
        Command::new(std::env::current_exe().unwrap())
            .args(["member", &member.to_string(), &self.encode()])
            .spawn()
            .unwrap()
    }

    async fn serve(&self, member: usize) {
        let initial: Vec<ClusterPeer> = self
            .peers
            .iter()
            .enumerate()
            .map(|(at, peer)| ClusterPeer::new(at.to_string(), format!("http://{peer}")))
            .collect();
        let folder = Path::new(&self.folder).join(member.to_string());
        let data = DataDir::Directory(folder, RocksOptions::default());
        let config = MemberConfig {
            peer_listen: Some(self.peers[member].clone()),
            initial_cluster: initial,
            snapshot_entries: 500,
            ..MemberConfig::single(&member.to_string(), data, &self.clients[member])
        };
        let member = Member::new(config, Env::production()).unwrap();
        member.run(CancellationToken::new()).await.unwrap();
    }

    async fn status(&self, member: usize) -> Option<StatusResponse> {
        let mut client = MaintenanceClient::new(channel(&self.clients[member]));
        Some(client.status(StatusRequest {}).await.ok()?.into_inner())
    }

    async fn revision(&self, member: usize) -> i64 {
        self.status(member)
            .await
            .and_then(|status| status.header)
            .map_or(0, |header| header.revision)
    }
}

fn channel(address: &str) -> Channel {
    support::grpc_channel(&Env::production(), address, None)
}

/// A line of `/proc/PID/status`, in mebibytes.
fn memory(process: &Child, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let value = status.lines().find_map(|found| found.strip_prefix(line)).unwrap();
    value.split_whitespace().next().unwrap().parse::<u64>().unwrap() >> 10
}

/// Begins a new high-water mark.
fn forget_peak(process: &Child) {
    std::fs::write(format!("/proc/{}/clear_refs", process.id()), "5").unwrap();
}

async fn fill(plan: &Plan, mebibytes: u64) {
    let values = mebibytes * (1 << 20) / VALUE as u64;
    let channel = channel(&plan.clients[0]);
    let writers = (0..WRITERS).map(|writer| {
        let mut kv = KvClient::new(channel.clone());
        tokio::spawn(async move {
            for number in (writer..values).step_by(WRITERS as usize) {
                // Nothing that compresses.
                let mut word = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
                let value: Vec<u8> = (0..VALUE / 8)
                    .flat_map(|_| {
                        word ^= word << 13;
                        word ^= word >> 7;
                        word ^= word << 17;
                        word.to_le_bytes()
                    })
                    .collect();
                let request = PutRequest {
                    key: format!("key/{number:08}").into(),
                    value: value.into(),
                    ..PutRequest::default()
                };
                while kv.put(request.clone()).await.is_err() {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
}

async fn measure(mebibytes: u64) {
    let folder = tempfile::tempdir_in(".").unwrap();
    let plan = Plan::make(folder.path());
    let mut members: Vec<Child> = (0..3).map(|member| plan.start(member)).collect();
    while plan.revision(2).await == 0 || plan.status(0).await.is_none_or(|status| status.leader == 0) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    members[2].kill().unwrap();
    members[2].wait().unwrap();
    let begun = Instant::now();
    fill(&plan, mebibytes).await;
    println!(
        "{mebibytes} MiB written in {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    let before: Vec<u64> = members[..2]
        .iter()
        .map(|process| memory(process, "VmRSS:"))
        .collect();
    members[..2].iter().for_each(forget_peak);
    let (begun, wanted) = (Instant::now(), plan.revision(0).await);
    members[2] = plan.start(2);
    while plan.revision(2).await < wanted {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!("caught up in {:.1} s", begun.elapsed().as_secs_f64());
    for (member, process) in members.iter().enumerate() {
        println!(
            "member {member}: {} MiB before, at most {} MiB",
            before.get(member).copied().unwrap_or(0),
            memory(process, "VmHWM:")
        );
    }
    for member in &mut members {
        member.kill().unwrap();
        member.wait().unwrap();
    }
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    match arguments.first().map(String::as_str) {
        Some("member") => {
            let plan = Plan::decode(&arguments[2]);
            runtime.block_on(plan.serve(arguments[1].parse().unwrap()));
        }
        first => {
            let mebibytes = first.and_then(|number| number.parse().ok()).unwrap_or(1024);
            runtime.block_on(measure(mebibytes));
        }
    }
}
