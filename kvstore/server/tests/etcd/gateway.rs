//! The JSON gateway, as scripts with curl see it.

use super::harness::{Node, PATIENCE, put_soon, runtime, single};
use super::http_client::{Lines, get, post, send};
use futures::{SinkExt as _, StreamExt as _};
use kvstore_server::{ConnectionLimits, DataDir, MemberConfig};
use kvstore_storage::MemoryDisk;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use test_ports::free_address;
use tokio_tungstenite::tungstenite::Message;

/// Takes the header out, which names the member; gives its revision.
fn split_header(mut answer: Value) -> (Value, String) {
    let header = answer.as_object_mut().unwrap().remove("header").unwrap();
    let texts = ["cluster_id", "member_id", "revision", "raft_term"];
    for name in texts {
        assert!(header[name].is_string() || name == "revision", "{header}");
    }
    (answer, header["revision"].as_str().unwrap_or("0").to_owned())
}

async fn call(address: &str, path: &str, body: Value) -> (Value, String) {
    let answer = post(address, path, &body.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.header("content-type"), "application/json");
    split_header(answer.json())
}

#[test]
fn keys_are_put_read_and_deleted_in_json() {
    let node = single();
    let at = &node.address;
    runtime().block_on(async {
        put_soon(at, "ready", "").await;
        let put = call(at, "/v3/kv/put", json!({"key": "Zm9v", "value": "YmFy"})).await;
        assert_eq!(put, (json!({}), "3".to_owned()));
        let kv = json!({
            "key": "Zm9v", "value": "YmFy", "create_revision": "3", "mod_revision": "3", "version": "1",
        });
        let found = call(at, "/v3/kv/range", json!({"key": "Zm9v"})).await.0;
        assert_eq!(found, json!({"kvs": [kv], "count": "1"}));
        // Numbers for strings, names of the other style and unknown fields are taken too.
        let body = json!({"key": "Zm9v", "limit": 5, "sortOrder": "DESCEND", "sort_target": 3, "new": {}});
        assert_eq!(call(at, "/v3/kv/range", body).await.0["count"], "1");
        let txn = json!({
            "compare": [{"key": "Zm9v", "result": "EQUAL", "target": "MOD", "mod_revision": "3"}],
            "success": [{"request_put": {"key": "Zm9v", "value": "eA==", "prev_kv": true}}],
            "failure": [{"request_range": {"key": "Zm9v"}}],
        });
        let done = call(at, "/v3/kv/txn", txn.clone()).await.0;
        assert_eq!(done["succeeded"], true);
        assert_eq!(done["responses"][0]["response_put"]["prev_kv"], kv);
        let refused = call(at, "/v3/kv/txn", txn).await.0;
        assert_eq!(refused.get("succeeded"), None);
        assert_eq!(
            refused["responses"][0]["response_range"]["kvs"][0]["value"],
            "eA=="
        );
        let deleted = call(at, "/v3/kv/deleterange", json!({"key": "Zm9v", "prev_kv": true})).await;
        assert_eq!((&deleted.0["deleted"], deleted.1.as_str()), (&json!("1"), "5"));
        assert_eq!(
            call(at, "/v3/kv/range", json!({"key": "Zm9v"})).await.0,
            json!({})
        );
        // An empty body is an empty message.
        let status = post(at, "/v3/maintenance/status", "").await.json();
        assert_eq!(status["version"], "3.6.5");
        assert!(status["dbSize"].is_string(), "{status}");
        let members = call(at, "/v3beta/cluster/member/list", json!({"linearizable": true}))
            .await
            .0;
        assert_eq!(members["members"][0]["name"], "one");
    });
}

#[test]
fn failures_have_etcds_codes_and_texts() {
    let node = single();
    let at = &node.address;
    runtime().block_on(async {
        put_soon(at, "ready", "").await;
        let cases = [
            ("/v3/kv/put", "{}", 400, 3, "etcdserver: key is not provided"),
            (
                "/v3/kv/put",
                r#"{"key":"YQ==","lease":"77"}"#,
                404,
                5,
                "etcdserver: requested lease not found",
            ),
            (
                "/v3/kv/range",
                r#"{"key":"YQ==","revision":"99"}"#,
                400,
                11,
                "etcdserver: mvcc: required revision is a future revision",
            ),
            (
                "/v3/maintenance/transfer-leadership",
                r#"{"targetID":"1"}"#,
                400,
                9,
                "etcdserver: bad leader transferee",
            ),
            (
                "/v3/election/leader",
                r#"{"name":"YQ=="}"#,
                500,
                2,
                "election: no leader",
            ),
            (
                "/v3/election/resign",
                "{}",
                500,
                2,
                "\"leader\" field must be provided",
            ),
            ("/v3/kv/rangestream", "{}", 404, 5, "Not Found"),
            ("/v3/nothing", "{}", 404, 5, "Not Found"),
        ];
        for (path, body, status, code, message) in cases {
            let answer = post(at, path, body).await;
            assert_eq!(answer.status, status, "{path}: {}", answer.body);
            assert_eq!(answer.json(), json!({"code": code, "message": message}), "{path}");
        }
        for body in [
            "{",
            "[]",
            "3",
            r#"{"key":1}"#,
            r#"{"key":"?"}"#,
            r#"{"limit":"x"}"#,
        ] {
            let answer = post(at, "/v3/kv/range", body).await;
            assert_eq!(
                (answer.status, answer.json()["code"].as_i64()),
                (400, Some(3)),
                "{body}"
            );
        }
        let got = get(at, "/v3/kv/range").await;
        assert_eq!(
            (got.status, got.json()),
            (501, json!({"code": 12, "message": "Method Not Allowed"}))
        );
        let long = format!(r#"{{"key":"{}"}}"#, "A".repeat(6 << 20));
        let answer = post(at, "/v3/kv/put", &long).await;
        assert_eq!((answer.status, answer.json()["code"].as_i64()), (429, Some(8)));
    });
}

#[test]
fn a_watch_answers_line_by_line() {
    let node = single();
    let at = &node.address;
    runtime().block_on(async {
        put_soon(at, "foo", "old").await;
        let two = r#"{"create_request":{"key":"Zm9v","start_revision":"1"}}
            {"create_request":{"key":"YmFy","watch_id":"7","prev_kv":true}}"#;
        let mut watch = Lines::open(at, "/v3/watch", two).await;
        assert_eq!(watch.status, 200);
        let (mut created, mut events) = (Vec::new(), Vec::new());
        while created.len() < 2 || events.is_empty() {
            let result = split_header(watch.next().await.unwrap()["result"].take()).0;
            match result.get("events") {
                None => created.push(result),
                Some(_) => events.push(result),
            }
        }
        assert_eq!(
            created,
            [
                json!({"created": true}),
                json!({"created": true, "watch_id": "7"})
            ]
        );
        assert_eq!(events[0]["events"][0]["kv"]["value"], "b2xk");
        // A put is the default, so it isn't named.
        assert_eq!(events[0]["events"][0].get("type"), None);
        put_soon(at, "bar", "1").await;
        let first = watch.next().await.unwrap();
        assert_eq!(first["result"]["watch_id"], "7");
        call(at, "/v3/kv/deleterange", json!({"key": "YmFy"})).await;
        let second = watch.next().await.unwrap();
        assert_eq!(second["result"]["events"][0]["type"], "DELETE");
        assert_eq!(second["result"]["events"][0]["prev_kv"]["value"], "MQ==");
    });
}

#[test]
fn leases_are_kept_alive_in_json() {
    let node = single();
    let at = &node.address;
    runtime().block_on(async {
        put_soon(at, "ready", "").await;
        let granted = call(at, "/v3/lease/grant", json!({"ID": "77", "TTL": "60"}))
            .await
            .0;
        assert_eq!(granted, json!({"ID": "77", "TTL": "60"}));
        let mut alive = Lines::open(at, "/v3/lease/keepalive", r#"{"ID":"77"}{"ID":78}"#).await;
        let renewed = split_header(alive.next().await.unwrap()["result"].take()).0;
        assert_eq!(renewed, json!({"ID": "77", "TTL": "60"}));
        let missing = split_header(alive.next().await.unwrap()["result"].take()).0;
        assert_eq!(missing, json!({"ID": "78"}));
        assert_eq!(alive.next().await, None);
        let left = call(at, "/v3/kv/lease/timetolive", json!({"ID": "77", "keys": true}))
            .await
            .0;
        assert_eq!(left["grantedTTL"], "60");
        call(at, "/v3/kv/lease/revoke", json!({"ID": "77"})).await;
        assert_eq!(call(at, "/v3/lease/leases", json!({})).await.0, json!({}));
    });
}

#[test]
fn locks_and_elections_are_held_in_json() {
    let node = single();
    let at = &node.address;
    runtime().block_on(async {
        put_soon(at, "ready", "").await;
        let locked = call(at, "/v3/lock/lock", json!({"name": "bA=="})).await.0;
        let key = locked["key"].as_str().unwrap().to_owned();
        assert!(key.starts_with("bC"), "{key} begins with l/");
        call(at, "/v3/lock/unlock", json!({"key": key})).await;
        let won = call(
            at,
            "/v3/election/campaign",
            json!({"name": "ZQ==", "value": "MQ=="}),
        )
        .await
        .0;
        let leader = won["leader"].clone();
        let mut observed = Lines::open(at, "/v3/election/observe", r#"{"name":"ZQ=="}"#).await;
        assert_eq!(observed.next().await.unwrap()["result"]["kv"]["value"], "MQ==");
        let proclaimed = json!({"leader": leader, "value": "Mg=="});
        call(at, "/v3/election/proclaim", proclaimed.clone()).await;
        assert_eq!(observed.next().await.unwrap()["result"]["kv"]["value"], "Mg==");
        call(at, "/v3/election/resign", json!({"leader": leader})).await;
        let late = post(at, "/v3/election/proclaim", &proclaimed.to_string()).await;
        assert_eq!(
            (late.status, late.json()["message"].as_str()),
            (500, Some("election: not leader"))
        );
    });
}

#[test]
fn a_watch_runs_over_a_web_socket() {
    let node = single();
    let at = &node.address;
    runtime().block_on(async {
        put_soon(at, "ready", "").await;
        let stream = tokio::net::TcpStream::connect(at).await.unwrap();
        let target = format!("ws://{at}/v3/watch");
        let (mut socket, _) = tokio_tungstenite::client_async(target, stream).await.unwrap();
        let create = r#"{"create_request":{"key":"Zm9v"}}"#;
        socket.send(Message::text(create)).await.unwrap();
        let mut next = async || {
            let message = tokio::time::timeout(Duration::from_secs(30), socket.next());
            let message = message.await.unwrap().unwrap().unwrap();
            serde_json::from_str::<Value>(message.to_text().unwrap()).unwrap()
        };
        assert_eq!(next().await["result"]["created"], true);
        put_soon(at, "foo", "bar").await;
        assert_eq!(next().await["result"]["events"][0]["kv"]["value"], "YmFy");
    });
}

/// etcd `tests/e2e/v3_curl_maintenance_test.go`.
#[test]
fn maintenance_is_answered_as_etcds_curl_tests_read_it() {
    let node = single();
    let at = &node.address;
    runtime().block_on(async {
        let deadline = Instant::now() + PATIENCE;
        while tokio::net::TcpStream::connect(at).await.is_err() || get(at, "/readyz").await.status != 200 {
            assert!(Instant::now() < deadline, "it isn't ready");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let defragmented = post(at, "/v3/maintenance/defragment", "{}").await;
        assert_eq!((defragmented.status, defragmented.body.as_str()), (200, "{}"));
        // Also when there are no keys yet.
        let hash = post(at, "/v3/maintenance/hashkv", "{}").await.json();
        for field in ["header", "hash", "compact_revision", "hash_revision"] {
            assert!(hash.get(field).is_some(), "{field}: {hash}");
        }
    });
}

/// etcd `tests/e2e/v3_curl_maxstream_test.go`: the gateway's calls share the streams of one connection.
#[test]
fn calls_beyond_the_streams_wait_for_a_place() {
    let disk = DataDir::Simulated(MemoryDisk::new(), Duration::ZERO);
    let node = Node::start(&MemberConfig {
        client_limits: ConnectionLimits {
            streams: 2,
            ..ConnectionLimits::default()
        },
        ..MemberConfig::single("one", disk, &free_address())
    });
    let at = &node.address;
    let watch = json!({"create_request": {"key": "Zm9v"}}).to_string();
    runtime().block_on(async {
        put_soon(at, "ready", "").await;
        let mut first = Lines::open(at, "/v3/watch", &watch).await;
        let mut second = Lines::open(at, "/v3/watch", &watch).await;
        for lines in [&mut first, &mut second] {
            assert_eq!(lines.next().await.unwrap()["result"]["created"], true);
        }
        let range = async || post(at, "/v3/kv/range", r#"{"key": "Zm9v"}"#).await.status;
        let waiting = tokio::time::timeout(Duration::from_secs(1), range()).await;
        assert!(waiting.is_err(), "{waiting:?}");
        drop(first);
        assert_eq!(range().await, 200);
    });
}

#[test]
fn hosts_and_origins_are_those_of_the_configuration() {
    let disk = DataDir::Simulated(MemoryDisk::new(), Duration::ZERO);
    let node = Node::start(&MemberConfig {
        cors: vec!["https://ours".to_owned()],
        host_whitelist: vec!["store".to_owned(), "127.0.0.1".to_owned()],
        ..MemberConfig::single("one", disk, &free_address())
    });
    let at = &node.address;
    runtime().block_on(async {
        put_soon(at, "ready", "").await;
        let evil = send(at, "GET", "/version", &[("host", "evil.example:80")], "").await;
        assert_eq!(evil.status, 421);
        assert!(
            evil.body.contains("etcd --host-whitelist \"evil.example\""),
            "{}",
            evil.body
        );
        let known = send(at, "GET", "/version", &[("host", "store:2379")], "").await;
        assert_eq!(known.status, 200);
        let asked = send(at, "OPTIONS", "/v3/kv/put", &[("origin", "https://ours")], "").await;
        assert_eq!(asked.status, 200);
        assert_eq!(asked.header("access-control-allow-origin"), "https://ours");
        let theirs = send(at, "POST", "/v3/kv/range", &[("origin", "https://theirs")], "{}").await;
        assert_eq!(theirs.header("access-control-allow-origin"), "");
    });
}

#[test]
fn the_gateway_can_be_switched_off() {
    let disk = DataDir::Simulated(MemoryDisk::new(), Duration::ZERO);
    let node = Node::start(&MemberConfig {
        enable_grpc_gateway: false,
        ..MemberConfig::single("one", disk, &free_address())
    });
    runtime().block_on(async {
        put_soon(&node.address, "ready", "").await;
        assert_eq!(post(&node.address, "/v3/kv/range", "{}").await.status, 404);
        assert_eq!(get(&node.address, "/health").await.status, 200);
    });
}
