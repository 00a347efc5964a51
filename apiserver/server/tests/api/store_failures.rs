//! The store goes away and comes back: nothing is lost, nobody has to restart.

use crate::cluster::{Cluster, DEADLINE};
use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_store_comes_back_with_everything_and_watches_go_on() {
    let mut cluster = Cluster::start().await;
    let client = cluster.client();
    client.create(MAPS, json!({"metadata": {"name": "before"}})).await;
    let mut watch = client.watch(&format!("{MAPS}?watch=1")).await;
    assert_eq!(watch.next_name().await, ("ADDED".to_owned(), "before".to_owned()));
    cluster.etcd.kill();
    let deadline = Instant::now() + DEADLINE;
    loop {
        let (status, ..) = client.send(Method::GET, "/readyz", &[], Bytes::new()).await;
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            break;
        }
        assert!(
            Instant::now() < deadline,
            "readiness doesn't see that the store is gone"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // What is cached is still served to those who take any state.
    let (code, list) = client.get(&format!("{MAPS}?resourceVersion=0")).await;
    assert_eq!((code, list["items"].as_array().map(Vec::len)), (200, Some(1)));
    // A write waits for the store.
    let waiting = {
        let client = client.clone();
        tokio::spawn(async move { client.post(MAPS, json!({"metadata": {"name": "during"}})).await })
    };
    cluster.etcd.restart().await;
    let (code, status) = waiting.await.expect("an answer");
    assert_eq!(code, 201, "{status}");
    assert_eq!(
        watch.next_name().await,
        ("ADDED".to_owned(), "during".to_owned()),
        "the same watch goes on"
    );
    let (_, list) = client.get(MAPS).await;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(2));
}
