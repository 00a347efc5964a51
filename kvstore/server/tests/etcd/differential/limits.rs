//! Requests at and beyond every limit: the same answers, to the letter.

use super::requests::Step;
use super::stores::{Etcd, Store};
use crate::harness::{runtime, single};
use bytes::Bytes;
use proto::etcdserverpb::compare::TargetUnion;
use proto::etcdserverpb::request_op::Request as Op;
use proto::etcdserverpb::{
    CompactionRequest, Compare, DeleteRangeRequest, LeaseGrantRequest, LeaseRevokeRequest,
    LeaseTimeToLiveRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
};

/// etcd's `--max-request-bytes`, and what gRPC takes at all.
const REQUEST: usize = 1_572_864;
const MESSAGE: usize = REQUEST + (512 << 10);

fn put(key: &str, value: &str) -> PutRequest {
    PutRequest {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        ..PutRequest::default()
    }
}

fn sized(bytes: usize) -> PutRequest {
    PutRequest {
        key: "size".into(),
        value: vec![b'x'; bytes].into(),
        ..PutRequest::default()
    }
}

fn range(key: &str) -> RangeRequest {
    RangeRequest {
        key: key.to_owned().into(),
        ..RangeRequest::default()
    }
}

fn op(request: Op) -> RequestOp {
    RequestOp {
        request: Some(request),
    }
}

fn puts(from: usize, count: usize) -> Vec<RequestOp> {
    let puts = (from..from + count).map(|number| op(Op::RequestPut(put(&format!("t/{number}"), ""))));
    puts.collect()
}

fn then(success: Vec<RequestOp>) -> Step {
    Step::Txn(TxnRequest {
        success,
        ..TxnRequest::default()
    })
}

fn nested(success: Vec<RequestOp>) -> RequestOp {
    op(Op::RequestTxn(TxnRequest {
        success,
        ..TxnRequest::default()
    }))
}

fn compares(count: usize) -> Step {
    let compare = Compare {
        key: "a".into(),
        target_union: Some(TargetUnion::Version(0)),
        ..Compare::default()
    };
    Step::Txn(TxnRequest {
        compare: vec![compare; count],
        ..TxnRequest::default()
    })
}

fn compact(revision: i64) -> Step {
    Step::Compact(CompactionRequest {
        revision,
        physical: false,
    })
}

fn steps() -> Vec<Step> {
    let compare_nothing = Compare::default();
    vec![
        // Of an empty store.
        compact(1 << 40),
        compact(-1),
        compact(0),
        compact(0),
        Step::Range(range("a")),
        // Operations of a transaction.
        then(puts(0, 128)),
        then(puts(0, 129)),
        compares(128),
        compares(129),
        then([puts(0, 100), vec![nested(puts(200, 27))]].concat()),
        then([puts(0, 100), vec![nested(puts(200, 28))]].concat()),
        then(vec![nested(vec![nested(vec![nested(puts(0, 2))])])]),
        then(vec![nested(Vec::new())]),
        then(Vec::new()),
        then(vec![RequestOp { request: None }]),
        then(vec![nested(vec![RequestOp { request: None }])]),
        // Sizes.
        Step::Put(sized(REQUEST - 100)),
        Step::Put(sized(REQUEST)),
        Step::Put(sized(MESSAGE - 100)),
        Step::Put(sized(MESSAGE + 100)),
        then(vec![op(Op::RequestPut(sized(REQUEST)))]),
        Step::Range(range(&"k".repeat(REQUEST))),
        Step::Range(range(&"k".repeat(MESSAGE + 1))),
        Step::Delete(DeleteRangeRequest {
            key: vec![b'k'; REQUEST].into(),
            ..DeleteRangeRequest::default()
        }),
        // Empty keys.
        Step::Put(put("", "v")),
        Step::Range(range("")),
        Step::Delete(DeleteRangeRequest::default()),
        then(vec![op(Op::RequestPut(put("", "v")))]),
        then(vec![op(Op::RequestRange(range("")))]),
        then(vec![op(Op::RequestDeleteRange(DeleteRangeRequest::default()))]),
        Step::Txn(TxnRequest {
            compare: vec![compare_nothing.clone()],
            ..TxnRequest::default()
        }),
        then(vec![op(Op::RequestTxn(TxnRequest {
            compare: vec![compare_nothing],
            ..TxnRequest::default()
        }))]),
        // Numbers at their ends.
        Step::Range(RangeRequest {
            revision: i64::MAX,
            ..range("a")
        }),
        Step::Range(RangeRequest {
            revision: i64::MIN,
            ..range("a")
        }),
        Step::Range(RangeRequest {
            limit: i64::MAX,
            range_end: Bytes::from_static(&[0]),
            ..range("t/1")
        }),
        Step::Range(RangeRequest {
            limit: i64::MIN,
            range_end: "t/12".into(),
            ..range("t/1")
        }),
        Step::Range(RangeRequest {
            min_mod_revision: i64::MIN,
            max_create_revision: i64::MAX,
            range_end: "t/12".into(),
            ..range("t/1")
        }),
        compact(i64::MAX),
        compact(i64::MIN),
        // Contradictions.
        Step::Put(PutRequest {
            ignore_value: true,
            ..put("a", "v")
        }),
        Step::Put(PutRequest {
            ignore_lease: true,
            lease: 1,
            ..put("a", "v")
        }),
        Step::Put(PutRequest {
            ignore_value: true,
            ..put("nobody", "")
        }),
        Step::Put(PutRequest {
            ignore_value: true,
            ignore_lease: true,
            ..put("t/1", "")
        }),
        // Leases.
        Step::Put(PutRequest {
            lease: i64::MIN,
            ..put("a", "v")
        }),
        Step::Grant(LeaseGrantRequest {
            ttl: 9_000_000_000,
            id: i64::MIN,
        }),
        Step::Grant(LeaseGrantRequest {
            ttl: 9_000_000_000,
            id: i64::MIN,
        }),
        Step::Grant(LeaseGrantRequest {
            ttl: 9_000_000_001,
            id: 1,
        }),
        Step::Put(PutRequest {
            lease: i64::MIN,
            ..put("a", "v")
        }),
        Step::Leases,
        Step::TimeToLive(LeaseTimeToLiveRequest {
            id: i64::MIN,
            keys: true,
        }),
        Step::TimeToLive(LeaseTimeToLiveRequest { id: 0, keys: true }),
        Step::KeepAlive(0),
        Step::KeepAlive(i64::MAX),
        Step::Revoke(LeaseRevokeRequest { id: 0 }),
        Step::Revoke(LeaseRevokeRequest { id: i64::MIN }),
        Step::Range(range("a")),
    ]
}

#[test]
fn limits_are_those_of_etcd() {
    let etcd = Etcd::start();
    let node = single();
    runtime().block_on(async {
        let mut theirs = Store::at(&etcd.address);
        let mut ours = Store::at(&node.address);
        theirs.ready().await;
        ours.ready().await;
        let mut different = Vec::new();
        for (number, step) in steps().iter().enumerate() {
            let expected = theirs.run(step).await;
            let got = ours.run(step).await;
            if got != expected {
                let shown: String = format!("{step:?}").chars().take(300).collect();
                different.push(format!(
                    "{number}: {shown}\n  etcd: {expected:?}\n  ours: {got:?}"
                ));
            }
        }
        assert!(different.is_empty(), "{}", different.join("\n"));
    });
}

/// etcd 3.4 answers an unknown order and dies of an unknown target; from 3.5 on both are refused.
#[test]
fn unknown_sort_options_are_refused() {
    let node = single();
    runtime().block_on(async {
        let mut ours = Store::at(&node.address);
        ours.ready().await;
        for (sort_order, sort_target) in [(9, 0), (0, 9), (0, -1)] {
            let request = RangeRequest {
                sort_order,
                sort_target,
                ..range("a")
            };
            let in_a_transaction = then(vec![op(Op::RequestRange(request.clone()))]);
            for step in [Step::Range(request), in_a_transaction] {
                let (refused, _) = ours.run(&step).await;
                assert_eq!(refused, "InvalidArgument: etcdserver: invalid sort option");
            }
        }
    });
}
