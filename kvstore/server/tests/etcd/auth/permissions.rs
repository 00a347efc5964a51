//! What users may do with keys, members and maintenance.

use super::client::{BAD_TOKEN, Client, DENIED, NOBODY, guarded, refused};
use proto::authpb::permission::Type;
use proto::etcdserverpb::alarm_request::AlarmAction;
use proto::etcdserverpb::request_op::Request as Op;
use proto::etcdserverpb::{
    AlarmRequest, CompactionRequest, Compare, DefragmentRequest, DeleteRangeRequest, HashKvRequest,
    MemberAddRequest, MemberListRequest, MemberRemoveRequest, MoveLeaderRequest, PutRequest, RangeRequest,
    RequestOp, StatusRequest, TxnRequest,
};
use tonic::Status;

#[test]
fn a_role_is_changed_under_a_user_who_works() {
    guarded(async |store| {
        refused(store.alice.put("hoo", "bar").await, DENIED);
        store
            .root
            .allow("role", Type::Readwrite, "hoo", "")
            .await
            .unwrap();
        store.alice.put("hoo", "bar").await.unwrap();
        assert_eq!(store.alice.get("hoo", "").await.unwrap(), ["bar"]);
        store.root.forbid("role", "hoo", "").await.unwrap();
        refused(store.alice.put("hoo", "bar").await, DENIED);
        assert_eq!(store.alice.get("foo", "").await.unwrap(), ["bar"]);
        store.root.add_role("second").await.unwrap();
        store
            .root
            .allow("second", Type::Readwrite, "hoo", "")
            .await
            .unwrap();
        store.root.grant("alice", "second").await.unwrap();
        store.alice.put("hoo", "again").await.unwrap();
        store.root.revoke("alice", "role").await.unwrap();
        refused(store.alice.put("foo", "bar").await, DENIED);
        assert_eq!(store.alice.get("hoo", "").await.unwrap(), ["again"]);
    });
}

#[test]
fn a_prefix_is_granted() {
    guarded(async |store| {
        store
            .root
            .allow("role", Type::Readwrite, "/p/", "/p0")
            .await
            .unwrap();
        for number in 0..5 {
            store.alice.put(&format!("/p/{number}"), "v").await.unwrap();
        }
        assert_eq!(store.alice.get("/p/", "/p0").await.unwrap().len(), 5);
        refused(store.alice.get("/p/", "/p1").await, DENIED);
        refused(store.alice.get("/p/", "\0").await, DENIED);
        refused(store.alice.put("/q", "v").await, DENIED);
        assert_eq!(store.alice.delete("/p/", "/p0").await.unwrap(), 5);
        refused(store.alice.delete("/p/", "\0").await, DENIED);
    });
}

async fn txn(client: &Client, compare: &str, then: Op, otherwise: Op) -> Result<bool, Status> {
    let request = TxnRequest {
        compare: vec![Compare {
            key: compare.to_owned().into(),
            ..Compare::default()
        }],
        success: vec![RequestOp { request: Some(then) }],
        failure: vec![RequestOp {
            request: Some(otherwise),
        }],
    };
    let answer = client.kv().txn(client.say(request)).await?;
    Ok(answer.into_inner().succeeded)
}

fn get(key: &str) -> Op {
    Op::RequestRange(RangeRequest {
        key: key.to_owned().into(),
        ..RangeRequest::default()
    })
}

fn put(key: &str) -> Op {
    Op::RequestPut(PutRequest {
        key: key.to_owned().into(),
        ..PutRequest::default()
    })
}

#[test]
fn a_transaction_needs_every_permission_in_it() {
    guarded(async |store| {
        for key in ["c1", "s1", "f1", "c2", "s2", "f2"] {
            store.root.put(key, "v").await.unwrap();
        }
        for key in ["c1", "s1", "f1"] {
            store.root.allow("role", Type::Read, key, "").await.unwrap();
        }
        store.root.allow("role", Type::Write, "s1w", "").await.unwrap();
        let alice = &store.alice;
        assert!(!txn(alice, "c1", get("s1"), get("f1")).await.unwrap());
        assert!(!txn(alice, "c1", put("s1w"), get("f1")).await.unwrap());
        refused(txn(alice, "c2", get("s1"), get("f1")).await, DENIED);
        refused(txn(alice, "c1", get("s2"), get("f1")).await, DENIED);
        refused(txn(alice, "c1", get("s1"), get("f2")).await, DENIED);
        refused(txn(alice, "c1", put("s1"), get("f1")).await, DENIED);
        refused(txn(alice, "c1", get("s1"), put("f1")).await, DENIED);
        refused(txn(&store.nobody, "c1", get("s1"), get("f1")).await, NOBODY);
        refused(txn(&store.nobody, "c1", put("s1"), get("f1")).await, NOBODY);
        refused(
            txn(&alice.with_token("x"), "c1", get("s1"), get("f1")).await,
            BAD_TOKEN,
        );
    });
}

#[test]
fn what_comes_back_of_a_write_has_to_be_readable() {
    guarded(async |store| {
        store.root.allow("role", Type::Write, "w", "").await.unwrap();
        let alice = &store.alice;
        let put = |prev_kv| PutRequest {
            key: "w".into(),
            prev_kv,
            ..PutRequest::default()
        };
        alice.kv().put(alice.say(put(false))).await.unwrap();
        refused(alice.kv().put(alice.say(put(true))).await, DENIED);
        let delete = |prev_kv| DeleteRangeRequest {
            key: "w".into(),
            prev_kv,
            ..DeleteRangeRequest::default()
        };
        refused(alice.kv().delete_range(alice.say(delete(true))).await, DENIED);
        alice.kv().delete_range(alice.say(delete(false))).await.unwrap();
    });
}

#[test]
fn a_stream_of_a_range_is_guarded_too() {
    guarded(async |store| {
        let request = RangeRequest {
            key: "foo".into(),
            ..RangeRequest::default()
        };
        let alice = &store.alice;
        let mut chunks = alice
            .kv()
            .range_stream(alice.say(request.clone()))
            .await
            .unwrap()
            .into_inner();
        assert!(chunks.message().await.unwrap().is_some());
        let other = RangeRequest {
            range_end: "\0".into(),
            ..request.clone()
        };
        refused(
            alice.kv().range_stream(alice.say(other)).await.map(|_| ()),
            DENIED,
        );
        refused(store.nobody.kv().range_stream(request).await.map(|_| ()), NOBODY);
    });
}

#[test]
fn only_root_compacts_and_maintains() {
    guarded(async |store| {
        let compaction = |revision| CompactionRequest {
            revision,
            physical: false,
        };
        for (client, expected) in [
            (&store.nobody, NOBODY),
            (&store.alice, DENIED),
            (&store.alice.with_token("forged.1"), BAD_TOKEN),
        ] {
            refused(client.kv().compact(client.say(compaction(2))).await, expected);
            let mut maintenance = client.maintenance();
            refused(
                maintenance.defragment(client.say(DefragmentRequest {})).await,
                expected,
            );
            let hash = HashKvRequest { revision: 0 };
            refused(maintenance.hash_kv(client.say(hash)).await, expected);
            let transfer = MoveLeaderRequest { target_id: 1 };
            refused(maintenance.move_leader(client.say(transfer)).await, expected);
            let alarm = AlarmRequest {
                action: AlarmAction::Deactivate as i32,
                ..AlarmRequest::default()
            };
            refused(maintenance.alarm(client.say(alarm)).await, expected);
            let mut cluster = client.cluster();
            let add = MemberAddRequest::default();
            refused(cluster.member_add(client.say(add)).await, expected);
            let remove = MemberRemoveRequest { id: 1 };
            refused(cluster.member_remove(client.say(remove)).await, expected);
        }
        let root = &store.root;
        root.kv().compact(root.say(compaction(2))).await.unwrap();
        let mut maintenance = root.maintenance();
        maintenance
            .defragment(root.say(DefragmentRequest {}))
            .await
            .unwrap();
        let hash = HashKvRequest { revision: 0 };
        maintenance.hash_kv(root.say(hash)).await.unwrap();
    });
}

#[test]
fn every_user_sees_members_alarms_and_status() {
    guarded(async |store| {
        let alice = &store.alice;
        let list = MemberListRequest { linearizable: true };
        let members = alice.cluster().member_list(alice.say(list)).await.unwrap();
        assert_eq!(members.into_inner().members.len(), 1);
        let alarms = AlarmRequest::default();
        alice.maintenance().alarm(alice.say(alarms)).await.unwrap();
        alice
            .maintenance()
            .status(alice.say(StatusRequest {}))
            .await
            .unwrap();
        let nobody = &store.nobody;
        refused(nobody.cluster().member_list(list).await, NOBODY);
        refused(nobody.maintenance().alarm(alarms).await, NOBODY);
        refused(nobody.maintenance().status(StatusRequest {}).await, NOBODY);
    });
}
