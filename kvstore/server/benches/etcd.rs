//! One member of ours beside Debian's etcd, the same load on both in the same run; ratios count, not the
//! figures of this machine. Both have their data on disk and sync every acknowledged write.
//!
//! `cargo bench -p kvstore-server --bench etcd` (`-- quick` for a short run).
// These members run in real time, outside of any simulation.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use bytes::Bytes;
use kvstore_server::{DataDir, Member, MemberConfig};
use kvstore_storage::RocksOptions;
use proto::etcdserverpb::kv_client::KvClient;
use proto::etcdserverpb::watch_client::WatchClient;
use proto::etcdserverpb::watch_request::RequestUnion;
use proto::etcdserverpb::{PutRequest, RangeRequest, WatchCreateRequest, WatchRequest};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use support::Env;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

const VALUE: usize = 512;

/// Requests a second, and the latencies in order.
struct Measured {
    rate: f64,
    latencies: Vec<Duration>,
}

impl Measured {
    fn percentile(&self, percent: usize) -> Duration {
        self.latencies[(self.latencies.len() - 1) * percent / 100]
    }
}

fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

fn client(address: &str) -> KvClient<Channel> {
    KvClient::new(support::grpc_channel(&Env::production(), address, None))
        .max_decoding_message_size(256 << 20)
}

fn put(number: usize) -> PutRequest {
    PutRequest {
        key: format!("/registry/pods/default/pod-{number:08}").into(),
        value: Bytes::from(vec![b'x'; VALUE]),
        ..PutRequest::default()
    }
}

/// `total` requests by `clients` at once, each on a connection of its own up to eight.
async fn load<F, R>(address: &str, clients: usize, total: usize, request: F) -> Measured
where
    F: Fn(KvClient<Channel>, usize) -> R + Clone + Send + 'static,
    R: Future<Output = ()> + Send,
{
    let connections: Vec<_> = (0..clients.min(8)).map(|_| client(address)).collect();
    let start = Instant::now();
    let tasks: Vec<_> = (0..clients)
        .map(|number| {
            let (connection, request) = (connections[number % connections.len()].clone(), request.clone());
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                let mut next = number;
                while next < total {
                    let begun = Instant::now();
                    request(connection.clone(), next).await;
                    latencies.push(begun.elapsed());
                    next += clients;
                }
                latencies
            })
        })
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.unwrap());
    }
    let rate = total as f64 / start.elapsed().as_secs_f64();
    latencies.sort_unstable();
    Measured { rate, latencies }
}

/// From the put's start to the event's arrival.
async fn watch_latency(address: &str, total: usize) -> Measured {
    let create = WatchCreateRequest {
        key: "/registry/pods/".into(),
        range_end: "/registry/pods0".into(),
        prev_kv: true,
        ..WatchCreateRequest::default()
    };
    let request = WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(create)),
    };
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    sender.send(request).await.unwrap();
    let requests = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let mut watch = WatchClient::new(support::grpc_channel(&Env::production(), address, None));
    let mut events = watch.watch(requests).await.unwrap().into_inner();
    events.message().await.unwrap();
    let mut writer = client(address);
    let start = Instant::now();
    let mut latencies = Vec::new();
    for number in 0..total {
        let begun = Instant::now();
        let (written, seen) = tokio::join!(writer.put(put(number)), events.message());
        written.unwrap();
        seen.unwrap();
        latencies.push(begun.elapsed());
    }
    let rate = total as f64 / start.elapsed().as_secs_f64();
    latencies.sort_unstable();
    Measured { rate, latencies }
}

async fn measure(address: &str, scale: usize) -> Vec<(&'static str, Measured)> {
    let write = |mut kv: KvClient<Channel>, number| async move {
        kv.put(put(number)).await.unwrap();
    };
    let get = |mut kv: KvClient<Channel>, number: usize| async move {
        let request = RangeRequest {
            key: put(number % 1000).key,
            ..RangeRequest::default()
        };
        kv.range(request).await.unwrap();
    };
    let list = |mut kv: KvClient<Channel>, _| async move {
        let request = RangeRequest {
            key: "/registry/pods/".into(),
            range_end: "/registry/pods0".into(),
            limit: 500,
            ..RangeRequest::default()
        };
        kv.range(request).await.unwrap();
    };
    let count = |mut kv: KvClient<Channel>, _| async move {
        let request = RangeRequest {
            key: "/registry/pods/".into(),
            range_end: "/registry/pods0".into(),
            count_only: true,
            ..RangeRequest::default()
        };
        kv.range(request).await.unwrap();
    };
    vec![
        ("put, 1 client", load(address, 1, 30 * scale, write).await),
        ("put, 64 clients", load(address, 64, 400 * scale, write).await),
        (
            "get linearizable, 1 client",
            load(address, 1, 60 * scale, get).await,
        ),
        (
            "get linearizable, 64 clients",
            load(address, 64, 600 * scale, get).await,
        ),
        ("list of 500, 8 clients", load(address, 8, 6 * scale, list).await),
        ("count, 8 clients", load(address, 8, 30 * scale, count).await),
        ("put to watch event", watch_latency(address, 20 * scale).await),
    ]
}

struct Etcd(Child);

impl Drop for Etcd {
    fn drop(&mut self) {
        // It may have died by itself; either way it's gone after.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start_etcd(folder: &std::path::Path, address: &str) -> Etcd {
    let (client_url, peer_url) = (format!("http://{address}"), format!("http://{}", free_address()));
    let child = Command::new("etcd")
        .env("ETCD_UNSUPPORTED_ARCH", std::env::consts::ARCH)
        .args(["--data-dir", folder.to_str().unwrap(), "--log-level", "error"])
        .args([
            "--listen-client-urls",
            &client_url,
            "--advertise-client-urls",
            &client_url,
        ])
        .args([
            "--listen-peer-urls",
            &peer_url,
            "--initial-advertise-peer-urls",
            &peer_url,
        ])
        .args(["--initial-cluster", &format!("default={peer_url}")])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("etcd is installed (Debian's etcd-server)");
    Etcd(child)
}

async fn ready(address: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while client(address).put(put(0)).await.is_err() {
        assert!(Instant::now() < deadline, "{address} doesn't answer");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn main() {
    let scale = if std::env::args().any(|argument| argument == "quick") {
        5
    } else {
        50
    };
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (theirs, ours) = (free_address(), free_address());
        let etcd = start_etcd(&folder.path().join("etcd"), &theirs);
        ready(&theirs).await;
        let expected = measure(&theirs, scale).await;
        drop(etcd);
        let data = DataDir::Directory(folder.path().join("ours"), RocksOptions::default());
        let member = Member::new(MemberConfig::single("one", data, &ours), Env::production()).unwrap();
        let stop = CancellationToken::new();
        let serving = tokio::spawn(member.run(stop.clone()));
        ready(&ours).await;
        let got = measure(&ours, scale).await;
        println!(
            "{:32}{:>12}{:>12}{:>8}   p50 and p99, etcd | ours",
            "", "etcd /s", "ours /s", "ratio"
        );
        for ((name, etcd), (_, ours)) in expected.iter().zip(&got) {
            println!(
                "{name:32}{:>12.0}{:>12.0}{:>8.2}   {:.2?} {:.2?} | {:.2?} {:.2?}",
                etcd.rate,
                ours.rate,
                ours.rate / etcd.rate,
                etcd.percentile(50),
                etcd.percentile(99),
                ours.percentile(50),
                ours.percentile(99)
            );
        }
        stop.cancel();
        serving.await.unwrap().unwrap();
    });
}
