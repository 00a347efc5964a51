//! Random requests that may say anything a client could.

use bytes::Bytes;
use proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use proto::etcdserverpb::request_op::Request as Op;
use proto::etcdserverpb::{
    CompactionRequest, Compare, DeleteRangeRequest, LeaseGrantRequest, LeaseRevokeRequest,
    LeaseTimeToLiveRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
};
use support::Random;

/// No more than twelve: Go sorts a dozen in a stable way, and leaves the order of more to chance.
pub const KEYS: [&[u8]; 12] = [
    b"\0",
    b"a",
    b"a\0",
    b"b",
    b"b/1",
    b"b/2",
    b"b\xff",
    b"c",
    b"d/1",
    b"d/2",
    b"e",
    b"\xff\xff",
];
const ENDS: [&[u8]; 12] = [
    b"",
    b"",
    b"\0",
    b"\0\0",
    b"a\0",
    b"b0",
    b"b\xff",
    b"c",
    b"d0",
    b"a",
    b"\xff",
    b"\xff\xff\xff",
];
const LEASES: [i64; 5] = [1, 2, 3, 4, -3];
/// A lease that no other step knows.
const BRIEF: i64 = 90;

#[derive(Debug)]
pub enum Step {
    Put(PutRequest),
    Range(RangeRequest),
    Delete(DeleteRangeRequest),
    Txn(TxnRequest),
    Compact(CompactionRequest),
    Grant(LeaseGrantRequest),
    Revoke(LeaseRevokeRequest),
    TimeToLive(LeaseTimeToLiveRequest),
    KeepAlive(i64),
    Leases,
    /// A lease that would run out during the test: granted, asked for and revoked.
    Brief(LeaseGrantRequest),
    /// All of a range, page by page at one revision, with a write after each page.
    Pages(RangeRequest, Vec<PutRequest>),
}

pub struct Generator {
    pub random: Random,
    /// About where the store stands.
    pub revision: i64,
}

impl Generator {
    pub fn below(&self, end: u64) -> u64 {
        self.random.below(0..end)
    }

    pub fn one_in(&self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Copy>(&self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    pub fn key(&self) -> Bytes {
        if self.one_in(60) {
            return Bytes::new();
        }
        Bytes::from_static(self.pick(&KEYS))
    }

    pub fn end(&self) -> Bytes {
        Bytes::from_static(self.pick(&ENDS))
    }

    pub fn some_revision(&self) -> i64 {
        (self.revision - 12 + self.below(14) as i64).max(-1)
    }

    fn lease(&self) -> i64 {
        self.pick(&LEASES)
    }

    fn value(&self) -> Bytes {
        match self.below(40) {
            0..6 => Bytes::new(),
            6 => vec![b'v'; 20_000].into(),
            7 => Bytes::from_static(b"\0\xff\0"),
            _ => format!("v{}", self.below(5)).into(),
        }
    }

    pub fn put(&self) -> PutRequest {
        let keep = self.one_in(12);
        PutRequest {
            key: self.key(),
            value: if keep && !self.one_in(4) {
                Bytes::new()
            } else {
                self.value()
            },
            lease: if self.one_in(4) { self.lease() } else { 0 },
            prev_kv: self.one_in(3),
            ignore_value: keep,
            ignore_lease: self.one_in(15),
        }
    }

    fn range(&self) -> RangeRequest {
        let bound = || if self.one_in(10) { self.some_revision() } else { 0 };
        RangeRequest {
            key: self.key(),
            range_end: self.end(),
            // Up to just above what there can be.
            limit: match self.below(4) {
                0 => self.below(14) as i64,
                1 if self.one_in(5) => -1,
                _ => 0,
            },
            revision: if self.one_in(3) { self.some_revision() } else { 0 },
            sort_order: if self.one_in(2) { self.below(3) as i32 } else { 0 },
            sort_target: if self.one_in(2) { self.below(5) as i32 } else { 0 },
            serializable: self.one_in(2),
            keys_only: self.one_in(5),
            count_only: self.one_in(6),
            min_mod_revision: bound(),
            max_mod_revision: bound(),
            min_create_revision: bound(),
            max_create_revision: bound(),
        }
    }

    pub fn delete(&self) -> DeleteRangeRequest {
        DeleteRangeRequest {
            key: self.key(),
            range_end: self.end(),
            prev_kv: self.one_in(2),
        }
    }

    fn compare(&self) -> Compare {
        let target = self.pick(&[
            CompareTarget::Version,
            CompareTarget::Create,
            CompareTarget::Mod,
            CompareTarget::Value,
            CompareTarget::Lease,
        ]);
        let revision = || if self.one_in(2) { 0 } else { self.some_revision() };
        let union = match target {
            CompareTarget::Version => TargetUnion::Version(self.below(3) as i64),
            CompareTarget::Create => TargetUnion::CreateRevision(revision()),
            CompareTarget::Mod => TargetUnion::ModRevision(revision()),
            CompareTarget::Value => TargetUnion::Value(self.value()),
            CompareTarget::Lease => TargetUnion::Lease(self.below(3) as i64),
        };
        let result = self.pick(&[
            CompareResult::Equal,
            CompareResult::Greater,
            CompareResult::Less,
            CompareResult::NotEqual,
        ]);
        Compare {
            // Numbers that name nothing, and a value that is missing, mean something too.
            result: if self.one_in(40) { 9 } else { result as i32 },
            target: if self.one_in(40) { 9 } else { target as i32 },
            key: self.key(),
            target_union: (!self.one_in(30)).then_some(union),
            range_end: if self.one_in(4) { self.end() } else { Bytes::new() },
        }
    }

    pub fn txn(&self, depth: u32) -> TxnRequest {
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
                    delete.range_end = Bytes::from_static(b"\xff\xff\xff");
                }
                Op::RequestDeleteRange(delete)
            }
            _ => Op::RequestTxn(self.txn(depth - 1)),
        };
        RequestOp {
            request: Some(request),
        }
    }

    pub fn step(&self) -> Step {
        match self.below(48) {
            0..=12 => Step::Put(self.put()),
            13..=21 => Step::Range(self.range()),
            22..=25 => Step::Delete(self.delete()),
            26..=36 => Step::Txn(self.txn(2)),
            37 => Step::Compact(CompactionRequest {
                revision: self.some_revision(),
                physical: self.one_in(2),
            }),
            38..=39 => Step::Grant(LeaseGrantRequest {
                ttl: self.pick(&[600, 600, 600, 900, 9_000_000_000, 9_000_000_001, i64::MAX]),
                id: self.lease(),
            }),
            40..=41 => Step::Revoke(LeaseRevokeRequest { id: self.lease() }),
            42..=43 => Step::TimeToLive(LeaseTimeToLiveRequest {
                id: self.lease(),
                keys: !self.one_in(3),
            }),
            44 => Step::KeepAlive(self.lease()),
            45 => Step::Leases,
            46 => Step::Brief(LeaseGrantRequest {
                ttl: self.pick(&[1, 0, -1, i64::MIN, 2, 3]),
                id: BRIEF,
            }),
            _ => {
                let mut request = self.range();
                (request.revision, request.sort_order, request.sort_target) = (0, 0, 0);
                (request.limit, request.count_only) = (1 + self.below(4) as i64, false);
                Step::Pages(request, (0..3).map(|_| self.put()).collect())
            }
        }
    }
}
