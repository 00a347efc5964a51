//! The same requests to Debian's etcd and to ours: the answers must be the same.

use super::harness::{PATIENCE, channel, free_address, single};
use bytes::Bytes;
use proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use proto::etcdserverpb::kv_client::KvClient;
use proto::etcdserverpb::lease_client::LeaseClient;
use proto::etcdserverpb::request_op::Request as Op;
use proto::etcdserverpb::watch_client::WatchClient;
use proto::etcdserverpb::watch_request::RequestUnion;
use proto::etcdserverpb::{
    CompactionRequest, Compare, DeleteRangeRequest, LeaseGrantRequest, LeaseRevokeRequest, PutRequest,
    RangeRequest, RequestOp, ResponseHeader, TxnRequest, WatchCreateRequest, WatchRequest,
};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use support::Random;
use tonic::transport::Channel;
use tonic::{Response, Status};

const SEEDS: std::ops::Range<u64> = 0..250;
const STEPS: usize = 14;

const KEYS: [&str; 8] = ["a", "b", "b/1", "b/2", "c", "d/1", "d/2", "e"];
const ENDS: [&str; 7] = ["", "", "\0", "b0", "c", "d0", "a"];

enum Step {
    Put(PutRequest),
    Range(RangeRequest),
    Delete(DeleteRangeRequest),
    Txn(TxnRequest),
    Compact(CompactionRequest),
    Grant(LeaseGrantRequest),
    Revoke(LeaseRevokeRequest),
}

struct Generator {
    random: Random,
    /// About where the store stands.
    revision: i64,
}

impl Generator {
    fn below(&self, end: u64) -> u64 {
        self.random.below(0..end)
    }

    fn one_in(&self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn key(&self) -> Bytes {
        if self.one_in(40) {
            return Bytes::new();
        }
        Bytes::from_static(KEYS[self.below(KEYS.len() as u64) as usize].as_bytes())
    }

    fn end(&self) -> Bytes {
        Bytes::from_static(ENDS[self.below(ENDS.len() as u64) as usize].as_bytes())
    }

    fn some_revision(&self) -> i64 {
        (self.revision - 12 + self.below(14) as i64).max(-1)
    }

    fn put(&self) -> PutRequest {
        let keep = self.one_in(12);
        PutRequest {
            key: self.key(),
            value: if keep && !self.one_in(4) {
                Bytes::new()
            } else {
                format!("v{}", self.below(5)).into()
            },
            lease: if self.one_in(5) {
                1 + self.below(4) as i64
            } else {
                0
            },
            prev_kv: self.one_in(3),
            ignore_value: keep,
            ignore_lease: self.one_in(15),
        }
    }

    fn range(&self) -> RangeRequest {
        // Ties of other targets come in no particular order from etcd.
        let by_revision = self.one_in(6);
        RangeRequest {
            key: self.key(),
            range_end: self.end(),
            limit: if self.one_in(3) { self.below(4) as i64 } else { 0 },
            revision: if self.one_in(3) { self.some_revision() } else { 0 },
            sort_order: if self.one_in(3) { self.below(3) as i32 } else { 0 },
            sort_target: if by_revision { 3 } else { 0 },
            serializable: self.one_in(2),
            keys_only: self.one_in(5),
            count_only: self.one_in(6),
            min_mod_revision: if self.one_in(10) { self.some_revision() } else { 0 },
            max_mod_revision: if self.one_in(10) { self.some_revision() } else { 0 },
            min_create_revision: if self.one_in(10) { self.some_revision() } else { 0 },
            max_create_revision: if self.one_in(10) { self.some_revision() } else { 0 },
        }
    }

    fn delete(&self) -> DeleteRangeRequest {
        DeleteRangeRequest {
            key: self.key(),
            range_end: self.end(),
            prev_kv: self.one_in(2),
        }
    }

    fn compare(&self) -> Compare {
        let target = match self.below(5) {
            0 => CompareTarget::Version,
            1 => CompareTarget::Create,
            2 => CompareTarget::Mod,
            3 => CompareTarget::Value,
            _ => CompareTarget::Lease,
        };
        let union = match target {
            CompareTarget::Version => TargetUnion::Version(self.below(3) as i64),
            CompareTarget::Create => {
                TargetUnion::CreateRevision(if self.one_in(2) { 0 } else { self.some_revision() })
            }
            CompareTarget::Mod => {
                TargetUnion::ModRevision(if self.one_in(2) { 0 } else { self.some_revision() })
            }
            CompareTarget::Value => TargetUnion::Value(format!("v{}", self.below(5)).into()),
            CompareTarget::Lease => TargetUnion::Lease(self.below(3) as i64),
        };
        Compare {
            result: [
                CompareResult::Equal,
                CompareResult::Greater,
                CompareResult::Less,
                CompareResult::NotEqual,
            ][self.below(4) as usize] as i32,
            target: target as i32,
            key: self.key(),
            target_union: Some(union),
            range_end: if self.one_in(4) { self.end() } else { Bytes::new() },
        }
    }

    fn txn(&self, depth: u32) -> TxnRequest {
        let ops = |max| (0..self.below(max)).map(|_| self.op(depth)).collect();
        TxnRequest {
            compare: (0..self.below(3)).map(|_| self.compare()).collect(),
            success: ops(4),
            failure: ops(3),
        }
    }

    fn op(&self, depth: u32) -> RequestOp {
        let request = match self.below(if depth > 0 { 8 } else { 7 }) {
            0..=2 => Op::RequestPut(self.put()),
            3..=5 => Op::RequestRange(self.range()),
            6 => {
                let mut delete = self.delete();
                // etcd takes an open end for an empty range when it looks for duplicates, and lets such a
                // transaction write a key twice in one revision. Ours refuses it.
                if *delete.range_end == [0] {
                    delete.range_end = "f".into();
                }
                Op::RequestDeleteRange(delete)
            }
            _ => Op::RequestTxn(self.txn(depth - 1)),
        };
        RequestOp {
            request: Some(request),
        }
    }

    fn step(&self) -> Step {
        match self.below(40) {
            0..=12 => Step::Put(self.put()),
            13..=20 => Step::Range(self.range()),
            21..=24 => Step::Delete(self.delete()),
            25..=34 => Step::Txn(self.txn(2)),
            35 => Step::Compact(CompactionRequest {
                revision: self.some_revision(),
                physical: self.one_in(2),
            }),
            36..=37 => Step::Grant(LeaseGrantRequest {
                ttl: if self.one_in(10) { 10_000_000_000 } else { 600 },
                id: 1 + self.below(4) as i64,
            }),
            _ => Step::Revoke(LeaseRevokeRequest {
                id: 1 + self.below(4) as i64,
            }),
        }
    }
}

/// One of the two stores.
struct Store {
    kv: KvClient<Channel>,
    lease: LeaseClient<Channel>,
    watch: WatchClient<Channel>,
}

impl Store {
    fn at(address: &str) -> Self {
        Self {
            kv: KvClient::new(channel(address)),
            lease: LeaseClient::new(channel(address)),
            watch: WatchClient::new(channel(address)),
        }
    }

    /// The answer in a form that compares, and the revision of its header.
    async fn run(&mut self, step: &Step) -> (String, i64) {
        macro_rules! answer {
            ($call:expr) => {
                show($call.await, |message| &mut message.header)
            };
        }
        match step {
            Step::Put(request) => answer!(self.kv.put(request.clone())),
            Step::Range(request) => answer!(self.kv.range(request.clone())),
            Step::Delete(request) => answer!(self.kv.delete_range(request.clone())),
            Step::Txn(request) => answer!(self.kv.txn(request.clone())),
            Step::Compact(request) => answer!(self.kv.compact(*request)),
            Step::Grant(request) => answer!(self.lease.lease_grant(*request)),
            Step::Revoke(request) => answer!(self.lease.lease_revoke(*request)),
        }
    }

    /// Every event from `from` to `to`.
    async fn events(&mut self, from: i64, to: i64) -> Vec<String> {
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

fn show<M: std::fmt::Debug>(
    answer: Result<Response<M>, Status>,
    header: impl Fn(&mut M) -> &mut Option<ResponseHeader>,
) -> (String, i64) {
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

/// Debian's etcd, while it lives.
pub struct Etcd {
    child: Child,
    _folder: tempfile::TempDir,
    pub address: String,
}

impl Etcd {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (address, peer) = (free_address(), free_address());
        let (client_url, peer_url) = (format!("http://{address}"), format!("http://{peer}"));
        let child = Command::new("etcd")
            .env("ETCD_UNSUPPORTED_ARCH", std::env::consts::ARCH)
            .args(["--data-dir", folder.path().to_str().unwrap()])
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
            .args([
                "--initial-cluster",
                &format!("default={peer_url}"),
                "--log-level",
                "error",
            ])
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

#[test]
fn answers_equal_those_of_etcd() {
    let etcd = Etcd::start();
    let node = single();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut theirs = Store::at(&etcd.address);
        let mut ours = Store::at(&node.address);
        let ready = Step::Range(RangeRequest {
            key: "ready".into(),
            ..RangeRequest::default()
        });
        let deadline = Instant::now() + PATIENCE;
        while theirs.run(&ready).await.1 == 0 || ours.run(&ready).await.1 == 0 {
            assert!(Instant::now() < deadline, "both stores answer in time");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let mut generator = Generator {
            random: Random::seeded(0),
            revision: 1,
        };
        let mut kept_from = 2;
        for seed in SEEDS {
            generator.random = Random::seeded(seed);
            for number in 0..STEPS {
                let step = generator.step();
                let (expected, revision) = theirs.run(&step).await;
                let (got, _) = ours.run(&step).await;
                assert_eq!(got, expected, "seed {seed}, step {number}: {}", describe(&step));
                generator.revision = generator.revision.max(revision);
                if let Step::Compact(request) = &step
                    && revision > 0
                {
                    kept_from = kept_from.max(request.revision);
                }
            }
            if seed % 25 == 24 {
                let to = {
                    let request = PutRequest {
                        key: "end".into(),
                        ..PutRequest::default()
                    };
                    let step = Step::Put(request);
                    let revision = theirs.run(&step).await.1;
                    assert_eq!(ours.run(&step).await.1, revision);
                    revision
                };
                // Older etcd loses tombstones at the compacted revision itself (etcd issue 19179).
                let from = kept_from.max(1) + 1;
                assert_eq!(
                    ours.events(from, to).await,
                    theirs.events(from, to).await,
                    "after seed {seed}"
                );
            }
        }
    });
}

fn describe(step: &Step) -> String {
    match step {
        Step::Put(request) => format!("{request:?}"),
        Step::Range(request) => format!("{request:?}"),
        Step::Delete(request) => format!("{request:?}"),
        Step::Txn(request) => format!("{request:?}"),
        Step::Compact(request) => format!("{request:?}"),
        Step::Grant(request) => format!("{request:?}"),
        Step::Revoke(request) => format!("{request:?}"),
    }
}
