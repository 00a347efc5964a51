//! Watches: where they start, what they say, how they end.

use crate::cluster::Cluster;
use http::Method;
use serde_json::{Value, json};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_resumes_after_its_revision_and_follows_its_selector() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    let first = client
        .create(MAPS, json!({"metadata": {"name": "a", "labels": {"x": "1"}}}))
        .await;
    let (_, list) = client.get(MAPS).await;
    let revision = list["metadata"]["resourceVersion"]
        .as_str()
        .expect("text")
        .to_owned();
    let mut all = client
        .watch(&format!("{MAPS}?watch=1&resourceVersion={revision}"))
        .await;
    let mut selected = client.watch(&format!("{MAPS}?watch=1&labelSelector=x%3D1")).await;
    assert_eq!(selected.next_name().await, ("ADDED".to_owned(), "a".to_owned()));
    let mut relabelled = first.clone();
    relabelled["metadata"]["labels"]["x"] = json!("2");
    let (code, relabelled) = client.json(Method::PUT, &format!("{MAPS}/a"), &relabelled).await;
    assert_eq!(code, 200);
    assert_eq!(all.next_name().await, ("MODIFIED".to_owned(), "a".to_owned()));
    // Out of the selection: gone for this watcher, in its last matching state, at the change's revision.
    let gone = selected.next().await.expect("an event");
    assert_eq!(
        (&gone["type"], &gone["object"]["metadata"]["labels"]["x"]),
        (&json!("DELETED"), &json!("1"))
    );
    assert_eq!(
        gone["object"]["metadata"]["resourceVersion"],
        relabelled["metadata"]["resourceVersion"]
    );
    client
        .json(Method::DELETE, &format!("{MAPS}/a"), &Value::Null)
        .await;
    let deleted = all.next().await.expect("an event");
    assert_eq!(deleted["type"], "DELETED");
    let at = |value: &Value| {
        value["metadata"]["resourceVersion"]
            .as_str()
            .and_then(|text| text.parse::<u64>().ok())
    };
    assert!(at(&deleted["object"]) > at(&relabelled));
    // From the past, as long as it is kept.
    let mut again = client
        .watch(&format!("{MAPS}?watch=1&resourceVersion={revision}"))
        .await;
    assert_eq!(again.next_name().await, ("MODIFIED".to_owned(), "a".to_owned()));
    assert_eq!(again.next_name().await, ("DELETED".to_owned(), "a".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn initial_events_end_with_a_bookmark_and_a_lost_past_with_410() {
    let mut cluster = Cluster::start().await;
    let client = cluster.client();
    client.create(MAPS, json!({"metadata": {"name": "a"}})).await;
    let streaming =
        "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = client.watch(&format!("{MAPS}?{streaming}")).await;
    assert_eq!(watch.next_name().await, ("ADDED".to_owned(), "a".to_owned()));
    let bookmark = watch.next().await.expect("an event");
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(
        bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"],
        "true"
    );
    let (code, _) = client
        .get(&format!("{MAPS}?watch=1&sendInitialEvents=true"))
        .await;
    assert_eq!(code, 422);
    let mut old = client.watch(&format!("{MAPS}?watch=1&resourceVersion=1")).await;
    let error = old.next().await.expect("an event");
    assert_eq!(
        (&error["type"], &error["object"]["code"]),
        (&json!("ERROR"), &json!(410)),
        "{error}"
    );
    let mut short = client
        .watch(&format!("{MAPS}?watch=1&resourceVersion=0&timeoutSeconds=1"))
        .await;
    assert_eq!(short.next_name().await.0, "ADDED");
    assert!(short.next().await.is_none(), "it ends by itself");
    let bookmarked = format!("{MAPS}?watch=1&resourceVersion=0&timeoutSeconds=3&allowWatchBookmarks=true");
    let mut bookmarked = client.watch(&bookmarked).await;
    assert_eq!(bookmarked.next_name().await.0, "ADDED");
    assert_eq!(
        bookmarked.next_name().await.0,
        "BOOKMARK",
        "one comes before the end"
    );
    assert!(bookmarked.next().await.is_none());
    let server = cluster.servers.remove(0);
    server.stop().await;
    assert!(
        watch.next().await.is_none(),
        "a stopping server ends its watches cleanly"
    );
}
