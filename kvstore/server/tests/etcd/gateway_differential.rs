//! The same JSON to the gateway of Debian's etcd and to ours: where both know the method, the answers must
//! be the same.

use super::differential::Etcd;
use super::harness::{PATIENCE, runtime, single};
use super::http_client::{Lines, post};
use serde_json::Value;
use std::time::{Duration, Instant};

/// Paths and bodies, in order; `LEADER` is the leader key of the last campaign.
const EXCHANGES: &[(&str, &str)] = &[
    ("kv/put", r#"{"key":"Zm9v","value":"YmFy"}"#),
    ("kv/put", r#"{"key":"Zm9v","value":"YmF6","prev_kv":true}"#),
    ("kv/put", r#"{"key":"Zm9vMQ==","value":""}"#),
    (
        "kv/put",
        r#"{"key":"Zm9v","value":"YmF6","unknown":[1,{"a":null}]}"#,
    ),
    ("kv/range", r#"{"key":"Zm9v"}"#),
    (
        "kv/range",
        r#"{"key":"Zm9v","range_end":"Zm9w","limit":1,"sort_order":"DESCEND"}"#,
    ),
    (
        "kv/range",
        r#"{"key":"Zm9v","range_end":"Zm9w","limit":"1","sort_target":"VERSION"}"#,
    ),
    (
        "kv/range",
        r#"{"key":"AA==","range_end":"AA==","count_only":true}"#,
    ),
    ("kv/range", r#"{"key":"AA==","rangeEnd":"AA==","keysOnly":true}"#),
    ("kv/range", r#"{"key":"Zm9v","revision":"2"}"#),
    ("kv/range", r#"{"key":"Zm9v","revision":"1000"}"#),
    ("kv/range", r#"{"key":"Zm9v","sort_order":2,"sort_target":4}"#),
    ("kv/range", "{}"),
    ("kv/range", ""),
    ("kv/range", r#"{"key":null}"#),
    ("kv/range", "{"),
    ("kv/range", r#"{"key":17}"#),
    ("kv/range", r#"{"key":"***"}"#),
    ("kv/range", r#"{"key":"Zm9v"} and more"#),
    (
        "kv/txn",
        r#"{"compare":[{"key":"Zm9v","target":"VALUE","result":"EQUAL","value":"YmF6"}],
            "success":[{"request_put":{"key":"YQ==","value":"MQ=="}},{"request_range":{"key":"Zm9v"}}],
            "failure":[{"request_delete_range":{"key":"Zm9v"}}]}"#,
    ),
    (
        "kv/txn",
        r#"{"compare":[{"key":"Zm9v","target":"CREATE","result":"GREATER","create_revision":"50"}],
            "success":[{"requestPut":{"key":"YQ==","value":"MQ=="}}],
            "failure":[{"requestDeleteRange":{"key":"Zm9vMQ==","prevKv":true}}]}"#,
    ),
    ("kv/txn", "{}"),
    ("kv/txn", r#"{"success":[{}]}"#),
    ("kv/deleterange", r#"{"key":"YQ==","prev_kv":true}"#),
    ("kv/deleterange", r#"{"key":"YQ=="}"#),
    ("kv/deleterange", "{}"),
    ("lease/grant", r#"{"ID":"123","TTL":"600"}"#),
    ("lease/grant", r#"{"ID":123,"TTL":600}"#),
    ("lease/grant", r#"{"TTL":"9000000001"}"#),
    ("kv/put", r#"{"key":"bGVhc2Vk","value":"MQ==","lease":"123"}"#),
    ("kv/put", r#"{"key":"bGVhc2Vk","value":"MQ==","lease":"999"}"#),
    ("lease/leases", "{}"),
    ("kv/lease/leases", "{}"),
    ("lease/timetolive", r#"{"ID":"999"}"#),
    ("lease/revoke", r#"{"ID":"123"}"#),
    ("lease/revoke", r#"{"ID":"123"}"#),
    ("kv/lease/revoke", r#"{"ID":"123"}"#),
    ("kv/compaction", r#"{"revision":"3"}"#),
    ("kv/compaction", r#"{"revision":"3"}"#),
    ("kv/compaction", r#"{"revision":"3000"}"#),
    ("kv/range", r#"{"key":"Zm9v","revision":"2"}"#),
    ("maintenance/alarm", "{}"),
    ("maintenance/alarm", r#"{"action":"GET","alarm":"NOSPACE"}"#),
    ("auth/enable", "{}"),
    ("auth/authenticate", r#"{"name":"root","password":"x"}"#),
    ("lease/grant", r#"{"ID":"500","TTL":"600"}"#),
    ("lock/lock", r#"{"name":"bG9jaw==","lease":"500"}"#),
    ("lock/lock", r#"{"name":"bG9jaw==","lease":"500"}"#),
    ("lock/lock", r#"{"name":"bG9jaw==","lease":"501"}"#),
    ("lock/unlock", r#"{"key":"bG9jay8xZjQ="}"#),
    ("lock/unlock", r#"{"key":"bG9jay8xZjQ="}"#),
    ("election/leader", r#"{"name":"ZQ=="}"#),
    (
        "election/campaign",
        r#"{"name":"ZQ==","lease":"500","value":"MQ=="}"#,
    ),
    (
        "election/campaign",
        r#"{"name":"ZQ==","lease":"500","value":"Mg=="}"#,
    ),
    ("election/leader", r#"{"name":"ZQ=="}"#),
    ("election/proclaim", r#"{"leader":LEADER,"value":"Mw=="}"#),
    ("election/proclaim", r#"{"value":"Mw=="}"#),
    ("election/resign", r#"{"leader":LEADER}"#),
    ("election/proclaim", r#"{"leader":LEADER,"value":"Mw=="}"#),
    ("election/resign", r#"{"leader":LEADER}"#),
    ("election/resign", "{}"),
    ("nothing", "{}"),
];

/// What differs by nature: who answers, and what grpc-gateway 1 says twice.
fn neutral(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for name in ["cluster_id", "member_id", "raft_term", "error"] {
                fields.remove(name);
            }
            fields.values_mut().for_each(neutral);
        }
        Value::Array(items) => items.iter_mut().for_each(neutral),
        _ => {}
    }
}

async fn exchange(address: &str, path: &str, body: &str) -> (u16, Value) {
    let answer = post(address, &format!("/v3/{path}"), body).await;
    // grpc-gateway 1 has no JSON for a path that isn't there.
    let mut value = serde_json::from_str(&answer.body).unwrap_or_default();
    neutral(&mut value);
    (answer.status, value)
}

#[test]
fn json_answers_equal_those_of_etcd() {
    let etcd = Etcd::start();
    let node = single();
    let (theirs, ours) = (&etcd.address, &node.address);
    runtime().block_on(async {
        let ready = async |address: &str| {
            tokio::net::TcpStream::connect(address).await.is_ok()
                && exchange(address, "kv/range", r#"{"key":"eA=="}"#).await.0 == 200
        };
        let deadline = Instant::now() + PATIENCE;
        while !ready(theirs).await || !ready(ours).await {
            assert!(Instant::now() < deadline, "both stores answer in time");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let mut leader = String::new();
        for (path, body) in EXCHANGES {
            let body = body.replace("LEADER", &leader);
            let (expected_status, mut expected) = exchange(theirs, path, &body).await;
            // grpc-gateway 2 has another number for a failed precondition.
            let expected_status = if expected_status == 412 {
                400
            } else {
                expected_status
            };
            let (status, mut got) = exchange(ours, path, &body).await;
            if let Some(key) = got.get("leader") {
                leader = key.to_string();
            }
            // A parser's own words, and what isn't said in JSON.
            if status == 400 && got["code"] == 3 && !got["message"].to_string().contains("etcdserver") {
                expected["message"] = Value::Null;
                got["message"] = Value::Null;
            }
            // etcd 3.4 sends no header here, 3.6 does.
            if *path == "maintenance/alarm"
                && let Some(answer) = got.as_object_mut()
            {
                answer.remove("header");
            }
            if *path == "nothing" {
                got = Value::Null;
                expected = Value::Null;
            }
            assert_eq!((status, &got), (expected_status, &expected), "{path} {body}");
        }
        let watch =
            r#"{"create_request":{"key":"Zm9v","range_end":"Zm9w","start_revision":"4","prev_kv":true}}"#;
        let mut lines = Vec::new();
        for address in [theirs, ours] {
            let mut watch = Lines::open(address, "/v3/watch", watch).await;
            let mut seen = Vec::new();
            while seen.len() < 2 {
                let mut line = watch.next().await.unwrap();
                neutral(&mut line);
                seen.push(line);
            }
            lines.push(seen);
        }
        assert_eq!(lines[1], lines[0]);
        let alive = r#"{"ID":"500"}{"ID":"501"}"#;
        let mut answers = Vec::new();
        for address in [theirs, ours] {
            let mut alive = Lines::open(address, "/v3/lease/keepalive", alive).await;
            let mut seen = Vec::new();
            while let Some(mut line) = alive.next().await {
                neutral(&mut line);
                seen.push(line);
            }
            answers.push(seen);
        }
        assert_eq!(answers[1], answers[0]);
    });
}
