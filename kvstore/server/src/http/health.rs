//! Whether this member serves (etcd `server/etcdserver/api/etcdhttp/health.go`): `/health` for the cluster as
//! seen from here, `/livez` for the process, `/readyz` for its clients.

use super::plain;
use crate::services::Shared;
use http::{Response, StatusCode};
use kvstore_core::{ALARM_CORRUPT, alarms};
use serde_json::json;
use std::fmt::Write as _;
use tonic::body::Body;

const LIVE: &[&str] = &["serializable_read"];
const READY: &[&str] = &[
    "data_corruption",
    "serializable_read",
    "linearizable_read",
    "non_learner",
];

/// `livez` or `readyz`, and which of its checks a path asks for.
fn checks(path: &str) -> Option<(&'static str, &'static [&'static str])> {
    let (kind, checks) = if path.starts_with("/livez") {
        ("livez", LIVE)
    } else {
        ("readyz", READY)
    };
    let rest = path.strip_prefix('/')?.strip_prefix(kind)?;
    if rest.is_empty() {
        return Some((kind, checks));
    }
    let name = rest.strip_prefix('/')?;
    let at = checks.iter().position(|check| *check == name)?;
    Some((kind, &checks[at..=at]))
}

/// One health check.
pub struct Health<'a> {
    shared: &'a Shared,
    query: Vec<(String, String)>,
}

impl<'a> Health<'a> {
    pub fn knows(path: &str) -> bool {
        path == "/health" || checks(path).is_some()
    }

    pub fn new(shared: &'a Shared, query: &str) -> Self {
        let query = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Self { shared, query }
    }

    pub async fn answer(&self, path: &str) -> Response<Body> {
        match checks(path) {
            Some((kind, checks)) => self.run(kind, checks).await,
            None => self.health().await,
        }
    }

    fn asks(&self, key: &str, value: &str) -> bool {
        self.query.iter().any(|(k, v)| k == key && v == value)
    }

    async fn health(&self) -> Response<Body> {
        let failure = self.failure().await;
        let state = &self.shared.store.metrics.state;
        let (status, healthy) = match failure {
            None => {
                state.health_success.inc();
                (StatusCode::OK, "true")
            }
            Some(_) => {
                state.health_failures.inc();
                (StatusCode::SERVICE_UNAVAILABLE, "false")
            }
        };
        let reason = failure.unwrap_or_default();
        plain(status, json!({ "health": healthy, "reason": reason }).to_string())
    }

    /// etcd's order: alarms, leader, a read.
    async fn failure(&self) -> Option<String> {
        let serializable = self.asks("serializable", "true");
        match alarms(&*self.shared.store.view()) {
            Err(error) => return Some(format!("RANGE ERROR:{error}")),
            Ok(raised) => {
                let mut names = raised
                    .iter()
                    // Another member that is corrupt has stopped by itself.
                    .filter(|alarm| alarm.alarm != ALARM_CORRUPT || self.shared.is_stopped())
                    .map(|alarm| alarm.alarm().as_str_name());
                if let Some(name) = names.find(|name| !self.asks("exclude", name)) {
                    return Some(format!("ALARM {name}"));
                }
            }
        }
        if serializable {
            return None;
        }
        if self.shared.consensus.leader_in_touch().is_none() {
            return Some("RAFT NO LEADER".to_owned());
        }
        let confirmed = self.confirmed().await;
        confirmed.err().map(|error| format!("RANGE ERROR:{error}"))
    }

    async fn run(&self, kind: &'static str, checks: &[&'static str]) -> Response<Body> {
        let (mut text, mut failed) = (String::new(), false);
        // A check of its own path can't be excluded.
        let whole = checks.len() > 1 || kind == "livez";
        for check in checks {
            if whole && self.asks("exclude", check) {
                continue;
            }
            let outcome = self.check(check).await;
            self.shared.store.metrics.health.ran(kind, check, outcome.is_ok());
            // Writing to a String can't fail.
            let _ = match outcome {
                Ok(()) => writeln!(text, "[+]{check} ok"),
                Err(error) => {
                    failed = true;
                    writeln!(text, "[-]{check} failed: {error}")
                }
            };
        }
        if failed {
            return plain(StatusCode::SERVICE_UNAVAILABLE, text + "\n");
        }
        if !self.query.iter().any(|(key, _)| key == "verbose") {
            text.clear();
        }
        plain(StatusCode::OK, text + "ok\n")
    }

    async fn check(&self, name: &str) -> Result<(), String> {
        let consensus = &self.shared.consensus;
        match name {
            "linearizable_read" => self.confirmed().await,
            "non_learner" if consensus.is_learner(consensus.id) => {
                Err("not supported for learner".to_owned())
            }
            "non_learner" => Ok(()),
            name => {
                if name == "data_corruption" && self.shared.is_stopped() {
                    return Err("alarm activated: CORRUPT".to_owned());
                }
                let raised = alarms(&*self.shared.store.view());
                raised.map(|_| ()).map_err(|error| error.to_string())
            }
        }
    }

    async fn confirmed(&self) -> Result<(), String> {
        let confirmed = self.shared.barrier.wait().await;
        confirmed.map_err(|status| status.message().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::checks;

    #[test]
    fn a_path_asks_for_all_checks_or_one() {
        assert_eq!(checks("/livez").map(|(_, checks)| checks.len()), Some(1));
        assert_eq!(checks("/readyz").map(|(_, checks)| checks.len()), Some(4));
        assert_eq!(
            checks("/readyz/non_learner").map(|(_, checks)| checks.len()),
            Some(1)
        );
        for unknown in ["/readyz/", "/livez/non_learner", "/livezz", "/health", "/"] {
            assert_eq!(checks(unknown), None, "{unknown}");
        }
    }
}
