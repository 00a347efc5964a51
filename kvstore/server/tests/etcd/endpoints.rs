//! Health, version and metrics.

use super::harness::{Node, PATIENCE, get_prefix, put, put_soon, runtime, single};
use super::http_client::{get, send};
use super::watching::Watching;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kvstore_server::{DataDir, MemberConfig, MetricsListener};
use kvstore_storage::MemoryDisk;
use proto::etcdserverpb::WatchCreateRequest;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use test_ports::free_address;

#[test]
fn health_is_told_in_etcds_words() {
    let node = single();
    let at = &node.address;
    runtime().block_on(async {
        put_soon(at, "ready", "").await;
        for path in ["/health", "/health?serializable=true", "/health?exclude=NOSPACE"] {
            let answer = get(at, path).await;
            assert_eq!(
                (answer.status, answer.json()),
                (200, json!({"health": "true", "reason": ""}))
            );
        }
        for path in [
            "/livez",
            "/readyz",
            "/readyz/non_learner",
            "/livez/serializable_read",
        ] {
            let answer = get(at, path).await;
            assert_eq!((answer.status, answer.body.as_str()), (200, "ok\n"), "{path}");
        }
        let verbose = get(at, "/readyz?verbose&exclude=linearizable_read").await.body;
        assert_eq!(
            verbose,
            "[+]data_corruption ok\n[+]serializable_read ok\n[+]non_learner ok\nok\n"
        );
        for path in [
            "/health",
            "/readyz",
            "/livez/serializable_read",
            "/version",
            "/debug/vars",
        ] {
            let answer = send(at, "POST", path, &[], "").await;
            assert_eq!((answer.status, answer.header("allow")), (405, "GET"), "{path}");
        }
        for path in ["/", "/livez/non_learner", "/debug/pprof/", "/healthy"] {
            assert_eq!(get(at, path).await.status, 404, "{path}");
        }
        let version = get(at, "/version").await.json();
        assert_eq!(
            version,
            json!({"etcdserver": "3.6.5", "etcdcluster": "3.6.0", "storage": "3.6.0"})
        );
        let raft = get(at, "/debug/vars").await.json();
        assert_eq!(raft["raft.status"]["raftState"], "StateLeader");
    });
}

#[test]
fn http_2_is_answered_as_http_1() {
    let node = single();
    runtime().block_on(async {
        put_soon(&node.address, "ready", "").await;
        let stream = tokio::net::TcpStream::connect(&node.address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .unwrap();
        tokio::spawn(connection);
        let request = http::Request::post(format!("http://{}/v3/kv/range", node.address))
            .body(Full::<Bytes>::from(r#"{"key":"cmVhZHk="}"#))
            .unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), answer.version()),
            (200, http::Version::HTTP_2)
        );
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["count"], "1");
    });
}

/// The samples and the types of an exposition; panics at what isn't one.
fn parse(text: &str) -> (BTreeMap<String, f64>, BTreeMap<String, String>) {
    let (mut samples, mut types) = (BTreeMap::new(), BTreeMap::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(
                types.insert(name.to_owned(), kind.to_owned()).is_none(),
                "{line} twice"
            );
        } else if !line.starts_with("# HELP ") {
            let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line:?}"));
            let family = name.split('{').next().unwrap();
            let family = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| {
                    family
                        .strip_suffix(end)
                        .filter(|family| types.contains_key(*family))
                })
                .unwrap_or(family);
            assert!(types.contains_key(family), "{line} has no type");
            let value = value.parse().unwrap_or_else(|_| panic!("{line:?}"));
            assert!(samples.insert(name.to_owned(), value).is_none(), "{line} twice");
        }
    }
    (samples, types)
}

/// What operators' rules and dashboards ask for, and its type in etcd.
const NAMES: &[(&str, &str)] = &[
    ("etcd_server_has_leader", "gauge"),
    ("etcd_server_is_leader", "gauge"),
    ("etcd_server_is_learner", "gauge"),
    ("etcd_server_id", "gauge"),
    ("etcd_server_version", "gauge"),
    ("etcd_cluster_version", "gauge"),
    ("etcd_server_leader_changes_seen_total", "counter"),
    ("etcd_server_heartbeat_send_failures_total", "counter"),
    ("etcd_server_proposals_committed_total", "gauge"),
    ("etcd_server_proposals_applied_total", "gauge"),
    ("etcd_server_proposals_pending", "gauge"),
    ("etcd_server_proposals_failed_total", "counter"),
    ("etcd_server_slow_apply_total", "counter"),
    ("etcd_server_slow_read_indexes_total", "counter"),
    ("etcd_server_read_indexes_failed_total", "counter"),
    ("etcd_server_quota_backend_bytes", "gauge"),
    ("etcd_server_health_success", "counter"),
    ("etcd_server_health_failures", "counter"),
    ("etcd_server_client_requests_total", "counter"),
    ("etcd_server_apply_duration_seconds", "histogram"),
    ("etcd_disk_wal_fsync_duration_seconds", "histogram"),
    ("etcd_disk_wal_write_bytes_total", "gauge"),
    ("etcd_disk_wal_write_duration_seconds", "histogram"),
    ("etcd_server_request_duration_seconds", "histogram"),
    ("etcd_server_learner_promote_successes", "counter"),
    (
        "etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds",
        "histogram",
    ),
    (
        "etcd_debugging_mvcc_db_compaction_total_duration_milliseconds",
        "histogram",
    ),
    ("etcd_debugging_mvcc_db_compaction_last", "gauge"),
    ("etcd_mvcc_db_open_read_transactions", "gauge"),
    (
        "etcd_debugging_server_watch_send_loop_watch_stream_duration_seconds",
        "histogram",
    ),
    (
        "etcd_debugging_server_watch_send_loop_progress_duration_seconds",
        "histogram",
    ),
    ("promhttp_metric_handler_requests_total", "counter"),
    ("promhttp_metric_handler_requests_in_flight", "gauge"),
    ("etcd_disk_backend_commit_duration_seconds", "histogram"),
    ("etcd_disk_backend_snapshot_duration_seconds", "histogram"),
    ("etcd_disk_backend_defrag_duration_seconds", "histogram"),
    ("etcd_disk_defrag_inflight", "gauge"),
    ("etcd_mvcc_db_total_size_in_bytes", "gauge"),
    ("etcd_mvcc_db_total_size_in_use_in_bytes", "gauge"),
    ("etcd_mvcc_put_total", "counter"),
    ("etcd_mvcc_delete_total", "counter"),
    ("etcd_mvcc_range_total", "counter"),
    ("etcd_mvcc_txn_total", "counter"),
    ("etcd_mvcc_hash_duration_seconds", "histogram"),
    ("etcd_debugging_mvcc_keys_total", "gauge"),
    ("etcd_debugging_mvcc_current_revision", "gauge"),
    ("etcd_debugging_mvcc_compact_revision", "gauge"),
    ("etcd_debugging_mvcc_watcher_total", "gauge"),
    ("etcd_debugging_mvcc_watch_stream_total", "gauge"),
    ("etcd_debugging_mvcc_slow_watcher_total", "gauge"),
    ("etcd_debugging_mvcc_pending_events_total", "gauge"),
    ("etcd_debugging_mvcc_events_total", "counter"),
    ("etcd_debugging_mvcc_db_compaction_keys_total", "counter"),
    ("etcd_debugging_mvcc_total_put_size_in_bytes", "gauge"),
    ("etcd_debugging_auth_revision", "gauge"),
    ("etcd_server_range_duration_seconds", "histogram"),
    ("os_fd_used", "gauge"),
    ("os_fd_limit", "gauge"),
    ("etcd_debugging_lease_granted_total", "counter"),
    ("etcd_debugging_lease_revoked_total", "counter"),
    ("etcd_debugging_lease_renewed_total", "counter"),
    ("etcd_network_client_grpc_received_bytes_total", "counter"),
    ("etcd_network_client_grpc_sent_bytes_total", "counter"),
    ("grpc_server_started_total", "counter"),
    ("grpc_server_handled_total", "counter"),
    ("grpc_server_msg_received_total", "counter"),
    ("grpc_server_msg_sent_total", "counter"),
    ("process_resident_memory_bytes", "gauge"),
    ("process_cpu_seconds_total", "counter"),
    ("process_open_fds", "gauge"),
];

#[test]
fn metrics_count_what_was_done_on_this_member_only() {
    let (node, idle) = (single(), single());
    runtime().block_on(async {
        put_soon(&node.address, "a", "").await;
        let before = parse(&get(&node.address, "/metrics").await.body).0;
        put_soon(&node.address, "a", "").await;
        put_soon(&node.address, "b", "").await;
        let (after, types) = parse(&get(&node.address, "/metrics").await.body);
        for (name, kind) in NAMES {
            assert_eq!(types.get(*name).map(String::as_str), Some(*kind), "{name}");
        }
        let put = r#"grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"}"#;
        let of_put = |name: &str| format!("{name}{{{put}");
        let more = [
            ("etcd_mvcc_put_total".to_owned(), 2.0),
            ("etcd_debugging_mvcc_current_revision".to_owned(), 2.0),
            ("etcd_debugging_mvcc_keys_total".to_owned(), 1.0),
            ("etcd_debugging_mvcc_total_put_size_in_bytes".to_owned(), 2.0),
            (of_put("grpc_server_started_total"), 2.0),
            (of_put("grpc_server_msg_received_total"), 2.0),
            (of_put("grpc_server_msg_sent_total"), 2.0),
            (format!("grpc_server_handled_total{{grpc_code=\"OK\",{put}"), 2.0),
            (
                "etcd_server_client_requests_total{client_api_version=\"unknown\",type=\"unary\"}".to_owned(),
                2.0,
            ),
            (
                "etcd_server_apply_duration_seconds_count{op=\"Put\",success=\"true\",version=\"v3\"}"
                    .to_owned(),
                2.0,
            ),
        ];
        for (name, more) in more {
            assert_eq!(after[&name] - before[&name], more, "{name}");
        }
        // The member writes for itself too: its name, the checkpoints of the search for corruption.
        let commits = "etcd_disk_backend_commit_duration_seconds_count";
        assert!(after[commits] - before[commits] >= 2.0);
        assert!(after["etcd_disk_wal_fsync_duration_seconds_count"] > 0.0);
        assert!(after["etcd_disk_wal_write_bytes_total"] > before["etcd_disk_wal_write_bytes_total"]);
        assert_eq!(after["etcd_server_has_leader"], 1.0);
        let deadline = Instant::now() + PATIENCE;
        while parse(&get(&node.address, "/metrics").await.body).0["etcd_server_proposals_pending"] > 0.0 {
            assert!(Instant::now() < deadline, "proposals stay pending");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(after[r#"etcd_cluster_version{cluster_version="3.6"}"#], 1.0);
        put_soon(&idle.address, "a", "").await;
        let other = parse(&get(&idle.address, "/metrics").await.body).0;
        assert_eq!(other["etcd_mvcc_put_total"], 1.0);
    });
}

#[test]
fn requests_writes_of_the_log_compactions_and_promotions_are_measured() {
    let node = single();
    let at = &node.address;
    runtime().block_on(async {
        put_soon(at, "ready", "").await;
        let before = parse(&get(at, "/metrics").await.body).0;
        let revision = put_soon(at, "a", "1").await;
        let body = format!(r#"{{"revision":{revision},"physical":true}}"#);
        let compact = async || send(at, "POST", "/v3/kv/compaction", &[], &body).await.status;
        assert_eq!((compact().await, compact().await), (200, 400));
        let unknown = send(at, "POST", "/v3/cluster/member/promote", &[], r#"{"ID":7}"#).await;
        assert_eq!(unknown.status, 404);
        let compactions = "etcd_debugging_mvcc_db_compaction_total_duration_milliseconds_count";
        let steps = "etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds_count";
        let deadline = Instant::now() + PATIENCE;
        let after = loop {
            let now = parse(&get(at, "/metrics").await.body).0;
            if now[compactions] > before[compactions] {
                break now;
            }
            assert!(Instant::now() < deadline, "the compaction doesn't end");
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        assert_eq!((before[compactions], after[compactions]), (0.0, 1.0));
        assert!(after[steps] >= 1.0);
        let last = "etcd_debugging_mvcc_db_compaction_last";
        assert_eq!(before[last], 0.0);
        // Some time after this was written.
        assert!(after[last] > 1.7e9);
        let requests = |kind: &str| {
            after[&format!("etcd_server_request_duration_seconds_count{{success=\"true\",type=\"{kind}\"}}")]
        };
        // A refusal is an answer.
        assert_eq!((requests("Put"), requests("Compaction")), (2.0, 2.0));
        let writes = "etcd_disk_wal_write_duration_seconds_count";
        assert!(after[writes] > before[writes]);
        let failed = "etcd_server_learner_promote_failures{Reason=\"etcdserver: member not found\"}";
        assert_eq!(after[failed], 1.0);
    });
}

/// Of many keys and of one that is larger than any part that an answer is sent in.
#[test]
fn a_long_answer_is_one_message_whole_and_in_order() {
    let node = single();
    let at = &node.address;
    runtime().block_on(async {
        put_soon(at, "ready", "").await;
        let mut wanted = Vec::new();
        for number in 0..200 {
            let value = format!("{number:04}").repeat(if number == 100 { 50_000 } else { 500 });
            let key = format!("long/{number:04}");
            put(at, &key, &value).await.unwrap();
            wanted.push((key, value));
        }
        let sent = r#"grpc_server_msg_sent_total{grpc_method="Range",grpc_service="etcdserverpb.KV",grpc_type="unary"}"#;
        let before = parse(&get(at, "/metrics").await.body).0;
        let answer = get_prefix(at, "long/").await.unwrap();
        let after = parse(&get(at, "/metrics").await.body).0;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let found: Vec<_> = answer.kvs.iter().map(|kv| (text(&kv.key), text(&kv.value))).collect();
        assert!(found == wanted, "{} of {}", found.len(), wanted.len());
        assert_eq!((answer.count, answer.more), (200, false));
        assert_eq!(answer.header.unwrap().revision, answer.kvs[199].mod_revision);
        assert_eq!(after[sent] - before[sent], 1.0);
        let bytes = "etcd_network_client_grpc_sent_bytes_total";
        assert!(after[bytes] - before[bytes] > 600_000.0);
    });
}

#[test]
fn streams_of_watches_are_measured() {
    let node = single();
    let at = &node.address;
    runtime().block_on(async {
        put_soon(at, "ready", "").await;
        let mut watching = Watching::open(at).await;
        let create = WatchCreateRequest {
            key: "ready".into(),
            start_revision: 1,
            ..WatchCreateRequest::default()
        };
        assert!(watching.create(create).await.created);
        assert_eq!(watching.next().await.events.len(), 1);
        let deadline = Instant::now() + PATIENCE;
        for name in [
            "control_stream_duration_seconds_count",
            "watch_stream_duration_seconds_count",
            "watch_stream_duration_per_event_seconds_count",
        ] {
            let name = format!("etcd_debugging_server_watch_send_loop_{name}");
            // A message is counted after it was handed on.
            while parse(&get(at, "/metrics").await.body).0[&name] != 1.0 {
                assert!(Instant::now() < deadline, "{name}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    });
}

/// etcd `tests/e2e/metrics_test.go`, `TestNoMetricsMissing`.
#[test]
fn extensive_metrics_tell_how_long_calls_take() {
    let count = r#"grpc_server_handling_seconds_count{grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"}"#;
    for extensive_metrics in [false, true] {
        let disk = DataDir::Simulated(MemoryDisk::new(), Duration::ZERO);
        let node = Node::start(&MemberConfig {
            extensive_metrics,
            ..MemberConfig::single("one", disk, &free_address())
        });
        runtime().block_on(async {
            put_soon(&node.address, "a", "").await;
            let before = parse(&get(&node.address, "/metrics").await.body).0;
            put_soon(&node.address, "a", "").await;
            let after = parse(&get(&node.address, "/metrics").await.body).0;
            let more = before.get(count).map(|before| after[count] - before);
            assert_eq!(more, extensive_metrics.then_some(1.0));
            // This one is still under way.
            let scrapes = r#"promhttp_metric_handler_requests_total{code="200"}"#;
            assert_eq!((before[scrapes], after[scrapes]), (0.0, 1.0));
            assert_eq!(after["promhttp_metric_handler_requests_in_flight"], 1.0);
        });
    }
}

#[test]
fn a_listener_of_its_own_tells_metrics_and_health_only() {
    let disk = DataDir::Simulated(MemoryDisk::new(), Duration::ZERO);
    let observed = free_address();
    let node = Node::start(&MemberConfig {
        metrics_listen: vec![MetricsListener {
            address: observed.clone(),
            tls: false,
        }],
        ..MemberConfig::single("one", disk, &free_address())
    });
    runtime().block_on(async {
        put_soon(&node.address, "a", "").await;
        let text = get(&observed, "/metrics").await.body;
        assert_eq!(parse(&text).0["etcd_mvcc_put_total"], 1.0);
        assert_eq!(get(&observed, "/health").await.status, 200);
        assert_eq!(get(&observed, "/readyz/linearizable_read").await.status, 200);
        for hidden in ["/version", "/v3/kv/range", "/metricsx"] {
            assert_eq!(get(&observed, hidden).await.status, 404, "{hidden}");
        }
    });
}
