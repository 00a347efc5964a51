//! The bugs that etcd's robustness tests have found in etcd, one by one, looked for in ours
//! (etcd `tests/robustness/README.md`, "Robustness track record").
//!
//! Elsewhere: 14571 (enabling auth) is in `auth/members.rs`; the snapshot under a watcher (15271) and what a
//! future watcher may be told (20221) have unit tests beside the hub too.

use super::harness::{Node, PATIENCE, channel, get_prefix, kv, put, put_soon, runtime, single};
use super::trio::Trio;
use super::watching::Watching;
use bytes::Bytes;
use kvstore_server::{DataDir, MemberConfig};
use kvstore_storage::{MemoryDisk, RocksOptions};
use proto::etcdserverpb::maintenance_client::MaintenanceClient;
use proto::etcdserverpb::request_op::Request as Op;
use proto::etcdserverpb::watch_request::RequestUnion;
use proto::etcdserverpb::{
    CompactionRequest, DefragmentRequest, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp,
    StatusRequest, TxnRequest, WatchCreateRequest, WatchProgressRequest,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use test_ports::free_address;
use tokio::task::JoinHandle;

fn watch_from(start_revision: i64) -> WatchCreateRequest {
    WatchCreateRequest {
        key: "k/".into(),
        range_end: "k0".into(),
        start_revision,
        prev_kv: true,
        ..WatchCreateRequest::default()
    }
}

async fn delete(address: &str, key: &str) -> i64 {
    let request = DeleteRangeRequest {
        key: key.to_owned().into(),
        ..DeleteRangeRequest::default()
    };
    let answer = kv(address).delete_range(request).await.unwrap().into_inner();
    answer.header.unwrap().revision
}

async fn compact(address: &str, revision: i64) {
    let request = CompactionRequest {
        revision,
        physical: true,
    };
    kv(address).compact(request).await.unwrap();
}

/// Writers that go on until told to stop; each gives the revision of every key that was acknowledged.
struct Load {
    stop: Arc<AtomicBool>,
    writes: Arc<AtomicUsize>,
    writers: Vec<JoinHandle<BTreeMap<String, i64>>>,
}

impl Load {
    fn start(addresses: &[String], writers: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let writes = Arc::new(AtomicUsize::new(0));
        let writers = (0..writers).map(|number| {
            let (stop, address) = (Arc::clone(&stop), addresses[number % addresses.len()].clone());
            let writes = Arc::clone(&writes);
            tokio::spawn(async move {
                let mut acknowledged = BTreeMap::new();
                let mut client = kv(&address);
                for write in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let key = format!("k/{number}/{write:06}");
                    let request = PutRequest {
                        key: key.clone().into(),
                        ..PutRequest::default()
                    };
                    let answer = tokio::time::timeout(Duration::from_secs(2), client.put(request)).await;
                    match answer {
                        Ok(Ok(answer)) => {
                            acknowledged.insert(key, answer.into_inner().header.unwrap().revision);
                            writes.fetch_add(1, Ordering::Relaxed);
                        }
                        // It may have happened all the same.
                        _ => tokio::time::sleep(Duration::from_millis(10)).await,
                    }
                }
                acknowledged
            })
        });
        Self {
            writers: writers.collect(),
            writes,
            stop,
        }
    }

    /// Waits until so many more writes were acknowledged.
    async fn goes_on_for(&self, writes: usize) {
        let (enough, deadline) = (
            self.writes.load(Ordering::Relaxed) + writes,
            Instant::now() + PATIENCE,
        );
        while self.writes.load(Ordering::Relaxed) < enough {
            assert!(Instant::now() < deadline, "nothing is acknowledged any more");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn end(self) -> BTreeMap<String, i64> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = BTreeMap::new();
        for writer in self.writers {
            all.extend(writer.await.unwrap());
        }
        all
    }
}

/// Everything acknowledged is there, at the revision that was acknowledged.
async fn check_kept(address: &str, acknowledged: &BTreeMap<String, i64>) {
    let found = get_prefix(address, "k/").await.unwrap();
    let found: BTreeMap<&[u8], i64> = (found.kvs.iter())
        .map(|kv| (kv.key.as_ref(), kv.mod_revision))
        .collect();
    for (key, revision) in acknowledged {
        assert_eq!(found.get(key.as_bytes()), Some(revision), "{key}");
    }
}

/// A member that applied an entry twice, or not at all, after a crash would number its writes differently.
#[test]
fn issue_13766_a_crash_under_load_leaves_the_members_equal() {
    let mut trio = Trio::start(200);
    runtime().block_on(async {
        put_soon(trio.address(0), "k/first", "").await;
        let load = Load::start(&trio.addresses(), 12);
        for victim in [0, 1, 2, 1] {
            load.goes_on_for(50).await;
            trio.kill(victim);
            load.goes_on_for(50).await;
            trio.restart(victim);
        }
        load.goes_on_for(50).await;
        let acknowledged = load.end().await;
        trio.agree().await;
        for member in 0..3 {
            check_kept(trio.address(member), &acknowledged).await;
        }
    });
}

/// A write acknowledged before its sync would be gone with the power.
#[test]
fn issue_14370_a_single_member_keeps_what_it_acknowledged_right_before_a_crash() {
    let disk = MemoryDisk::new();
    let data = DataDir::Simulated(disk, Duration::from_millis(20));
    let config = MemberConfig::single("one", data, &free_address());
    runtime().block_on(async {
        let mut expected = BTreeMap::new();
        for round in 0..8 {
            let node = Node::start(&config);
            put_soon(&node.address, "begun", "").await;
            // Many wait for the same sync; the first answer is the moment.
            let mut writes = tokio::task::JoinSet::new();
            for number in 0..8 {
                let address = node.address.clone();
                let key = format!("k/{round}/{number}");
                writes.spawn(async move { put(&address, &key, "v").await.map(|revision| (key, revision)) });
            }
            let (key, revision) = writes.join_next().await.unwrap().unwrap().unwrap();
            node.kill();
            expected.insert(key, revision);
            while let Some(other) = writes.join_next().await {
                if let Ok((key, revision)) = other.unwrap() {
                    expected.insert(key, revision);
                }
            }
        }
        let node = Node::start(&config);
        put_soon(&node.address, "begun", "").await;
        check_kept(&node.address, &expected).await;
    });
}

/// Defragmenting must neither stop the writes nor leave anything half done for a crash to find.
#[test]
fn issue_14685_a_crash_while_defragmenting_leaves_the_members_equal() {
    let mut trio = Trio::start(200);
    runtime().block_on(async {
        put_soon(trio.address(0), "k/first", "").await;
        let load = Load::start(&trio.addresses(), 6);
        for victim in 0..3 {
            let address = trio.address(victim).to_owned();
            let defragment = tokio::spawn(async move {
                let mut client = MaintenanceClient::new(channel(&address));
                for _ in 0..20 {
                    // It dies on the way.
                    let _ = client.defragment(DefragmentRequest {}).await;
                }
            });
            tokio::time::sleep(Duration::from_millis(50)).await;
            trio.kill(victim);
            defragment.await.unwrap();
            trio.restart(victim);
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        let acknowledged = load.end().await;
        trio.agree().await;
        for member in 0..3 {
            check_kept(trio.address(member), &acknowledged).await;
        }
    });
}

/// Progress at a revision promises that everything up to it has been told.
#[test]
fn issue_15220_progress_is_never_ahead_of_events() {
    let node = single();
    runtime().block_on(async {
        let first = put_soon(&node.address, "k/first", "").await;
        let load = Load::start(std::slice::from_ref(&node.address), 4);
        let mut watch = Watching::open(&node.address).await;
        watch.create(watch_from(first)).await;
        // What each watcher has been told of, and what it was promised.
        let mut told = BTreeMap::from([(0, first - 1)]);
        let (mut promised, mut promises, mut asked) = (0, 0, Instant::now());
        while promises < 60 {
            if asked.elapsed() > Duration::from_millis(5) {
                watch
                    .ask(RequestUnion::ProgressRequest(WatchProgressRequest {}))
                    .await;
                asked = Instant::now();
                if promises % 10 == 5 && told.len() < 7 {
                    // Another one, from the beginning: it takes a while to be synced.
                    watch.ask(RequestUnion::CreateRequest(watch_from(first))).await;
                }
            }
            let response = watch.next().await;
            let revision = response.header.unwrap().revision;
            if response.created {
                told.insert(response.watch_id, first - 1);
            } else if response.watch_id == -1 {
                assert!(revision >= promised);
                for (id, told) in &mut told {
                    assert!(
                        *told <= revision,
                        "watcher {id} heard of {told} before progress {revision}"
                    );
                    *told = revision;
                }
                (promised, promises) = (revision, promises + 1);
            } else {
                let told = told.get_mut(&response.watch_id).unwrap();
                for event in &response.events {
                    let at = event.kv.as_ref().unwrap().mod_revision;
                    assert!(
                        at > *told,
                        "event {at} after {told} of watcher {}",
                        response.watch_id
                    );
                    *told = at;
                }
            }
        }
        load.end().await;
    });
}

/// A follower that is brought up to date by a snapshot must not tell its watchers of the past again.
#[test]
fn issue_15271_a_watch_on_a_member_that_was_away_goes_on_where_it_was() {
    let trio = Trio::start(40);
    runtime().block_on(async {
        let first = put_soon(trio.address(0), "k/000", "v").await;
        let away = (trio.leader(0).await + 1) % 3;
        let via = (away + 1) % 3;
        put_soon(trio.address(away), "k/000", "v").await;
        let mut watch = Watching::open(trio.address(away)).await;
        watch.create(watch_from(first)).await;
        trio.pause(away, Duration::from_secs(3));
        for number in 1..300 {
            put_soon(trio.address(via), &format!("k/{number:03}"), "v").await;
        }
        let last = put_soon(trio.address(via), "k/last", "v").await;
        let mut next = first;
        while next <= last {
            let response = watch.next().await;
            for event in &response.events {
                let at = event.kv.as_ref().unwrap().mod_revision;
                assert_eq!(at, next, "in order, none twice, none missing");
                next += 1;
            }
        }
        trio.agree().await;
    });
}

/// Whatever a transaction reads and nests, each of its writes is one event.
#[test]
fn issue_17247_a_transaction_gives_each_of_its_events_once() {
    let node = single();
    runtime().block_on(async {
        let first = put_soon(&node.address, "k/0", "v").await;
        let op = |request| RequestOp {
            request: Some(request),
        };
        let put = |key: &str, value: &str| {
            op(Op::RequestPut(PutRequest {
                key: key.to_owned().into(),
                value: value.to_owned().into(),
                ..PutRequest::default()
            }))
        };
        let look = || {
            op(Op::RequestRange(RangeRequest {
                key: "k/".into(),
                range_end: "k0".into(),
                ..RangeRequest::default()
            }))
        };
        let mut now = Watching::open(&node.address).await;
        now.create(watch_from(0)).await;
        for round in 0..10 {
            let value = round.to_string();
            let nested = TxnRequest {
                success: vec![look(), put("k/2", &value), look()],
                ..TxnRequest::default()
            };
            let request = TxnRequest {
                success: vec![
                    put("k/1", &value),
                    look(),
                    op(Op::RequestTxn(nested)),
                    put("k/3", &value),
                ],
                ..TxnRequest::default()
            };
            kv(&node.address).txn(request).await.unwrap();
        }
        let mut past = Watching::open(&node.address).await;
        past.create(watch_from(first + 1)).await;
        for watch in [&mut now, &mut past] {
            let mut seen = Vec::new();
            while seen.len() < 30 {
                for event in watch.next().await.events {
                    let kv = event.kv.unwrap();
                    seen.push((kv.mod_revision - first, kv.key));
                }
            }
            let expected: Vec<_> = (1..=10)
                .flat_map(|round| ["k/1", "k/2", "k/3"].map(|key| (round, Bytes::from(key))))
                .collect();
            assert_eq!(seen, expected);
        }
    });
}

/// Watchers that come and fall behind while others write, on streams that nobody reads for a while.
#[test]
fn issue_17529_starved_watchers_are_told_of_every_event() {
    let node = single();
    runtime().block_on(async {
        let first = put_soon(&node.address, "k/first", "").await;
        let load = Load::start(std::slice::from_ref(&node.address), 4);
        // Each stream has watchers of all sorts, that join at any moment.
        let mut streams = Vec::new();
        for stream in 0..6 {
            let watch = Watching::open(&node.address).await;
            for number in 0..20_i64 {
                let mut create = watch_from(match number % 4 {
                    0 => first,
                    1 => first + number * 7,
                    2 => first + 150,
                    _ => first + 300 + number,
                });
                create.prev_kv = number % 3 == 0;
                create.fragment = number % 5 == 0;
                watch.ask(RequestUnion::CreateRequest(create)).await;
                if number % 6 == stream {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
            streams.push(watch);
        }
        // Enough for everyone's start to be in the past.
        let deadline = Instant::now() + PATIENCE;
        while get_prefix(&node.address, "k/").await.unwrap().count < 1500 {
            assert!(Instant::now() < deadline, "writes go on");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        load.end().await;
        let last = put(&node.address, "k/last", "").await.unwrap();
        for mut watch in streams {
            // The requests were answered in their order.
            let mut next: BTreeMap<i64, Option<i64>> = (0..20).map(|id| (id, None)).collect();
            while next.values().any(|next| *next != Some(last + 1)) {
                let response = watch.next().await;
                assert!(!response.canceled, "{response:?}");
                let next = next.get_mut(&response.watch_id).unwrap();
                for event in &response.events {
                    let at = event.kv.as_ref().unwrap().mod_revision;
                    // Every revision is an event of this range.
                    let start = match response.watch_id % 4 {
                        0 => first,
                        1 => first + response.watch_id * 7,
                        2 => first + 150,
                        _ => first + 300 + response.watch_id,
                    };
                    assert_eq!(at, next.unwrap_or(start), "watcher {}", response.watch_id);
                    *next = Some(at + 1);
                }
            }
        }
    });
}

/// When the newest revision is a tombstone that compaction removes, the count of revisions must not go back.
#[test]
fn issue_17780_revisions_go_on_after_compaction_and_a_crash() {
    let data = DataDir::Simulated(MemoryDisk::new(), Duration::ZERO);
    let config = MemberConfig::single("one", data, &free_address());
    runtime().block_on(async {
        let mut revision = 1;
        for _ in 0..3 {
            let node = Node::start(&config);
            let at = put_soon(&node.address, "k/1", "v").await;
            assert!(at > revision, "{at} after {revision}");
            let deleted = delete(&node.address, "k/1").await;
            assert_eq!(deleted, at + 1);
            compact(&node.address, deleted).await;
            // The removal from disk is done when a second compaction finds nothing left; either way the
            // acknowledged ones are in the log.
            let untouched = delete(&node.address, "nobody").await;
            assert_eq!(untouched, deleted);
            node.kill();
            revision = deleted;
        }
        let node = Node::start(&config);
        assert_eq!(put_soon(&node.address, "k/2", "v").await, revision + 1);
        let mut client = MaintenanceClient::new(channel(&node.address));
        let status = client.status(StatusRequest {}).await.unwrap().into_inner();
        assert_eq!(status.header.unwrap().revision, revision + 1);
    });
}

/// Compaction at the revision of a delete, seen by a watcher that is there and by one that begins there.
#[test]
fn issues_18089_and_19179_a_delete_at_the_compacted_revision_is_told() {
    let data = DataDir::Simulated(MemoryDisk::new(), Duration::ZERO);
    let config = MemberConfig::single("one", data, &free_address());
    let expect = async |address: &str, from: i64, deleted: i64| {
        let mut watch = Watching::open(address).await;
        watch.create(watch_from(from)).await;
        let event = watch.next().await.events.remove(0);
        assert_eq!(
            (event.r#type, event.kv.unwrap().mod_revision),
            (1, deleted),
            "from {from}"
        );
    };
    runtime().block_on(async {
        let node = Node::start(&config);
        put_soon(&node.address, "k/1", "v").await;
        let mut there = Watching::open(&node.address).await;
        there.create(watch_from(0)).await;
        let deleted = delete(&node.address, "k/1").await;
        compact(&node.address, deleted).await;
        let event = there.next().await.events.remove(0);
        assert_eq!((event.r#type, event.kv.unwrap().mod_revision), (1, deleted));
        // From the ring, whether or not the disk has been cleaned yet.
        expect(&node.address, deleted, deleted).await;
        node.kill();
        // Now from the disk.
        let node = Node::start(&config);
        put_soon(&node.address, "other", "v").await;
        expect(&node.address, deleted, deleted).await;
        // And when the disk has been cleaned by the next compaction, the one after.
        put(&node.address, "k/1", "v").await.unwrap();
        let deleted = delete(&node.address, "k/1").await;
        compact(&node.address, deleted - 1).await;
        expect(&node.address, deleted, deleted).await;
        compact(&node.address, deleted).await;
        node.kill();
        let node = Node::start(&config);
        put_soon(&node.address, "other", "v").await;
        expect(&node.address, deleted, deleted).await;
    });
}

/// A member that is given one snapshot after the other takes both.
#[test]
fn issue_18055_two_snapshots_in_a_row_are_taken() {
    let mut trio = Trio::start(30);
    runtime().block_on(async {
        put_soon(trio.address(0), "k/first", "v").await;
        let away = (trio.leader(0).await + 1) % 3;
        let via = (away + 1) % 3;
        let mut written = 1;
        for _ in 0..3 {
            trio.kill(away);
            for number in 0..150 {
                put_soon(trio.address(via), &format!("k/{written}/{number}"), "v").await;
            }
            written += 150;
            // No time to rest: it is taken down again as soon as it has caught up, or before.
            trio.restart(away);
            for number in 0..30 {
                put_soon(trio.address(via), &format!("k/{written}/{number}"), "v").await;
            }
            written += 30;
        }
        trio.agree().await;
        assert_eq!(get_prefix(trio.address(away), "k/").await.unwrap().count, written);
    });
}

/// A range at a compacted revision refuses the transaction on every member alike, whatever is left on its disk.
#[test]
fn issue_18667_a_transaction_that_reads_a_compacted_revision_changes_nothing_anywhere() {
    let trio = Trio::start(1000);
    runtime().block_on(async {
        let first = put_soon(trio.address(0), "k/1", "one").await;
        put_soon(trio.address(0), "k/1", "two").await;
        let third = put_soon(trio.address(0), "k/1", "three").await;
        compact(trio.address(0), third).await;
        let op = |request| RequestOp {
            request: Some(request),
        };
        for member in 0..3 {
            for revision in [first, third + 100] {
                let write = Op::RequestPut(PutRequest {
                    key: "k/2".into(),
                    ..PutRequest::default()
                });
                let read = Op::RequestRange(RangeRequest {
                    key: "k/1".into(),
                    revision,
                    ..RangeRequest::default()
                });
                let request = TxnRequest {
                    success: vec![op(write), op(read)],
                    ..TxnRequest::default()
                };
                let refused = kv(trio.address(member)).txn(request).await.unwrap_err();
                let expected = if revision == first {
                    "etcdserver: mvcc: required revision has been compacted"
                } else {
                    "etcdserver: mvcc: required revision is a future revision"
                };
                assert_eq!(refused.message(), expected);
            }
        }
        let next = put_soon(trio.address(0), "k/3", "v").await;
        assert_eq!(next, third + 1);
        trio.agree().await;
        for member in 0..3 {
            assert_eq!(get_prefix(trio.address(member), "k/2").await.unwrap().count, 0);
        }
    });
}

/// A watcher of the future hears nothing at all before its revision: no progress and no old events.
#[test]
fn issue_20221_a_watch_on_a_future_revision_is_silent_until_then() {
    let data = DataDir::Simulated(MemoryDisk::new(), Duration::ZERO);
    let node = Node::start(&MemberConfig {
        progress_interval: Duration::from_millis(50),
        ..MemberConfig::single("one", data, &free_address())
    });
    runtime().block_on(async {
        let now = put_soon(&node.address, "k/0", "v").await;
        let mut watch = Watching::open(&node.address).await;
        for start in [now + 5, 0] {
            let mut create = watch_from(start);
            create.progress_notify = true;
            assert!(watch.create(create).await.created);
        }
        let mut notices = 0;
        let mut written = now;
        let mut heard = Vec::new();
        while heard.len() < 3 {
            if notices % 3 == 2 && written < now + 7 {
                watch
                    .ask(RequestUnion::ProgressRequest(WatchProgressRequest {}))
                    .await;
                written = put(&node.address, "k/0", "v").await.unwrap();
            }
            let response = watch.next().await;
            match response.watch_id {
                0 if response.events.is_empty() => assert!(response.header.unwrap().revision >= now + 5),
                0 => heard.extend(
                    response
                        .events
                        .iter()
                        .map(|event| event.kv.as_ref().unwrap().mod_revision),
                ),
                -1 => assert!(response.header.unwrap().revision >= now + 5),
                _ => notices += 1,
            }
        }
        assert_eq!(heard, [now + 5, now + 6, now + 7]);
    });
}

/// A database that is killed at any moment, while versions are removed from it, opens again and is whole.
#[test]
fn issue_20271_a_store_killed_while_compacting_opens_whole() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::Directory(folder.path().join("data"), RocksOptions::default());
    let config = MemberConfig::single("one", data, &free_address());
    runtime().block_on(async {
        let mut all = BTreeMap::new();
        let mut compacted = 0;
        for _ in 0..4 {
            let node = Node::start(&config);
            let at = put_soon(&node.address, "begun", "").await;
            assert!(at > compacted);
            check_kept(&node.address, &all).await;
            let load = Load::start(std::slice::from_ref(&node.address), 6);
            for _ in 0..5 {
                load.goes_on_for(10).await;
                let revision = put_soon(&node.address, "mark", "").await;
                compact(&node.address, revision).await;
                compacted = revision;
            }
            node.kill();
            // Of this round alone: an unanswered write of it may have overwritten a key of the one before.
            all = load.end().await;
        }
    });
}

/// A leader that was stopped and continued doesn't know that it leads no more; a read that reaches it must not be
/// answered with what it knows.
#[test]
fn issue_20418_a_leader_that_was_paused_gives_no_stale_reads() {
    let trio = Trio::start(1000);
    runtime().block_on(async {
        put_soon(trio.address(0), "k/1", "old").await;
        for round in 0..3 {
            let leader = trio.leader(0).await;
            let via = (leader + 1) % 3;
            let read = async |value: String| {
                let mut client = kv(trio.address(leader));
                let request = RangeRequest {
                    key: "k/1".into(),
                    ..RangeRequest::default()
                };
                let answer = client.range(request).await;
                // It may have no answer, but not a wrong one.
                if let Ok(answer) = answer {
                    let answer = answer.into_inner();
                    assert_eq!(answer.kvs[0].value, value, "round {round}");
                }
            };
            // Connected before, so that the requests lie in its socket when it wakes.
            trio.status(leader).await.unwrap();
            trio.pause(leader, Duration::from_secs(2));
            let value = format!("new {round}");
            put_soon(trio.address(via), "k/1", &value).await;
            let reads = (0..10).map(|_| read(value.clone()));
            futures::future::join_all(reads).await;
        }
        trio.agree().await;
    });
}
