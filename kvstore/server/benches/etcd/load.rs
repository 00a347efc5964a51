//! Clients in a closed loop: each sends its next request when the last one is answered.

use bytes::Bytes;
use proto::etcdserverpb::PutRequest;
use proto::etcdserverpb::kv_client::KvClient;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use support::Env;
use tonic::transport::Channel;

/// What came of a load.
#[derive(Default)]
pub struct Measured {
    /// Operations a second.
    pub rate: f64,
    /// In order.
    pub latencies: Vec<Duration>,
    /// Seconds of all members.
    pub processor: f64,
    pub note: String,
}

impl Measured {
    pub fn percentile(&self, percent: usize) -> Duration {
        if self.latencies.is_empty() {
            return Duration::ZERO;
        }
        self.latencies[(self.latencies.len() - 1) * percent / 100]
    }
}

pub fn channel(address: &str) -> Channel {
    support::grpc_channel(&Env::production(), address, None)
}

pub fn client(address: &str) -> KvClient<Channel> {
    KvClient::new(channel(address)).max_decoding_message_size(256 << 20)
}

pub fn key(number: usize) -> Bytes {
    format!("/registry/pods/default/pod-{number:08}").into()
}

/// Bytes that do not compress: a store that compresses must not look better than it is.
fn bytes_of(number: usize, length: usize) -> Bytes {
    let mut state = (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes.into()
}

pub fn put_request(number: usize, value: usize) -> PutRequest {
    PutRequest {
        key: key(number),
        value: bytes_of(number, value),
        ..PutRequest::default()
    }
}

/// `total` requests by `clients` at once on `connections`, spread over the members.
pub async fn load<F, R>(
    addresses: &[String],
    (clients, connections): (usize, usize),
    total: usize,
    request: F,
) -> Measured
where
    F: Fn(KvClient<Channel>, usize) -> R + Clone + Send + 'static,
    R: Future<Output = ()> + Send,
{
    let connections: Vec<_> = (0..connections)
        .map(|number| client(&addresses[number % addresses.len()]))
        .collect();
    let next = Arc::new(AtomicUsize::new(0));
    let start = Instant::now();
    let tasks: Vec<_> = (0..clients)
        .map(|number| {
            let connection = connections[number % connections.len()].clone();
            let (request, next) = (request.clone(), Arc::clone(&next));
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= total {
                        return latencies;
                    }
                    let begun = Instant::now();
                    request(connection.clone(), number).await;
                    latencies.push(begun.elapsed());
                }
            })
        })
        .collect();
    let mut latencies = Vec::with_capacity(total);
    for task in tasks {
        latencies.extend(task.await.unwrap());
    }
    let rate = total as f64 / start.elapsed().as_secs_f64();
    latencies.sort_unstable();
    Measured {
        rate,
        latencies,
        ..Measured::default()
    }
}
