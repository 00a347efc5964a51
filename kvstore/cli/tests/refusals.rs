//! What is taken and what is refused, in which words; nothing is started.

use kvstore_cli::{Options, Surroundings};
use std::collections::BTreeMap;
use std::path::Path;

fn options(flags: &[&str], variables: &[(&str, &str)]) -> Result<Options, String> {
    let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
    let variables: BTreeMap<String, String> = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let surroundings = Surroundings {
        variables,
        host: Some("192.0.2.7".to_owned()),
    };
    kvstore_cli::options(&flags, &surroundings).map_err(|refusal| refusal.to_string())
}

fn taken(flags: &[&str]) -> Options {
    options(flags, &[]).unwrap_or_else(|refusal| panic!("{flags:?}: {refusal}"))
}

/// The refusal of each list of flags.
fn refused(cases: &[(&[&str], &str)]) {
    for (flags, words) in cases {
        assert_eq!(options(flags, &[]).err().as_deref(), Some(*words), "{flags:?}");
    }
}

const CLIENT: &str = "--listen-client-urls=http://127.0.0.1:2379";
const ADVERTISE: &str = "--advertise-client-urls=http://127.0.0.1:2379";

#[test]
fn urls_are_refused_as_etcd_refuses_them() {
    refused(&[
        (&["member"], "\"member\" is not a valid flag"),
        (
            &[CLIENT],
            "--advertise-client-urls is required when --listen-client-urls is set explicitly",
        ),
        (
            &["--listen-peer-urls=http://example.com:2380"],
            "expected IP in URL for binding (http://example.com:2380)",
        ),
        (
            &["--initial-advertise-peer-urls=http://:2380"],
            "--initial-advertise-peer-urls \"http://:2380\" must be \"host:port\" (unexpected empty host \
             (http://:2380))",
        ),
        (
            &[CLIENT, "--advertise-client-urls=http://:2379"],
            "--advertise-client-urls \"http://:2379\" must be in the format \"host:port\", \
             \"unix:/path/to/socket\" or \"unixs:/path/to/socket\" (unexpected empty host (http://:2379))",
        ),
        (
            &[
                CLIENT,
                ADVERTISE,
                "--listen-client-http-urls=http://127.0.0.1:2379",
            ],
            "cannot bind both --listen-client-urls and --listen-client-http-urls on the same url \
             http://127.0.0.1:2379",
        ),
    ]);
}

#[test]
fn clocks_modes_and_logs_are_refused_as_etcd_refuses_them() {
    refused(&[
        (
            &["--heartbeat-interval=0"],
            "--heartbeat-interval must be >0 (set to 0ms)",
        ),
        (
            &["--election-timeout=0"],
            "--election-timeout must be >0 (set to 0ms)",
        ),
        (
            &["--heartbeat-interval=300"],
            "--election-timeout[1000ms] should be at least as 5 times as --heartbeat-interval[300ms]",
        ),
        (
            &["--election-timeout=60000"],
            "--election-timeout[60000ms] is too long, and should be set less than 50000ms",
        ),
        (&["--auto-compaction-mode="], "undefined auto-compaction-mode"),
        (
            &["--auto-compaction-mode=always"],
            "unknown auto-compaction-mode \"always\"",
        ),
        (&["--logger=capnslog"], "--logger=capnslog is removed in v3.5"),
        (&["--logger=syslog"], "unknown logger option \"syslog\""),
        (&["--log-level=loud"], "unrecognized level: \"loud\""),
        (
            &["--log-outputs=default,stdout"],
            "multi logoutput for \"default\" is not supported yet",
        ),
        (
            &["--compact-hash-check-time=0"],
            "--compact-hash-check-time must be >0 (set to 0s)",
        ),
        (
            &["--feature-gates=LeaseCheckpointPersist=true"],
            "enabling feature gate LeaseCheckpointPersist requires enabling feature gate LeaseCheckpoint",
        ),
    ]);
}

#[test]
fn tls_is_refused_as_etcd_refuses_it() {
    refused(&[
        (
            &["--tls-min-version=TLS1.1"],
            "unexpected TLS version \"TLS1.1\" (must be one of: TLS1.2, TLS1.3)",
        ),
        (
            &["--tls-min-version=TLS1.3", "--tls-max-version=TLS1.2"],
            "min version (TLS1.3) is greater than max version (TLS1.2)",
        ),
        (
            &[
                "--tls-min-version=TLS1.3",
                "--cipher-suites=TLS_AES_128_GCM_SHA256",
            ],
            "cipher suites cannot be configured when only TLS1.3 is enabled",
        ),
        (
            &["--cert-file=c.pem"],
            "KeyFile and CertFile must both be present[key: , cert: c.pem]",
        ),
        (
            &["--peer-client-cert-file=c.pem"],
            "ClientKeyFile and ClientCertFile must both be present or both absent: key: , cert: c.pem]",
        ),
        (
            &["--peer-cert-allowed-cn=a", "--peer-cert-allowed-hostname=b"],
            "AllowedCNs and AllowedHostnames are mutually exclusive (cns=[\"a\"], hostnames=[\"b\"])",
        ),
        (
            &["--listen-client-urls=https://127.0.0.1:2379", ADVERTISE],
            "TLS key/cert (--cert-file, --key-file) must be provided for client url https://127.0.0.1:2379 \
             with HTTPS scheme",
        ),
        (
            &["--listen-metrics-urls=https://127.0.0.1:2381"],
            "client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure url",
        ),
        (
            &["--listen-peer-urls=https://127.0.0.1:2380"],
            "cannot listen on TLS for 127.0.0.1:2380: KeyFile and CertFile are not presented",
        ),
    ]);
}

#[test]
fn clusters_are_refused_as_etcd_refuses_them() {
    refused(&[
        (
            &["--initial-cluster=a=http://a:1", "--discovery-srv=example.com"],
            "multiple discovery or bootstrap flags are set. Choose one of \"initial-cluster\", \
             \"discovery-endpoints\" or \"discovery-srv\"",
        ),
        (
            &["--discovery-token=x"],
            "both --discovery-token and --discovery-endpoints must be set",
        ),
        (
            &["--discovery-fallback=proxy"],
            "v2 proxy is deprecated, and --discovery-fallback can't be configured as \"proxy\"",
        ),
        (
            &["--initial-cluster=a"],
            "error setting up initial cluster: URL scheme must be http, https, unix, or unixs: ",
        ),
        (
            &["--name=b", "--initial-cluster=a=http://localhost:2380"],
            "couldn't find local name \"b\" in the initial cluster configuration",
        ),
        (
            &["--initial-cluster=default=http://localhost:2380,b=http://localhost:2380"],
            "initial cluster b=http://localhost:2380,default=http://localhost:2380 has duplicate url",
        ),
        (
            &["--initial-advertise-peer-urls=http://127.0.0.1:9"],
            "--initial-cluster has default=http://localhost:2380 but missing from \
             --initial-advertise-peer-urls=http://127.0.0.1:9 (they lead to different addresses)",
        ),
    ]);
}

#[test]
fn what_would_silently_not_be_done_is_refused_by_name() {
    for (flag, words) in [
        (
            "--discovery-srv=example.com",
            "--discovery-srv is not supported: there is no discovery: name the members with --initial-cluster",
        ),
        (
            "--wal-dir=/wal",
            "--wal-dir is not supported: the log is part of the database in --data-dir",
        ),
        ("--enable-v2", "--enable-v2 is not supported: the v2 API is gone"),
        ("--proxy=on", "--proxy is not supported: the v2 proxy is gone"),
        (
            "--experimental-enable-distributed-tracing",
            "--enable-distributed-tracing is not supported: there is no exporter of traces",
        ),
    ] {
        let refusal = taken(&[flag]).check_supported().expect_err("refused");
        assert_eq!(refusal.to_string(), words);
    }
}

#[test]
fn what_only_tunes_something_else_is_taken_and_told() {
    let options = taken(&[
        "--backend-batch-interval=50ms",
        "--enable-v2=false",
        "--max-wals=5",
        "--experimental-memory-mlock",
        "--snapshot",
        "--feature-gates=LeaseCheckpoint=true",
    ]);
    assert_eq!(
        options.check_supported().expect("nothing is refused"),
        [
            "--experimental-memory-mlock is deprecated: use --memory-mlock",
            "--backend-batch-interval has no effect: the data are in RocksDB, which has no such setting",
            "--memory-mlock has no effect: the data are not mapped into memory",
            "--snapshot has no effect: etcd has been ignoring it for years",
            "feature gate LeaseCheckpoint has no effect: a new leader gives every lease its whole time",
        ]
    );
}

#[test]
fn flags_count_more_than_variables_and_variables_more_than_defaults() {
    let variables = [
        ("ETCD_NAME", "from-variable"),
        ("ETCD_DATA_DIR", "/from/variable"),
        ("ETCD_VERSION", "3.6"),
        ("ETCD_NO_SUCH_THING", "1"),
    ];
    let options = options(&["--name=from-flag"], &variables).expect("good");
    assert_eq!(options.name, "from-flag");
    assert_eq!(options.data_dir, Path::new("/from/variable"));
    let remarks = options.check_supported().expect("nothing is refused").join("\n");
    for remark in [
        "ETCD_NAME=from-variable is shadowed",
        "ETCD_VERSION=3.6 is ignored",
        "unrecognized environment variable ETCD_NO_SUCH_THING=1",
    ] {
        assert!(remarks.contains(remark), "{remarks}");
    }
}

#[test]
fn a_bad_variable_is_refused_by_name() {
    assert_eq!(
        options(&[], &[("ETCD_HEARTBEAT_INTERVAL", "x")]).err().as_deref(),
        Some("invalid value \"x\" for ETCD_HEARTBEAT_INTERVAL: parse error")
    );
}

#[test]
fn a_file_counts_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("etcd.yaml");
    // A file's default of what to advertise stands even beside listeners.
    let text = "name: from-file\nlisten-client-urls: http://127.0.0.1:1\n";
    std::fs::write(&file, text).expect("written");
    let path = file.to_str().expect("a path of text");
    let by_flag = ["--name=from-flag", &format!("--config-file={path}")];
    let by_flag = options(&by_flag, &[("ETCD_DATA_DIR", "/from/variable")]).expect("good");
    assert_eq!(by_flag.name, "from-file");
    assert_eq!(by_flag.data_dir, Path::new("from-file.etcd"));
    assert_eq!(by_flag.listen_client[0].to_string(), "http://127.0.0.1:1");
    let by_variable = options(&["--name=from-flag"], &[("ETCD_CONFIG_FILE", path)]).expect("good");
    assert_eq!(by_variable.name, "from-file");
    let absent = options(&["--config-file=/no/such/file"], &[]).expect_err("absent");
    assert!(absent.starts_with("open /no/such/file: "), "{absent}");
}

#[test]
fn a_bare_member_has_the_defaults_of_etcd() {
    let options = taken(&[]);
    assert_eq!(options.name, "default");
    assert_eq!(options.data_dir, Path::new("default.etcd"));
    assert_eq!(options.listen_client[0].to_string(), "http://localhost:2379");
    let own = &options.initial_cluster["default"];
    assert_eq!(own[0].to_string(), "http://localhost:2380");
    let named = taken(&["--name=m1", "--initial-advertise-peer-urls=http://127.0.0.1:7"]);
    assert_eq!(named.initial_cluster["m1"][0].to_string(), "http://127.0.0.1:7");
}

#[test]
fn nobody_is_told_to_call_at_every_address() {
    let options = taken(&["--name=m1", "--listen-peer-urls=http://0.0.0.0:2380"]);
    assert_eq!(options.advertise_peer[0].to_string(), "http://192.0.2.7:2380");
    assert_eq!(
        options.initial_cluster["m1"][0].to_string(),
        "http://192.0.2.7:2380"
    );
}

#[test]
fn a_folder_of_keys_stands_for_its_files_and_makes_https_the_default() {
    let options = taken(&["--pki=/keys", "--name=m1", "--peer-key-file=/other.key"]);
    assert_eq!(options.listen_client[0].to_string(), "https://localhost:2379");
    assert_eq!(
        options.initial_cluster["m1"][0].to_string(),
        "https://localhost:2380"
    );
}

/// etcd `etcd.conf.yml.sample`, which `tests/e2e/etcd_config_test.go` starts a member with.
#[test]
fn what_etcds_sample_file_leaves_over_from_older_versions_is_ignored() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("etcd.yaml");
    let text =
        "wal-dir:\ncors:\ndiscovery:\ndiscovery-fallback: 'proxy'\ndiscovery-proxy:\ninitial-cluster:\n";
    std::fs::write(&file, text).expect("written");
    let given = format!("--config-file={}", file.display());
    assert_eq!(taken(&[&given]).name, "default");
    refused(&[(
        &["--discovery-fallback=proxy"],
        "v2 proxy is deprecated, and --discovery-fallback can't be configured as \"proxy\"",
    )]);
}

#[test]
fn a_folder_in_which_etcd_has_its_data_is_not_taken_for_an_empty_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("UTF-8");
    let flag = format!("--data-dir={path}");
    taken(&[&flag]);
    std::fs::create_dir_all(folder.path().join("member/snap")).expect("made");
    let words = format!(
        "--data-dir {path} holds the data of an etcd member, which can't be opened: restore a snapshot that etcd \
         saved, or {path}/member/snap/db with --skip-hash-check, into another folder (`snapshot restore`)"
    );
    refused(&[(&[&flag], &words)]);
    std::fs::write(folder.path().join("CURRENT"), "").expect("written");
    taken(&[&flag]);
}
