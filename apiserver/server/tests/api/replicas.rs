//! Several API servers over one store are one API server.

use crate::cluster::{Cluster, DEADLINE};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test(flavor = "multi_thread")]
async fn what_one_replica_writes_the_other_lists_at_once_and_watches() {
    let mut cluster = Cluster::start().await;
    cluster.add_server().await;
    let admin = cluster.admin();
    let (first, second) = (
        cluster.client_to(0, Some(&admin)),
        cluster.client_to(1, Some(&admin)),
    );
    let mut watch = second.watch(&format!("{MAPS}?watch=1")).await;
    for index in 0..30 {
        let name = format!("m{index}");
        first.create(MAPS, json!({"metadata": {"name": name}})).await;
        let (_, list) = second.get(MAPS).await;
        let listed = list["items"]
            .as_array()
            .is_some_and(|items| items.iter().any(|item| item["metadata"]["name"] == name));
        assert!(listed, "{name}");
        assert_eq!(watch.next_name().await, ("ADDED".to_owned(), name));
    }
    // A watch begun at one replica goes on at the other.
    let (_, list) = first.get(MAPS).await;
    let revision = list["metadata"]["resourceVersion"]
        .as_str()
        .expect("text")
        .to_owned();
    second.create(MAPS, json!({"metadata": {"name": "later"}})).await;
    for client in [&first, &second] {
        let mut resumed = client
            .watch(&format!("{MAPS}?watch=1&resourceVersion={revision}"))
            .await;
        assert_eq!(
            resumed.next_name().await,
            ("ADDED".to_owned(), "later".to_owned())
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_never_give_two_services_the_same_address_or_port() {
    let mut cluster = Cluster::start().await;
    cluster.add_server().await;
    let admin = cluster.admin();
    let clients = [
        cluster.client_to(0, Some(&admin)),
        cluster.client_to(1, Some(&admin)),
    ];
    let mut creations = Vec::new();
    for index in 0..60 {
        let client = clients[index % 2].clone();
        creations.push(tokio::spawn(async move {
            let service = json!({"metadata": {"name": format!("s{index}")},
                "spec": {"type": "NodePort", "ports": [{"port": 80}]}});
            client
                .create("/api/v1/namespaces/default/services", service)
                .await
        }));
    }
    let (mut addresses, mut ports) = (BTreeSet::new(), BTreeSet::new());
    for creation in creations {
        let service: Value = creation.await.expect("created");
        assert!(
            addresses.insert(service["spec"]["clusterIP"].to_string()),
            "{service}"
        );
        assert!(
            ports.insert(service["spec"]["ports"][0]["nodePort"].to_string()),
            "{service}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_writers_wins_each_round() {
    let mut cluster = Cluster::start().await;
    cluster.add_server().await;
    let admin = cluster.admin();
    let clients = [
        cluster.client_to(0, Some(&admin)),
        cluster.client_to(1, Some(&admin)),
    ];
    clients[0]
        .create(MAPS, json!({"metadata": {"name": "counter"}, "data": {"n": "0"}}))
        .await;
    let mut writers = Vec::new();
    for index in 0..4 {
        let client = clients[index % 2].clone();
        writers.push(tokio::spawn(async move {
            let mut done = 0;
            while done < 10 {
                let (_, mut map) = client.get(&format!("{MAPS}/counter")).await;
                let n: u64 = map["data"]["n"]
                    .as_str()
                    .and_then(|text| text.parse().ok())
                    .expect("a number");
                map["data"]["n"] = json!((n + 1).to_string());
                let (code, _) = client
                    .json(http::Method::PUT, &format!("{MAPS}/counter"), &map)
                    .await;
                assert!(code == 200 || code == 409, "{code}");
                done += u32::from(code == 200);
            }
        }));
    }
    for writer in writers {
        writer.await.expect("a writer");
    }
    let (_, map) = clients[0].get(&format!("{MAPS}/counter")).await;
    assert_eq!(map["data"]["n"], "40", "no update was lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kubernetes_service_leads_to_the_live_replicas() {
    let mut cluster = Cluster::without_server().await;
    cluster.add_server_as("192.0.2.1").await;
    cluster.add_server_as("192.0.2.2").await;
    let client = cluster.client();
    let addresses = async || {
        let (_, endpoints) = client
            .get("/api/v1/namespaces/default/endpoints/kubernetes")
            .await;
        let found = endpoints["subsets"][0]["addresses"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let ips: Vec<String> = found.iter().map(|address| address["ip"].to_string()).collect();
        let (_, slice) = client
            .get("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes")
            .await;
        (ips.join(" "), slice["endpoints"].as_array().map_or(0, Vec::len))
    };
    let wait = async |wanted: (&str, usize)| {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let found = addresses().await;
            if (found.0.as_str(), found.1) == wanted {
                return;
            }
            assert!(Instant::now() < deadline, "{found:?} instead of {wanted:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    wait(("\"192.0.2.1\" \"192.0.2.2\"", 2)).await;
    cluster.servers.remove(1).stop().await;
    wait(("\"192.0.2.1\"", 1)).await;
}
