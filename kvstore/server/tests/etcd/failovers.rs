//! What clients of a follower are told when the leader dies.

use super::harness::{PATIENCE, channel, get_prefix, kv, put, put_soon, until};
use super::trio::Trio;
use kvstore_server::{ClusterPeer, DataDir, Member, MemberConfig, member_id};
use kvstore_storage::MemoryDisk;
use proto::etcdserverpb::lease_client::LeaseClient;
use proto::etcdserverpb::maintenance_client::MaintenanceClient;
use proto::etcdserverpb::{LeaseGrantRequest, LeaseKeepAliveRequest, PutRequest, StatusRequest};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use support::Env;
use test_ports::free_address;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

/// Clients that write at once.
const WRITERS: usize = 16;

/// Three members that serve, which of them leads, and another one to ask.
async fn led() -> (Trio, usize, usize) {
    let trio = Trio::start(1000);
    put_soon(trio.address(0), "k", "v").await;
    let leader = trio.leader(0).await;
    let via = (leader + 1) % 3;
    put_soon(trio.address(via), "k", "v").await;
    (trio, leader, via)
}

/// Waits until so much was counted.
async fn reached(counter: &AtomicUsize, wanted: usize) {
    until("clients are answered", async || {
        (counter.load(Ordering::Relaxed) >= wanted).then_some(())
    })
    .await;
}

/// etcd `server/etcdserver/server.go`, `parseProposeCtxErr`: who is told of a failure is told of the leader's, and
/// only once it is known; what was written is acknowledged by the member that sent it, whoever leads by then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_under_way_to_a_leader_that_dies_are_settled_under_the_next() {
    let (mut trio, leader, via) = led().await;
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
    reached(&written, 10 * WRITERS).await;
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
    let (mut trio, leader, via) = led().await;
    let gone = (leader + 2) % 3;
    trio.kill(leader);
    trio.kill(gone);
    let refused = put(trio.address(via), "k", "late").await.unwrap_err();
    assert_eq!(refused.message(), "etcdserver: request timed out");
}

/// etcd `server/etcdserver/read/read.go`: a read waits for no leader that was replaced.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_does_not_wait_for_a_leader_that_hangs() {
    let (trio, leader, via) = led().await;
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

/// What is under way to a leader when it dies is for the next one: a client gives a lease up for any other answer
/// (etcd `tests/integration/v3_lease_test.go`, `TestV3LeaseKeepAliveForwardingCatchError`).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_are_kept_through_a_follower_whose_leader_dies() {
    let (mut trio, leader, via) = led().await;
    let (lost, renewed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut keepers = Vec::new();
    for id in (1..).take(WRITERS) {
        let (lost, renewed) = (Arc::clone(&lost), Arc::clone(&renewed));
        let address = trio.address(via).to_owned();
        keepers.push(tokio::spawn(async move {
            let mut leases = LeaseClient::new(channel(&address));
            leases
                .lease_grant(LeaseGrantRequest { id, ttl: 60 })
                .await
                .unwrap();
            let ask = move || LeaseKeepAliveRequest { id };
            let (requests, asked) = mpsc::channel(1);
            requests.send(ask()).await.unwrap();
            let answers = leases.lease_keep_alive(ReceiverStream::new(asked)).await;
            let mut answers = answers.unwrap().into_inner();
            loop {
                // One more after the leader is gone.
                let last = lost.load(Ordering::Relaxed);
                assert_eq!(answers.message().await.unwrap().unwrap().ttl, 60);
                renewed.fetch_add(1, Ordering::Relaxed);
                if last {
                    break;
                }
                requests.send(ask()).await.unwrap();
            }
        }));
    }
    reached(&renewed, 10 * WRITERS).await;
    trio.kill(leader);
    lost.store(true, Ordering::Relaxed);
    for keeper in keepers {
        keeper.await.unwrap();
    }
}

/// A leader that nobody follows has nobody to give its place to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_left_alone_stops_at_once() {
    let names = ["one", "two", "three"];
    let peers = names.map(|name| ClusterPeer::new(name, format!("http://{}", free_address())));
    let configs = peers.clone().map(|peer| MemberConfig {
        peer_listen: Some(peer.peer_urls[0].trim_start_matches("http://").to_owned()),
        initial_cluster: peers.to_vec(),
        ..MemberConfig::single(
            &peer.name,
            DataDir::Simulated(MemoryDisk::new(), Duration::ZERO),
            &free_address(),
        )
    });
    let mut running = configs
        .iter()
        .map(|config| {
            let stop = CancellationToken::new();
            let member = Member::new(config.clone(), Env::production()).unwrap();
            Some((tokio::spawn(member.run(stop.clone())), stop))
        })
        .collect::<Vec<_>>();
    put_soon(&configs[0].client_listen[0], "k", "v").await;
    let leader_via = async |at: usize| {
        let mut client = MaintenanceClient::new(channel(&configs[at].client_listen[0]));
        client.status(StatusRequest {}).await.unwrap().into_inner().leader
    };
    let id = |at: usize| member_id(&configs[at].cluster_token, &configs[at].initial_cluster[at]);
    let known = leader_via(0).await;
    let leader = (0..3).find(|at| id(*at) == known).unwrap();
    for follower in (0..3).filter(|at| *at != leader) {
        let (member, stop) = running[follower].take().unwrap();
        stop.cancel();
        member.await.unwrap().unwrap();
    }
    let deadline = Instant::now() + PATIENCE;
    while leader_via(leader).await != 0 {
        assert!(Instant::now() < deadline, "it believes to lead");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (member, stop) = running[leader].take().unwrap();
    let begun = Instant::now();
    stop.cancel();
    member.await.unwrap().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}
