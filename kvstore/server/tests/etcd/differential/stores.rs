//! Debian's etcd and ours, asked the same way.

use super::requests::Step;
use crate::harness::{PATIENCE, channel, kv};
use bytes::Bytes;
use proto::etcdserverpb::kv_client::KvClient;
use proto::etcdserverpb::lease_client::LeaseClient;
use proto::etcdserverpb::watch_client::WatchClient;
use proto::etcdserverpb::watch_request::RequestUnion;
use proto::etcdserverpb::{
    LeaseKeepAliveRequest, LeaseLeasesRequest, LeaseRevokeRequest, LeaseTimeToLiveRequest, PutRequest,
    RangeRequest, ResponseHeader, WatchCreateRequest, WatchRequest,
};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use test_ports::free_address;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

/// An answer in a form that compares, and the revision of its header; 0 for a refusal.
pub type Answer = (String, i64);

/// One of the two stores.
pub struct Store {
    kv: KvClient<Channel>,
    lease: LeaseClient<Channel>,
    pub watch: WatchClient<Channel>,
}

impl Store {
    pub fn at(address: &str) -> Self {
        Self {
            kv: kv(address),
            lease: LeaseClient::new(channel(address)),
            watch: WatchClient::new(channel(address)).max_decoding_message_size(64 << 20),
        }
    }

    /// Returns when the store answers.
    pub async fn ready(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        let step = Step::Range(RangeRequest {
            key: "ready".into(),
            ..RangeRequest::default()
        });
        while self.run(&step).await.1 == 0 {
            assert!(Instant::now() < deadline, "the store answers in time");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub async fn run(&mut self, step: &Step) -> Answer {
        macro_rules! answer {
            ($call:expr) => {
                show($call.await, |message| &mut message.header)
            };
        }
        match step {
            Step::Put(request) => answer!(self.kv.put(request.clone())),
            Step::Range(request) => answer!(self.kv.range(with_leader(request.clone()))),
            Step::Delete(request) => answer!(self.kv.delete_range(request.clone())),
            Step::Txn(request) => answer!(self.kv.txn(with_leader(request.clone()))),
            Step::Compact(request) => answer!(self.kv.compact(*request)),
            Step::Grant(request) => answer!(self.lease.lease_grant(*request)),
            Step::Revoke(request) => answer!(self.lease.lease_revoke(*request)),
            Step::TimeToLive(request) => {
                let answer = self.lease.lease_time_to_live(*request).await;
                let answer = answer.map(|mut response| {
                    let message = response.get_mut();
                    // etcd gives them in no order.
                    message.keys.sort_unstable();
                    // What is left differs by how fast a store is.
                    if (1..=120).contains(&(message.granted_ttl - message.ttl)) {
                        message.ttl = message.granted_ttl;
                    }
                    response
                });
                show(answer, |message| &mut message.header)
            }
            Step::KeepAlive(id) => {
                let requests = tokio_stream::once(LeaseKeepAliveRequest { id: *id });
                let answer = match self.lease.lease_keep_alive(requests).await {
                    Ok(answers) => answers.into_inner().message().await,
                    Err(status) => Err(status),
                };
                let answer = answer.map(|answer| Response::new(answer.unwrap_or_default()));
                show(answer, |message| &mut message.header)
            }
            Step::Leases => answer!(self.lease.lease_leases(LeaseLeasesRequest {})),
            Step::Brief(request) => {
                let (granted, revision) = answer!(self.lease.lease_grant(*request));
                let left = LeaseTimeToLiveRequest {
                    id: request.id,
                    keys: true,
                };
                let left = self.lease.lease_time_to_live(left).await;
                let left = left.map_or(0, |response| response.into_inner().granted_ttl);
                let revoke = LeaseRevokeRequest { id: request.id };
                let (revoked, _) = answer!(self.lease.lease_revoke(revoke));
                (format!("{granted}\n{left}\n{revoked}"), revision)
            }
            Step::Pages(request, writes) => self.pages(request.clone(), writes).await,
        }
    }

    /// As a client lists a range: the first answer pins the revision, each page begins after the last key.
    async fn pages(&mut self, mut request: RangeRequest, writes: &[PutRequest]) -> Answer {
        let (mut out, mut newest) = (String::new(), 0);
        for put in writes {
            let answer = self.kv.range(request.clone()).await;
            let next = answer.as_ref().ok().and_then(|answer| {
                let page = answer.get_ref();
                let last = page.more.then(|| page.kvs.last())??;
                Some((last.key.clone(), page.header.as_ref()?.revision))
            });
            let (shown, _) = show(answer, |message| &mut message.header);
            out += &shown;
            let (written, revision) = show(self.kv.put(put.clone()).await, |message| &mut message.header);
            out += &written;
            newest = newest.max(revision);
            let Some((last, revision)) = next else { break };
            request.key = [&last[..], &[0]].concat().into();
            if request.revision == 0 {
                request.revision = revision;
            }
        }
        (out, newest)
    }

    /// Every event from `from` to `to`.
    pub async fn events(&mut self, from: i64, to: i64) -> Vec<String> {
        let create = WatchCreateRequest {
            key: Bytes::from_static(&[0]),
            range_end: Bytes::from_static(&[0]),
            start_revision: from,
            prev_kv: true,
            ..WatchCreateRequest::default()
        };
        let request = WatchRequest {
            request_union: Some(RequestUnion::CreateRequest(create)),
        };
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        sender.send(request).await.unwrap();
        let requests = tokio_stream::wrappers::ReceiverStream::new(receiver);
        let mut responses = self.watch.watch(requests).await.unwrap().into_inner();
        let mut events = Vec::new();
        loop {
            let next = tokio::time::timeout(Duration::from_secs(30), responses.message()).await;
            let response = next
                .unwrap_or_else(|_| {
                    panic!(
                        "no event up to {to}, the last are {:?}",
                        events.iter().rev().take(3)
                    )
                })
                .unwrap()
                .unwrap();
            assert!(!response.canceled, "{response:?}");
            for event in response.events {
                let revision = event.kv.as_ref().unwrap().mod_revision;
                events.push(format!("{event:?}"));
                if revision == to {
                    return events;
                }
            }
        }
    }
}

/// A request of a client that wants to be served only by a member with a leader.
fn with_leader<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request
        .metadata_mut()
        .insert("hasleader", "true".parse().unwrap());
    request
}

pub fn show<M: std::fmt::Debug>(
    answer: Result<Response<M>, Status>,
    header: impl Fn(&mut M) -> &mut Option<ResponseHeader>,
) -> Answer {
    match answer {
        Ok(response) => {
            let mut message = response.into_inner();
            let header = header(&mut message);
            let revision = header.as_ref().map_or(0, |header| header.revision);
            *header = Some(ResponseHeader {
                revision,
                ..ResponseHeader::default()
            });
            (format!("{message:?}"), revision)
        }
        Err(status) => (format!("{:?}: {}", status.code(), status.message()), 0),
    }
}

pub struct Etcd {
    child: Child,
    _folder: tempfile::TempDir,
    pub address: String,
}

impl Etcd {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// With more flags.
    pub fn start_with(flags: &[&str]) -> Self {
        // In memory, if there's a place: it would wait for its disk at every write.
        let folder = tempfile::tempdir_in("/dev/shm")
            .or_else(|_| tempfile::tempdir())
            .unwrap();
        let (address, peer) = (free_address(), free_address());
        let (client_url, peer_url) = (format!("http://{address}"), format!("http://{peer}"));
        let child = Command::new("etcd")
            .env("ETCD_UNSUPPORTED_ARCH", std::env::consts::ARCH)
            .args(["--data-dir", folder.path().to_str().unwrap()])
            .args(["--listen-client-urls", &client_url])
            .args(["--advertise-client-urls", &client_url])
            .args(["--listen-peer-urls", &peer_url])
            .args(["--initial-advertise-peer-urls", &peer_url])
            .args(["--initial-cluster", &format!("default={peer_url}")])
            .args(["--log-level", "error"])
            .args(flags)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("etcd is installed (Debian's etcd-server)");
        Self {
            child,
            _folder: folder,
            address,
        }
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        // It may have died by itself; either way it's gone after.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
