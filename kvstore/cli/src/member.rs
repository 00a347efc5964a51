//! From options to the configuration of a member.

use crate::options::{Options, Refusal};
use crate::url::Url;
use crate::value;
use kvstore_server::{
    AutoCompaction, ClientListener, ClusterPeer, CompactionPace, ConnectionLimits, CorruptCheck, DataDir,
    InitialState, ListenerSecurity, MemberConfig, MetricsListener, PeerListener, Serves,
};
use kvstore_storage::RocksOptions;
use std::time::Duration;
use support::Env;

/// etcd `server/etcdserver/server.go`, `HealthInterval`: a cluster that has just been started, or a member that
/// has just come back, isn't counted on when members are added or removed.
const HEALTH_INTERVAL: Duration = Duration::from_secs(5);

impl Options {
    /// What the member runs with; reads the files of keys and certificates.
    ///
    /// # Errors
    /// When a file can't be read, or two things contradict each other.
    pub fn member(&self, env: &Env) -> Result<MemberConfig, Refusal> {
        let data = DataDir::Directory(self.data_dir.clone(), RocksOptions::default());
        let mut config = MemberConfig::single(&self.name, data, "");
        config.client_listen = Vec::new();
        config.client_listeners = self.client_listeners();
        config.client_advertise = texts(self.advertise_client.as_deref().unwrap_or_default());
        config.metrics_listen = self
            .listen_metrics
            .iter()
            .map(|url| MetricsListener {
                address: url.bind_address(),
                tls: url.is_secure(),
            })
            .collect();
        config.client_tls = self.client_tls(env)?;
        config.peer_listeners = self
            .listen_peer
            .iter()
            .map(|url| PeerListener {
                address: url.bind_address(),
                tls: url.is_secure(),
            })
            .collect();
        config.peer_tls = self.peer_tls(env)?;
        config.peer_advertise = texts(&self.advertise_peer);
        config.initial_cluster = self
            .initial_cluster
            .iter()
            .map(|(name, urls)| ClusterPeer {
                name: name.clone(),
                peer_urls: texts(urls),
            })
            .collect();
        self.cluster(&mut config);
        self.clocks(&mut config);
        self.limits(&mut config);
        self.upkeep(&mut config)?;
        Ok(config)
    }

    /// One listener an address: plain and TLS may share it. With addresses for HTTP the others are left to
    /// gRPC.
    fn client_listeners(&self) -> Vec<ClientListener> {
        let serves = if self.listen_client_http.is_empty() {
            Serves::All
        } else {
            Serves::Grpc
        };
        let urls = self.listen_client.iter().map(|url| (url, serves));
        let http = self.listen_client_http.iter().map(|url| (url, Serves::Http));
        let mut listeners: Vec<ClientListener> = Vec::new();
        for (url, serves) in urls.chain(http) {
            let (address, security) = (url.bind_address(), security(url));
            match listeners.iter_mut().find(|listener| listener.address == address) {
                Some(listener) if listener.security != security => {
                    listener.security = ListenerSecurity::Either;
                }
                Some(_) => {}
                None => listeners.push(ClientListener {
                    address,
                    security,
                    serves,
                }),
            }
        }
        listeners
    }

    fn cluster(&self, config: &mut MemberConfig) {
        let settings = &self.settings;
        config.cluster_token = settings.text("initial-cluster-token");
        config.initial_state = match settings.text("initial-cluster-state").as_str() {
            "existing" => InitialState::Existing,
            _ => InitialState::New,
        };
        config.force_new_cluster = settings.bool("force-new-cluster");
        config.strict_reconfig = settings.bool("strict-reconfig-check");
        config.health_interval = HEALTH_INTERVAL;
        config.max_learners = usize::try_from(settings.int("max-learners")).unwrap_or(0);
    }

    /// etcd's two clocks, or our own quicker ones when neither is given. etcd's election starts between one
    /// and two time-outs after the last sign of life; so do ours, with the lease of one.
    fn clocks(&self, config: &mut MemberConfig) {
        let settings = &self.settings;
        if settings.is_set("heartbeat-interval") || settings.is_set("election-timeout") {
            config.heartbeat = Duration::from_millis(settings.uint("heartbeat-interval"));
            config.election_max = Duration::from_millis(settings.uint("election-timeout"));
            config.election_min = config.election_max / 2;
        }
        config.progress_interval = settings
            .duration("watch-progress-notify-interval")
            .max(Duration::from_millis(100));
    }

    fn limits(&self, config: &mut MemberConfig) {
        let settings = &self.settings;
        let size = |name: &str| usize::try_from(settings.uint(name)).unwrap_or(usize::MAX);
        if settings.is_set("snapshot-count") {
            config.snapshot_entries = settings.uint("snapshot-count").max(1);
        }
        config.max_txn_ops = size("max-txn-ops");
        config.max_request_bytes = size("max-request-bytes");
        config.slow_request = settings.duration("warning-unary-request-duration");
        config.quota_bytes = u64::try_from(settings.int("quota-backend-bytes")).unwrap_or(0);
        let limits = ConnectionLimits::default();
        config.client_limits = ConnectionLimits {
            streams: match settings.is_set("max-concurrent-streams") {
                true => u32::try_from(settings.uint("max-concurrent-streams")).unwrap_or(u32::MAX),
                false => limits.streams,
            },
            ping_interval: match settings.is_set("grpc-keepalive-interval") {
                true => Some(settings.duration("grpc-keepalive-interval")).filter(|d| !d.is_zero()),
                false => limits.ping_interval,
            },
            ping_timeout: settings.duration("grpc-keepalive-timeout"),
        };
        config.extensive_metrics = settings.text("metrics") == "extensive";
        config.enable_grpc_gateway = settings.bool("enable-grpc-gateway");
        config.cors = settings.list("cors");
        config.host_whitelist = settings.list("host-whitelist");
        config.auth_token = settings.text("auth-token");
        config.auth_token_ttl = Duration::from_secs(settings.uint("auth-token-ttl"));
        config.bcrypt_cost = u32::try_from(settings.uint("bcrypt-cost")).unwrap_or(u32::MAX);
        config.client_cert_auth = settings.bool("client-cert-auth");
    }

    fn upkeep(&self, config: &mut MemberConfig) -> Result<(), Refusal> {
        let settings = &self.settings;
        config.auto_compaction = retention(
            &settings.text("auto-compaction-mode"),
            &settings.text("auto-compaction-retention"),
        )?;
        let pace = CompactionPace::default();
        config.compaction_pace = CompactionPace {
            batch: usize::try_from(settings.int("compaction-batch-limit"))
                .ok()
                .filter(|batch| *batch > 0)
                .unwrap_or(pace.batch),
            pause: if settings.is_set("compaction-sleep-interval") {
                settings.duration("compaction-sleep-interval")
            } else {
                pace.pause
            },
        };
        let check = CorruptCheck::default();
        let asked = [settings.duration("corrupt-check-time")].into_iter().chain(
            settings
                .is_set("compact-hash-check-time")
                .then(|| settings.duration("compact-hash-check-time")),
        );
        config.corrupt_check = CorruptCheck {
            // On by default here: it costs nothing that clients would feel.
            initial: check.initial,
            interval: asked
                .filter(|interval| !interval.is_zero())
                .min()
                .unwrap_or(check.interval),
        };
        Ok(())
    }
}

fn security(url: &Url) -> ListenerSecurity {
    if url.is_secure() {
        ListenerSecurity::Tls
    } else {
        ListenerSecurity::Plain
    }
}

fn texts(urls: &[Url]) -> Vec<String> {
    urls.iter().map(ToString::to_string).collect()
}

/// etcd `embed.parseCompactionRetention`: a bare number is hours or revisions.
fn retention(mode: &str, text: &str) -> Result<AutoCompaction, Refusal> {
    let text = if text.is_empty() { "0" } else { text };
    let nanoseconds = match (text.parse::<u64>(), mode) {
        (Ok(0), _) => 0,
        (Ok(revisions), "revision") => return Ok(AutoCompaction::Revisions(revisions)),
        (Ok(hours), _) => i64::try_from(hours)
            .ok()
            .and_then(|hours| hours.checked_mul(3_600_000_000_000))
            .unwrap_or(i64::MAX),
        (Err(_), _) => value::duration(text).map_err(|_| {
            Refusal(format!(
                "error parsing CompactionRetention: time: invalid duration {text:?}"
            ))
        })?,
    };
    Ok(match (nanoseconds, mode) {
        (..=0, _) => AutoCompaction::Off,
        // etcd takes the nanoseconds of a duration for a number of revisions.
        (revisions, "revision") => AutoCompaction::Revisions(revisions.unsigned_abs()),
        (nanoseconds, _) => AutoCompaction::Periodic(value::positive(nanoseconds)),
    })
}

#[cfg(test)]
mod tests {
    use super::retention;
    use kvstore_server::AutoCompaction;
    use std::time::Duration;

    #[test]
    fn retention_counts_hours_durations_or_revisions() {
        let hours = |n: u64| AutoCompaction::Periodic(Duration::from_secs(n * 3600));
        for (mode, text, expected) in [
            ("periodic", "0", AutoCompaction::Off),
            ("periodic", "", AutoCompaction::Off),
            ("periodic", "5", hours(5)),
            (
                "periodic",
                "5m",
                AutoCompaction::Periodic(Duration::from_secs(300)),
            ),
            ("revision", "1000", AutoCompaction::Revisions(1000)),
            ("revision", "0", AutoCompaction::Off),
        ] {
            assert_eq!(retention(mode, text), Ok(expected), "{mode} {text}");
        }
        assert_eq!(
            retention("periodic", "soon")
                .expect_err("no duration")
                .to_string(),
            "error parsing CompactionRetention: time: invalid duration \"soon\""
        );
    }
}
