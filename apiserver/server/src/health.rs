//! `/healthz`, `/livez`, `/readyz` with their named checks.

use crate::http::{Response, text_response};
use crate::store::StoreClient;
use apiserver_core::request_info::query_pairs;
use http::StatusCode;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Upstream's --etcd-healthcheck-timeout and --etcd-readycheck-timeout.
const STORE_TIMEOUT: Duration = Duration::from_secs(2);

pub(crate) struct Health {
    store: Arc<StoreClient>,
    /// Start-up objects are there.
    pub started: AtomicBool,
    pub stopping: AtomicBool,
}

/// A check's name; whether it counts for liveness too.
const CHECKS: [(&str, bool); 4] = [
    ("ping", true),
    ("etcd", true),
    ("poststarthook/start-up-objects", false),
    ("shutdown", false),
];

impl Health {
    pub(crate) fn new(store: Arc<StoreClient>) -> Self {
        Self {
            store,
            started: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
        }
    }

    /// `None` for other paths.
    pub(crate) async fn answer(&self, path: &str, query: &str) -> Option<Response> {
        let (endpoint, check) = match path.trim_start_matches('/').split_once('/') {
            Some((endpoint, check)) => (endpoint, Some(check.trim_end_matches('/'))),
            None => (path.trim_start_matches('/'), None),
        };
        if !matches!(endpoint, "healthz" | "livez" | "readyz") {
            return None;
        }
        let ready = endpoint == "readyz";
        let counted = |live: bool| ready || live;
        if let Some(check) = check.filter(|check| !check.is_empty()) {
            let known = CHECKS
                .iter()
                .find(|(name, live)| *name == check && counted(*live));
            return Some(match known {
                None => text_response(StatusCode::NOT_FOUND, "404 page not found\n"),
                Some((name, _)) => match self.check(name).await {
                    Ok(()) => text_response(StatusCode::OK, "ok"),
                    Err(why) => text_response(
                        StatusCode::INTERNAL_SERVER_ERROR,
                        format!("internal server error: {why}\n"),
                    ),
                },
            });
        }
        let excluded: Vec<String> = query_pairs(query)
            .filter(|(key, _)| key == "exclude")
            .map(|(_, value)| value)
            .collect();
        let verbose = query_pairs(query).any(|(key, _)| key == "verbose");
        let mut text = String::new();
        let mut failed = false;
        for (name, _) in CHECKS.iter().filter(|(_, live)| counted(*live)) {
            // Writing to a String can't fail.
            let _ = if excluded.iter().any(|excluded| excluded == name) {
                writeln!(text, "[+]{name} excluded: ok")
            } else if self.check(name).await.is_ok() {
                writeln!(text, "[+]{name} ok")
            } else {
                failed = true;
                writeln!(text, "[-]{name} failed: reason withheld")
            };
        }
        Some(if failed {
            text_response(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("{text}{endpoint} check failed\n"),
            )
        } else if verbose {
            text_response(StatusCode::OK, format!("{text}{endpoint} check passed\n"))
        } else {
            text_response(StatusCode::OK, "ok")
        })
    }

    async fn check(&self, name: &str) -> Result<(), String> {
        match name {
            "etcd" => match tokio::time::timeout(STORE_TIMEOUT, self.store.current_revision()).await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err("the store doesn't answer".to_owned()),
            },
            "shutdown" if self.stopping.load(Ordering::Relaxed) => Err("shutting down".to_owned()),
            "poststarthook/start-up-objects" if !self.started.load(Ordering::Relaxed) => {
                Err("not finished".to_owned())
            }
            _ => Ok(()),
        }
    }
}
