//! Quota, compaction and failing disks, on a cluster of one.

use super::harness::{Node, PATIENCE, channel, kv, put, put_soon, until};
use super::trio::Trio;
use kvstore_server::{AutoCompaction, DataDir, Member, MemberConfig};
use kvstore_storage::MemoryDisk;
use proto::etcdserverpb::alarm_request::AlarmAction;
use proto::etcdserverpb::downgrade_request::DowngradeAction;
use proto::etcdserverpb::lease_client::LeaseClient;
use proto::etcdserverpb::maintenance_client::MaintenanceClient;
use proto::etcdserverpb::request_op::Request;
use proto::etcdserverpb::{
    AlarmMember, AlarmRequest, AlarmType, CompactionRequest, DefragmentRequest, DeleteRangeRequest,
    DowngradeRequest, HashKvRequest, HashRequest, LeaseGrantRequest, PutRequest, RequestOp, StatusRequest,
    StatusResponse, TxnRequest,
};
use std::time::{Duration, Instant};
use support::Env;
use test_ports::free_address;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic::transport::Channel;

const NO_SPACE: &str = "etcdserver: mvcc: database space exceeded";

fn config(disk: &MemoryDisk) -> MemberConfig {
    let data = DataDir::Simulated(disk.clone(), Duration::ZERO);
    MemberConfig::single("one", data, &free_address())
}

fn maintenance(address: &str) -> MaintenanceClient<Channel> {
    MaintenanceClient::new(channel(address))
}

async fn status(address: &str) -> StatusResponse {
    let status = maintenance(address).status(StatusRequest {}).await;
    status.unwrap().into_inner()
}

pub async fn alarms(address: &str) -> Vec<AlarmMember> {
    let list = maintenance(address).alarm(AlarmRequest::default()).await;
    list.unwrap().into_inner().alarms
}

async fn no_alarms(address: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !alarms(address).await.is_empty() {
        assert!(Instant::now() < deadline, "the alarm stays");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Writes one key over and over until the store takes no more; gives the last revision.
async fn fill(address: &str) -> i64 {
    let value = "x".repeat(2048);
    let mut revision = put_soon(address, "key", "").await;
    loop {
        match put(address, "key", &value).await {
            Ok(now) => revision = now,
            Err(status) => {
                assert_eq!(status.message(), NO_SPACE);
                assert_eq!(status.code(), tonic::Code::ResourceExhausted);
                return revision;
            }
        }
    }
}

async fn compact(address: &str, revision: i64) {
    let request = CompactionRequest {
        revision,
        physical: true,
    };
    kv(address).compact(request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_store_refuses_what_grows_it_and_recovers_by_itself_after_compaction() {
    let node = Node::start(&MemberConfig {
        quota_bytes: 100_000,
        ..config(&MemoryDisk::new())
    });
    let address = &node.address;
    let last = fill(address).await;
    let full = status(address).await;
    assert!(
        full.db_size_in_use > 90_000 && full.db_size_in_use < 100_000,
        "{full:?}"
    );
    assert!(
        full.db_size > full.db_size_in_use,
        "the log and copies are on disk too"
    );
    assert_eq!(full.db_size_quota, 100_000);
    assert_eq!(full.errors.len(), 1);
    let member_id = full.header.unwrap().member_id;
    let alarm = AlarmType::Nospace as i32;
    assert_eq!(alarms(address).await, [AlarmMember { member_id, alarm }]);
    // What grows it is refused, whatever its way in.
    let op = |request| RequestOp {
        request: Some(request),
    };
    let txn = |success| TxnRequest {
        success: vec![success],
        ..TxnRequest::default()
    };
    let write = txn(op(Request::RequestPut(PutRequest {
        key: "k".into(),
        ..PutRequest::default()
    })));
    assert_eq!(kv(address).txn(write).await.unwrap_err().message(), NO_SPACE);
    let mut leases = LeaseClient::new(channel(address));
    let grant = leases.lease_grant(LeaseGrantRequest { id: 0, ttl: 60 }).await;
    assert_eq!(grant.unwrap_err().message(), NO_SPACE);
    // What doesn't is taken.
    let delete = DeleteRangeRequest {
        key: "other".into(),
        ..DeleteRangeRequest::default()
    };
    kv(address).delete_range(delete.clone()).await.unwrap();
    let delete = txn(op(Request::RequestDeleteRange(delete)));
    kv(address).txn(delete).await.unwrap();
    compact(address, last).await;
    assert!(status(address).await.db_size_in_use < 10_000);
    no_alarms(address).await;
    put(address, "key", "there is room again").await.unwrap();
    assert!(status(address).await.errors.is_empty());
}

/// etcd `tests/integration/v3_alarm_test.go`, `TestV3StorageQuotaApply`: nobody asks the one whose quota is small.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_whose_quota_others_have_filled_says_so() {
    let trio = Trio::start_each(1000, |member, config| MemberConfig {
        quota_bytes: if member == 0 { 64 << 10 } else { 0 },
        ..config
    });
    let (small, large) = (trio.address(0), trio.address(1));
    put_soon(small, "key", &"x".repeat(1024)).await;
    assert!(alarms(small).await.is_empty());
    put_soon(large, "key", &"x".repeat(64 << 10)).await;
    let raised = until("a member says that the store is full", async || {
        Some(alarms(large).await).filter(|raised| !raised.is_empty())
    })
    .await;
    let member_id = status(small).await.header.unwrap().member_id;
    let alarm = AlarmType::Nospace as i32;
    assert_eq!(raised, [AlarmMember { member_id, alarm }]);
    for address in [small, large] {
        assert_eq!(put(address, "key", "").await.unwrap_err().message(), NO_SPACE);
    }
    // Stopping blocks.
    tokio::task::spawn_blocking(move || drop(trio)).await.unwrap();
}

/// etcd `tests/common/auth_test.go`, `TestAuthAlarm`: a quota of a few values.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alarm_stays_as_long_as_what_was_refused_does_not_fit() {
    let node = Node::start(&MemberConfig {
        quota_bytes: 5 * 1024,
        ..config(&MemoryDisk::new())
    });
    let address = &node.address;
    let value = "A".repeat(1024);
    put_soon(address, "0", &value).await;
    let mut number = 0;
    while put(address, &number.to_string(), &value).await.is_ok() {
        number += 1;
        assert!(number < 9, "the quota is small");
    }
    let raised = alarms(address).await;
    assert_eq!(raised.len(), 1);
    // Longer than it takes to look for room.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(alarms(address).await, raised);
    let disarm = AlarmRequest {
        action: AlarmAction::Deactivate as i32,
        member_id: raised[0].member_id,
        alarm: raised[0].alarm,
    };
    let disarmed = maintenance(address).alarm(disarm).await.unwrap().into_inner();
    assert_eq!(disarmed.alarms, raised);
    assert!(alarms(address).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_higher_quota_clears_the_alarm_and_none_never_raises_it() {
    let disk = MemoryDisk::new();
    let small = MemberConfig {
        quota_bytes: 30_000,
        ..config(&disk)
    };
    let node = Node::start(&small);
    let last = fill(&node.address).await;
    // Stopping blocks.
    tokio::task::spawn_blocking(move || node.stop()).await.unwrap();
    let node = Node::start(&MemberConfig {
        quota_bytes: 0,
        ..small
    });
    assert_eq!(put_soon(&node.address, "key", "more").await, last + 1);
    no_alarms(&node.address).await;
    assert_eq!(status(&node.address).await.db_size_quota, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alarm_raised_by_hand_stays_until_it_is_disarmed() {
    let node = Node::start(&config(&MemoryDisk::new()));
    let address = &node.address;
    put_soon(address, "key", "").await;
    let request = |action: AlarmAction| AlarmRequest {
        action: action as i32,
        member_id: 0,
        alarm: AlarmType::Nospace as i32,
    };
    maintenance(address)
        .alarm(request(AlarmAction::Activate))
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(put(address, "key", "").await.unwrap_err().message(), NO_SPACE);
    maintenance(address)
        .alarm(request(AlarmAction::Deactivate))
        .await
        .unwrap();
    put(address, "key", "").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hashes_of_the_past_and_a_defragmentation_are_answered_while_it_serves() {
    let node = Node::start(&config(&MemoryDisk::new()));
    let address = &node.address;
    let then = put_soon(address, "a", "1").await;
    let hash_kv = |revision| async move {
        let answer = maintenance(address).hash_kv(HashKvRequest { revision }).await;
        answer.map(tonic::Response::into_inner)
    };
    let before = hash_kv(0).await.unwrap();
    put(address, "a", "2").await.unwrap();
    let after = hash_kv(then).await.unwrap();
    assert_eq!((after.hash, after.hash_revision), (before.hash, then));
    assert_eq!(after.header.unwrap().revision, then + 1);
    assert_ne!(hash_kv(0).await.unwrap().hash, before.hash);
    // etcd `tests/common/hashkv_test.go`: a compaction changes nothing of the hash at its revision.
    let uncompacted = hash_kv(then + 1).await.unwrap();
    let future = hash_kv(then + 9).await.unwrap_err();
    assert_eq!(
        future.message(),
        "etcdserver: mvcc: required revision is a future revision"
    );
    compact(address, then + 1).await;
    let compacted = hash_kv(then).await.unwrap_err();
    assert_eq!(
        compacted.message(),
        "etcdserver: mvcc: required revision has been compacted"
    );
    assert_eq!(hash_kv(0).await.unwrap().compact_revision, then + 1);
    // etcd `tests/integration/clientv3/maintenance_test.go`, `TestCompactionHash`: nor of what is told with it.
    assert_eq!(hash_kv(then + 1).await.unwrap(), uncompacted);
    maintenance(address).hash(HashRequest {}).await.unwrap();
    maintenance(address)
        .defragment(DefragmentRequest {})
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_revisions_go_by_themselves() {
    let node = Node::start(&MemberConfig {
        auto_compaction: AutoCompaction::Periodic(Duration::from_secs(1)),
        ..config(&MemoryDisk::new())
    });
    let address = &node.address;
    let first = put_soon(address, "key", "1").await;
    let deadline = Instant::now() + PATIENCE;
    loop {
        put(address, "key", "again").await.unwrap();
        let old = maintenance(address)
            .hash_kv(HashKvRequest { revision: first })
            .await;
        if old.is_err_and(|status| status.message().contains("compacted")) {
            return;
        }
        assert!(Instant::now() < deadline, "nothing was compacted");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_ends_the_member_and_what_was_acknowledged_is_there_after_a_restart() {
    let disk = MemoryDisk::new();
    let config = config(&disk);
    let member = Member::new(config.clone(), Env::production()).unwrap();
    let running = tokio::spawn(member.run(CancellationToken::new()));
    let address = &config.client_listen[0];
    let mut last = put_soon(address, "key", "").await;
    disk.limit(Some(disk.used() + 40_000));
    let value = "x".repeat(1024);
    loop {
        let attempt = tokio::time::timeout(Duration::from_secs(10), put(address, "key", &value)).await;
        match attempt {
            Ok(Ok(revision)) => last = revision,
            _ => break,
        }
    }
    let ended = tokio::time::timeout(PATIENCE, running).await;
    let error = ended.expect("it ends").unwrap().expect_err("with an error");
    assert!(error.to_string().contains("No space left on device"), "{error}");
    disk.heal();
    let node = Node::start(&config);
    assert!(put_soon(&node.address, "key", "").await > last);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_can_not_be_read_ends_the_member() {
    let disk = MemoryDisk::new();
    let config = config(&disk);
    let member = Member::new(config.clone(), Env::production()).unwrap();
    let running = tokio::spawn(member.run(CancellationToken::new()));
    put_soon(&config.client_listen[0], "key", "").await;
    disk.fail_reads();
    let ended = tokio::time::timeout(PATIENCE, running).await;
    let error = ended.expect("it ends").unwrap().expect_err("with an error");
    assert!(error.to_string().contains("failure of a read"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_downgrade_is_judged_as_etcd_does_and_never_begun() {
    let node = Node::start(&config(&MemoryDisk::new()));
    put_soon(&node.address, "key", "").await;
    let ask = |action: i32, version: &str| {
        let request = DowngradeRequest {
            action,
            version: version.to_owned(),
        };
        async {
            let answer = maintenance(&node.address).downgrade(request).await;
            answer
                .map(|answer| answer.into_inner().version)
                .map_err(|status| (status.code(), status.message().to_owned()))
        }
    };
    let validate = DowngradeAction::Validate as i32;
    assert_eq!(ask(validate, "3.5").await, Ok("3.6".to_owned()));
    assert_eq!(ask(validate, "3.5.24").await, Ok("3.6".to_owned()));
    let wrong = |text: &str| Err((Code::InvalidArgument, format!("etcdserver: {text}")));
    for version in ["3.4", "3.6", "4.5"] {
        assert_eq!(
            ask(validate, version).await,
            wrong("invalid downgrade target version")
        );
    }
    assert_eq!(
        ask(validate, "old").await,
        wrong("wrong downgrade target version format")
    );
    let enable = DowngradeAction::Enable as i32;
    assert_eq!(
        ask(enable, "3.7").await,
        wrong("invalid downgrade target version")
    );
    let (code, why) = ask(enable, "3.5").await.unwrap_err();
    assert_eq!(code, Code::FailedPrecondition);
    assert!(why.contains("snapshot"), "{why}");
    assert_eq!(
        ask(DowngradeAction::Cancel as i32, "").await,
        Ok("3.6".to_owned())
    );
    assert_eq!(
        ask(7, "3.5").await,
        Err((Code::Unknown, "etcdserver: unknown method".to_owned()))
    );
    let info = status(&node.address).await.downgrade_info.unwrap();
    assert!(!info.enabled);
}
