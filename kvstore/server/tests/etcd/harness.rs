//! Members that can be started and killed, and clients of them.

use kvstore_server::{DataDir, Member, MemberConfig};
use kvstore_storage::MemoryDisk;
use proto::etcdserverpb::kv_client::KvClient;
use proto::etcdserverpb::{PutRequest, RangeRequest, RangeResponse};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::Env;
use test_ports::free_address;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::Channel;

/// How long anything in these tests may take, on a machine that is busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The threads of a member.
const WORKERS: usize = 2;

/// A running member, on a runtime of its own so that it can die without a word.
pub struct Node {
    runtime: Option<Runtime>,
    cancel: CancellationToken,
    /// Why it stopped by itself.
    error: Arc<Mutex<Option<String>>>,
    pub address: String,
}

impl Node {
    /// Opens the state (waiting for a dying predecessor to let go of it) and serves. What members log is
    /// printed as `RUST_LOG` says, when it is set.
    pub fn start(config: &MemberConfig) -> Self {
        if let Ok(filter) = tracing_subscriber::EnvFilter::try_from_default_env() {
            // A second member finds it set already.
            let _ = tracing_subscriber::fmt()
                .with_env_filter(filter)
                .with_writer(std::io::stderr)
                .try_init();
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .enable_all()
            .build()
            .unwrap();
        let cancel = CancellationToken::new();
        let deadline = Instant::now() + PATIENCE;
        // A predecessor dies in the background, its listeners with it.
        for address in config.client_listen.iter().chain(&config.peer_listen) {
            while let Err(error) = std::net::TcpListener::bind(address) {
                assert!(Instant::now() < deadline, "{address}: {error}");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        let member = loop {
            match Member::new(config.clone(), Env::production()) {
                Ok(member) => break member,
                Err(error) if Instant::now() > deadline => panic!("{error}"),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        let stop = cancel.clone();
        let error = Arc::new(Mutex::new(None));
        let stopped = Arc::clone(&error);
        runtime.spawn(async move {
            if let Err(error) = member.run(stop).await {
                eprintln!("a member stopped: {error}");
                *stopped.lock().unwrap() = Some(error.to_string());
            }
        });
        Self {
            runtime: Some(runtime),
            cancel,
            error,
            address: config.client_listen[0].clone(),
        }
    }

    /// Why it has stopped by itself, once it has.
    pub fn error(&self) -> Option<String> {
        self.error.lock().unwrap().clone()
    }

    /// Takes its processor away for a while, as if its process were stopped and continued.
    pub fn pause(&self, duration: Duration) {
        if let Some(runtime) = &self.runtime {
            for _ in 0..WORKERS {
                runtime.spawn(async move { std::thread::sleep(duration) });
            }
        }
    }

    /// Drops all its tasks where they stand.
    pub fn kill(mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// Asks it to stop and waits.
    pub fn stop(mut self) {
        self.cancel.cancel();
        if let Some(runtime) = self.runtime.take() {
            // The member's own time limits are shorter.
            std::thread::sleep(Duration::from_millis(200));
            runtime.shutdown_timeout(Duration::from_secs(10));
        }
    }
}

impl Drop for Node {
    /// Waits until its database is closed: the test's process may end right after. On a thread of its own,
    /// because a test may drop it where blocking isn't allowed.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            let ending = std::thread::spawn(move || runtime.shutdown_timeout(Duration::from_secs(10)));
            ending.join().expect("a runtime shuts down");
        }
    }
}

/// A cluster of one with a simulated disk.
pub fn single() -> Node {
    let disk = DataDir::Simulated(MemoryDisk::new(), Duration::ZERO);
    Node::start(&MemberConfig::single("one", disk, &free_address()))
}

/// A runtime for the clients of a test.
pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

pub fn channel(address: &str) -> Channel {
    support::grpc_channel(&Env::production(), address, None)
}

pub fn kv(address: &str) -> KvClient<Channel> {
    KvClient::new(channel(address)).max_decoding_message_size(64 << 20)
}

pub async fn put(address: &str, key: &str, value: &str) -> Result<i64, Status> {
    let request = PutRequest {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        ..PutRequest::default()
    };
    let answer = kv(address).put(request).await?.into_inner();
    Ok(answer.header.unwrap().revision)
}

/// Puts until it works.
pub async fn put_soon(address: &str, key: &str, value: &str) -> i64 {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match put(address, key, value).await {
            Ok(revision) => return revision,
            Err(status) if Instant::now() > deadline => panic!("{address}: {status}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

pub async fn get_prefix(address: &str, prefix: &str) -> Result<RangeResponse, Status> {
    let mut end = prefix.as_bytes().to_vec();
    *end.last_mut().unwrap() += 1;
    let request = RangeRequest {
        key: prefix.to_owned().into(),
        range_end: end.into(),
        ..RangeRequest::default()
    };
    Ok(kv(address).range(request).await?.into_inner())
}

/// Waits until `condition` gives something.
pub async fn until<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(Instant::now() < deadline, "waiting in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
