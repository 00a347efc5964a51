//! Locks and elections over gRPC, and those of etcdctl.

use super::harness::{Node, PATIENCE, channel, get_prefix, put_soon, runtime, single};
use proto::etcdserverpb::lease_client::LeaseClient;
use proto::etcdserverpb::{LeaseGrantRequest, LeaseRevokeRequest};
use proto::v3electionpb::election_client::ElectionClient;
use proto::v3electionpb::{CampaignRequest, LeaderRequest, ProclaimRequest, ResignRequest};
use proto::v3lockpb::lock_client::LockClient;
use proto::v3lockpb::{LockRequest, LockResponse, UnlockRequest};
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tonic::{Code, Status};

async fn grant(node: &Node, ttl: i64) -> i64 {
    let request = LeaseGrantRequest { ttl, id: 0 };
    let mut leases = LeaseClient::new(channel(&node.address));
    leases.lease_grant(request).await.unwrap().into_inner().id
}

async fn revoke(node: &Node, id: i64) {
    let mut leases = LeaseClient::new(channel(&node.address));
    leases.lease_revoke(LeaseRevokeRequest { id }).await.unwrap();
}

fn lock(node: &Node, lease: i64) -> JoinHandle<Result<LockResponse, Status>> {
    let mut locks = LockClient::new(channel(&node.address));
    tokio::spawn(async move {
        let request = LockRequest {
            name: "lock".into(),
            lease,
        };
        let locked = tokio::time::timeout(PATIENCE, locks.lock(request)).await;
        Ok(locked.expect("the lock is had in time")?.into_inner())
    })
}

async fn unlock(node: &Node, held: &LockResponse) {
    let request = UnlockRequest {
        key: held.key.clone(),
    };
    let mut locks = LockClient::new(channel(&node.address));
    locks.unlock(request).await.unwrap();
}

/// Waits until so many contestants are there.
async fn contestants(node: &Node, prefix: &str, expected: i64) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let count = get_prefix(&node.address, prefix).await.unwrap().count;
        if count == expected {
            return;
        }
        assert!(Instant::now() < deadline, "{count} contestants, not {expected}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[test]
fn waiters_get_the_lock_in_their_order() {
    let node = single();
    runtime().block_on(async {
        put_soon(&node.address, "ready", "").await;
        let leases = [
            grant(&node, 600).await,
            grant(&node, 600).await,
            grant(&node, 600).await,
        ];
        let first = lock(&node, leases[0]).await.unwrap().unwrap();
        assert_eq!(first.key, format!("lock/{:x}", leases[0]));
        let second = lock(&node, leases[1]);
        contestants(&node, "lock/", 2).await;
        let third = lock(&node, leases[2]);
        contestants(&node, "lock/", 3).await;
        assert!(!second.is_finished() && !third.is_finished());
        unlock(&node, &first).await;
        let second = second.await.unwrap().unwrap();
        assert!(!third.is_finished());
        // A holder that goes with its lease makes way too.
        revoke(&node, leases[1]).await;
        let third = third.await.unwrap().unwrap();
        // Each later holder has a later revision: the fence.
        let created = get_prefix(&node.address, "lock/").await.unwrap().kvs[0].create_revision;
        let fence = |held: &LockResponse| held.header.as_ref().unwrap().revision;
        assert!(fence(&first) < created && created < fence(&third));
        assert!(fence(&second) < fence(&third));
        // Who holds it has it at once.
        let again = lock(&node, leases[2]).await.unwrap().unwrap();
        assert_eq!(again.key, third.key);
    });
}

#[test]
fn a_waiter_whose_lease_is_over_is_told() {
    let node = single();
    runtime().block_on(async {
        put_soon(&node.address, "ready", "").await;
        let (holder, waiter) = (grant(&node, 600).await, grant(&node, 2).await);
        let held = lock(&node, holder).await.unwrap().unwrap();
        let waiting = lock(&node, waiter);
        let refused = waiting.await.unwrap().unwrap_err();
        assert_eq!(
            (refused.code(), refused.message()),
            (Code::Unknown, "mutex: session is expired")
        );
        let missing = lock(&node, waiter).await.unwrap().unwrap_err();
        assert_eq!(missing.message(), "etcdserver: requested lease not found");
        unlock(&node, &held).await;
        // Without a lease of one's own there is one of a minute.
        let held = lock(&node, 0).await.unwrap().unwrap();
        assert!(held.key.starts_with(b"lock/"));
    });
}

#[test]
fn a_waiter_that_goes_away_leaves_the_queue() {
    let node = single();
    runtime().block_on(async {
        put_soon(&node.address, "ready", "").await;
        let held = lock(&node, 0).await.unwrap().unwrap();
        let (gone, patient) = (lock(&node, 0), lock(&node, 0));
        contestants(&node, "lock/", 3).await;
        gone.abort();
        contestants(&node, "lock/", 2).await;
        unlock(&node, &held).await;
        patient.await.unwrap().unwrap();
    });
}

#[test]
fn an_observer_sees_each_leader() {
    let node = single();
    runtime().block_on(async {
        put_soon(&node.address, "ready", "").await;
        let elections = ElectionClient::new(channel(&node.address));
        let who = || LeaderRequest { name: "post".into() };
        let nobody = elections.clone().leader(who()).await.unwrap_err();
        assert_eq!(nobody.message(), "election: no leader");
        let mut observing = elections.clone();
        let observing = tokio::spawn(async move {
            let mut leaders = observing.observe(who()).await.unwrap().into_inner();
            let mut seen = Vec::new();
            while seen.len() < 3 {
                let next = tokio::time::timeout(PATIENCE, leaders.message()).await.unwrap();
                seen.push(next.unwrap().unwrap().kv.unwrap().value);
            }
            seen
        });
        let campaign = async |value: &str, lease: i64| {
            let request = CampaignRequest {
                name: "post".into(),
                lease,
                value: value.to_owned().into(),
            };
            let won = tokio::time::timeout(PATIENCE, elections.clone().campaign(request)).await;
            won.unwrap().unwrap().into_inner().leader.unwrap()
        };
        let first = campaign("one", 0).await;
        let lease = grant(&node, 600).await;
        // The observer must have seen the first before it changes: it is told of the present only.
        let watched = async {
            let deadline = Instant::now() + PATIENCE;
            let text = async || super::http_client::get(&node.address, "/metrics").await.body;
            while !text().await.contains("\netcd_debugging_mvcc_watcher_total 1\n") {
                assert!(Instant::now() < deadline, "nobody watches the leader");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        watched.await;
        let proclaim = ProclaimRequest {
            leader: Some(first.clone()),
            value: "uno".into(),
        };
        elections.clone().proclaim(proclaim.clone()).await.unwrap();
        let (second, ()) = tokio::join!(campaign("two", lease), async {
            contestants(&node, "post/", 2).await;
            let resign = ResignRequest {
                leader: Some(first.clone()),
            };
            elections.clone().resign(resign).await.unwrap();
        });
        assert!(second.rev > first.rev && second.lease == lease);
        assert_eq!(observing.await.unwrap(), ["one", "uno", "two"]);
        let late = elections.clone().proclaim(proclaim).await.unwrap_err();
        assert_eq!(late.message(), "election: not leader");
        let leader = elections.clone().leader(who()).await.unwrap().into_inner();
        assert_eq!(leader.kv.unwrap().value, "two");
    });
}

#[test]
fn etcdctl_locks_and_elects() {
    let node = single();
    let etcdctl = |args: &[&str]| {
        let mut command = Command::new("etcdctl");
        command
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &node.address, "--dial-timeout", "30s"])
            .args(args);
        command
    };
    let output = etcdctl(&["lock", "l", "echo", "held"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "held\n", "{output:?}");
    // An election is held until it is interrupted.
    let mut elect = etcdctl(&["elect", "e", "me"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(elect.stdout.take().unwrap()).lines();
    let key = lines.next().unwrap().unwrap();
    assert!(key.starts_with("e/"), "{key}");
    assert_eq!(lines.next().unwrap().unwrap(), "me");
    let leader = runtime().block_on(async {
        let mut elections = ElectionClient::new(channel(&node.address));
        let request = LeaderRequest { name: "e".into() };
        elections.leader(request).await.unwrap().into_inner()
    });
    assert_eq!(leader.kv.unwrap().key, key);
    elect.kill().unwrap();
    elect.wait().unwrap();
}
