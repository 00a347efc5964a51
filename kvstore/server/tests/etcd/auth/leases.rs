//! Leases belong to those who may write, or read, their keys.

use super::client::{Client, DENIED, NOBODY, guarded, refused};
use crate::harness::PATIENCE;
use proto::authpb::permission::Type;
use proto::etcdserverpb::{
    LeaseKeepAliveRequest, LeaseLeasesRequest, LeaseRevokeRequest, LeaseTimeToLiveRequest,
};
use std::time::Instant;
use tonic::Status;

async fn keep_alive(client: &Client, id: i64) -> Result<i64, Status> {
    let requests = tokio_stream::once(LeaseKeepAliveRequest { id });
    let answers = client.lease().lease_keep_alive(client.say(requests)).await?;
    let answer = answers.into_inner().message().await?;
    Ok(answer.expect("an answer before the stream ends").ttl)
}

async fn revoke(client: &Client, id: i64) -> Result<(), Status> {
    let request = client.say(LeaseRevokeRequest { id });
    client.lease().lease_revoke(request).await.map(|_| ())
}

async fn keys(client: &Client, id: i64, keys: bool) -> Result<usize, Status> {
    let request = client.say(LeaseTimeToLiveRequest { id, keys });
    let answer = client.lease().lease_time_to_live(request).await?.into_inner();
    Ok(answer.keys.len())
}

async fn list(client: &Client) -> Result<usize, Status> {
    let request = client.say(LeaseLeasesRequest {});
    Ok(client
        .lease()
        .lease_leases(request)
        .await?
        .into_inner()
        .leases
        .len())
}

#[test]
fn a_lease_is_kept_and_revoked_by_who_may_write_its_keys() {
    guarded(async |store| {
        refused(store.nobody.grant_lease(60).await, NOBODY);
        let id = store.alice.grant_lease(60).await.unwrap();
        store.alice.put_leased("foo", "leased", id).await.unwrap();
        assert_eq!(keep_alive(&store.alice, id).await.unwrap(), 60);
        refused(keep_alive(&store.nobody, id).await, NOBODY);
        refused(revoke(&store.nobody, id).await, NOBODY);
        store.root.put_leased("roots", "leased", id).await.unwrap();
        refused(keep_alive(&store.alice, id).await, DENIED);
        refused(store.alice.put_leased("foo", "more", id).await, DENIED);
        refused(revoke(&store.alice, id).await, DENIED);
        assert_eq!(keep_alive(&store.root, id).await.unwrap(), 60);
        store.root.allow("role", Type::Write, "roots", "").await.unwrap();
        revoke(&store.alice, id).await.unwrap();
        assert!(store.root.get("foo", "\0").await.unwrap().is_empty());
    });
}

#[test]
fn the_keys_of_a_lease_are_shown_to_who_may_read_them() {
    guarded(async |store| {
        let id = store.root.grant_lease(60).await.unwrap();
        store.root.put_leased("foo", "leased", id).await.unwrap();
        assert_eq!(keys(&store.alice, id, true).await.unwrap(), 1);
        assert_eq!(list(&store.alice).await.unwrap(), 1);
        store.root.put_leased("roots", "leased", id).await.unwrap();
        refused(keys(&store.alice, id, true).await, DENIED);
        assert_eq!(keys(&store.alice, id, false).await.unwrap(), 0);
        refused(list(&store.alice).await, DENIED);
        refused(keys(&store.nobody, id, false).await, NOBODY);
        refused(list(&store.nobody).await, NOBODY);
        assert_eq!(keys(&store.root, id, true).await.unwrap(), 2);
        assert_eq!(list(&store.root).await.unwrap(), 1);
    });
}

#[test]
fn an_expired_lease_takes_its_keys_along_though_nobody_asks() {
    guarded(async |store| {
        let id = store.alice.grant_lease(2).await.unwrap();
        store.alice.put_leased("foo", "short", id).await.unwrap();
        let deadline = Instant::now() + PATIENCE;
        while !store.alice.get("foo", "").await.unwrap().is_empty() {
            assert!(Instant::now() < deadline, "the lease does not expire");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        assert_eq!(keep_alive(&store.alice, id).await.unwrap(), 0);
    });
}
