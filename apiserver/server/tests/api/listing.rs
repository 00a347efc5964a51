//! Lists: pages, selectors, resource versions, views.

use crate::cluster::Cluster;
use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn names(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().map_or(&[][..], Vec::as_slice);
    items
        .iter()
        .map(|item| item["metadata"]["name"].as_str().unwrap_or_default().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_paged_at_one_revision_and_narrowed_by_selectors() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    for (index, tier) in ["front", "back", "front", "back", "front"].iter().enumerate() {
        let map = json!({"metadata": {"name": format!("m{index}"), "labels": {"tier": tier}}});
        client.create(MAPS, map).await;
    }
    let (_, first) = client.get(&format!("{MAPS}?limit=2")).await;
    assert_eq!(names(&first), ["m0", "m1"]);
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    let revision = first["metadata"]["resourceVersion"].clone();
    // Written after the first page: not in the later ones.
    client.create(MAPS, json!({"metadata": {"name": "m9"}})).await;
    let token = first["metadata"]["continue"]
        .as_str()
        .expect("a token")
        .to_owned();
    let (_, second) = client.get(&format!("{MAPS}?limit=2&continue={token}")).await;
    assert_eq!(names(&second), ["m2", "m3"]);
    assert_eq!(second["metadata"]["resourceVersion"], revision);
    assert_eq!(second["metadata"]["remainingItemCount"], 1);
    let token = second["metadata"]["continue"]
        .as_str()
        .expect("a token")
        .to_owned();
    let (_, last) = client.get(&format!("{MAPS}?limit=2&continue={token}")).await;
    assert_eq!(names(&last), ["m4"]);
    assert!(last["metadata"].get("continue").is_none());
    let (_, selected) = client
        .get(&format!("{MAPS}?labelSelector=tier%3Dfront&limit=2"))
        .await;
    assert_eq!(names(&selected), ["m0", "m2"]);
    assert!(selected["metadata"].get("remainingItemCount").is_none());
    let token = selected["metadata"]["continue"]
        .as_str()
        .expect("a token")
        .to_owned();
    let (_, selected) = client
        .get(&format!(
            "{MAPS}?labelSelector=tier%3Dfront&limit=2&continue={token}"
        ))
        .await;
    assert_eq!(names(&selected), ["m4"]);
    let (_, by_name) = client
        .get("/api/v1/configmaps?fieldSelector=metadata.name%3Dm3")
        .await;
    assert_eq!(names(&by_name), ["m3"]);
    let exact = format!(
        "{MAPS}?resourceVersion={}&resourceVersionMatch=Exact",
        revision.as_str().expect("text")
    );
    assert_eq!(names(&client.get(&exact).await.1).len(), 5);
    let (code, status) = client.get(&format!("{MAPS}?resourceVersion=999999")).await;
    assert_eq!((code, &status["reason"]), (504, &json!("Timeout")), "{status}");
    // Writes are in every list that begins after them.
    for index in 0..20 {
        let name = format!("fast{index}");
        client.create(MAPS, json!({"metadata": {"name": name}})).await;
        assert!(names(&client.get(MAPS).await.1).contains(&name));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_metadata_yaml_and_protobuf_are_other_views_of_the_same() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    client
        .create(MAPS, json!({"metadata": {"name": "m"}, "data": {"a": "b"}}))
        .await;
    let get = async |accept: &'static str, path: &str| {
        let (status, headers, body) = client
            .send(Method::GET, path, &[("accept", accept)], Bytes::new())
            .await;
        assert_eq!(status.as_u16(), 200, "{accept}");
        (headers["content-type"].to_str().expect("text").to_owned(), body)
    };
    let (kind, table) = get(
        "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
        MAPS,
    )
    .await;
    assert_eq!(kind, "application/json");
    let table: Value = serde_json::from_slice(&table).expect("JSON");
    assert_eq!(table["kind"], "Table");
    assert_eq!(table["columnDefinitions"][0]["name"], "Name");
    assert_eq!(table["rows"][0]["cells"][0], "m");
    let (_, partial) = get(
        "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
        MAPS,
    )
    .await;
    let partial: Value = serde_json::from_slice(&partial).expect("JSON");
    assert_eq!(partial["kind"], "PartialObjectMetadataList");
    assert!(partial["items"][0].get("data").is_none());
    let (kind, yaml) = get("application/yaml", &format!("{MAPS}/m")).await;
    assert_eq!(kind, "application/yaml");
    assert!(String::from_utf8_lossy(&yaml).contains("a: b"));
    let (kind, protobuf) = get("application/vnd.kubernetes.protobuf", &format!("{MAPS}/m")).await;
    assert_eq!(kind, "application/vnd.kubernetes.protobuf");
    assert!(protobuf.starts_with(b"k8s\0"));
}
