//! What clients of a follower are told when the leader dies.

use super::harness::{get_prefix, kv, put, put_soon};
use super::trio::Trio;
use proto::etcdserverpb::PutRequest;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Clients that write at once.
const WRITERS: usize = 16;

/// etcd `server/etcdserver/server.go`, `parseProposeCtxErr`: who is told of a failure is told of the leader's, and
/// only once it is known; what was written is acknowledged by the member that sent it, whoever leads by then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_under_way_to_a_leader_that_dies_are_settled_under_the_next() {
    let mut trio = Trio::start(1000);
    put_soon(trio.address(0), "k", "v").await;
    let leader = trio.leader(0).await;
    let via = (leader + 1) % 3;
    put_soon(trio.address(via), "k", "v").await;
    let (done, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (done, written) = (Arc::clone(&done), Arc::clone(&written));
            let mut client = kv(trio.address(via));
            tokio::spawn(async move {
                let (mut acknowledged, mut failures) = (Vec::new(), Vec::new());
                for number in 0.. {
                    let key = format!("w/{writer}/{number}");
                    let request = PutRequest {
                        key: key.clone().into(),
                        ..PutRequest::default()
                    };
                    match client.put(request).await {
                        Ok(_) => acknowledged.push(key),
                        Err(status) => failures.push(status.message().to_owned()),
                    }
                    written.fetch_add(1, Ordering::Relaxed);
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                }
                (acknowledged, failures)
            })
        })
        .collect();
    while written.load(Ordering::Relaxed) < 10 * WRITERS {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    trio.kill(leader);
    put_soon(trio.address((leader + 2) % 3), "k", "again").await;
    done.store(true, Ordering::Relaxed);
    let (mut acknowledged, mut failures) = (Vec::new(), BTreeSet::new());
    for writer in writers {
        let (keys, texts) = writer.await.unwrap();
        acknowledged.extend(keys);
        failures.extend(texts);
    }
    let settled = "etcdserver: request timed out, possibly due to previous leader failure";
    assert!(failures.iter().all(|text| text == settled), "{failures:?}");
    let kept = get_prefix(trio.address(via), "w/").await.unwrap();
    let kept: BTreeSet<Vec<u8>> = kept.kvs.into_iter().map(|kv| kv.key.into()).collect();
    let lost = acknowledged.iter().find(|key| !kept.contains(key.as_bytes()));
    assert_eq!(lost, None);
}

/// A write that nobody can decide on is not told to have failed before its time is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_waits_its_whole_time_for_a_leader() {
    let mut trio = Trio::start(1000);
    put_soon(trio.address(0), "k", "v").await;
    let leader = trio.leader(0).await;
    let (gone, via) = ((leader + 1) % 3, (leader + 2) % 3);
    put_soon(trio.address(via), "k", "v").await;
    trio.kill(leader);
    trio.kill(gone);
    let refused = put(trio.address(via), "k", "late").await.unwrap_err();
    assert_eq!(refused.message(), "etcdserver: request timed out");
}

/// etcd `server/etcdserver/read/read.go`: a read waits for no leader that was replaced.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_does_not_wait_for_a_leader_that_hangs() {
    let trio = Trio::start(1000);
    put_soon(trio.address(0), "k", "v").await;
    let leader = trio.leader(0).await;
    let via = (leader + 1) % 3;
    put_soon(trio.address(via), "k", "v").await;
    let (begun, hang) = (Instant::now(), Duration::from_secs(6));
    trio.pause(leader, hang);
    loop {
        assert_eq!(get_prefix(trio.address(via), "k").await.unwrap().count, 1);
        if trio.leader(via).await != leader {
            break;
        }
    }
    assert!(begun.elapsed() < hang, "{:?}", begun.elapsed());
}
