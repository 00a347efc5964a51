//! Plain HTTP beside gRPC: health, readiness, version, a few metrics (etcd
//! `server/etcdserver/api/etcdhttp`).

use crate::services::{ETCD_VERSION, Shared};
use bytes::Bytes;
use http::{Method, Response, StatusCode, Uri, header};
use http_body_util::Full;
use kvstore_core::{ALARM_CORRUPT, alarms};
use std::fmt::Write as _;
use tonic::body::Body;

/// Answers what is not gRPC.
#[derive(Clone)]
pub struct HttpEndpoints {
    shared: Shared,
}

impl HttpEndpoints {
    pub fn new(shared: Shared) -> Self {
        Self { shared }
    }

    pub async fn answer(&self, method: &Method, uri: &Uri) -> Response<Body> {
        if method != Method::GET {
            return plain(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n");
        }
        let query = uri.query().unwrap_or_default();
        match uri.path() {
            "/health" => self.health(query).await,
            "/version" => {
                let version = ETCD_VERSION;
                let cluster = version.rsplit_once('.').map_or(version, |(minor, _)| minor);
                let body = format!(r#"{{"etcdserver":"{version}","etcdcluster":"{cluster}.0"}}"#);
                respond(StatusCode::OK, "application/json", body)
            }
            "/livez" | "/livez/serializable_read" => {
                self.checks("livez", &[("serializable_read", self.readable())], query)
            }
            "/readyz" => {
                let checks = [
                    ("data_corruption", self.uncorrupted()),
                    ("serializable_read", self.readable()),
                    ("linearizable_read", self.confirmed().await),
                ];
                self.checks("readyz", &checks, query)
            }
            "/readyz/linearizable_read" => {
                let checks = [("linearizable_read", self.confirmed().await)];
                self.checks("readyz", &checks, query)
            }
            "/metrics" => respond(
                StatusCode::OK,
                "text/plain; version=0.0.4; charset=utf-8",
                self.metrics(),
            ),
            _ => plain(StatusCode::NOT_FOUND, "404 page not found\n"),
        }
    }

    /// etcd's order: alarms, leader, a read.
    async fn health(&self, query: &str) -> Response<Body> {
        let excluded = |name: &str| query.split('&').any(|pair| pair == format!("exclude={name}"));
        let raised = alarms(&*self.shared.store.view());
        let reason = match raised {
            Err(error) => format!("RANGE ERROR:{error}"),
            Ok(raised) => {
                let alarm = raised
                    .iter()
                    // Another member that is corrupt has stopped by itself.
                    .filter(|alarm| alarm.alarm != ALARM_CORRUPT || self.shared.is_stopped())
                    .map(|alarm| alarm.alarm().as_str_name())
                    .find(|name| !excluded(name));
                match alarm {
                    Some(name) => format!("ALARM {name}"),
                    None if self.shared.consensus.view().leader.is_none() => "RAFT NO LEADER".to_owned(),
                    None if query.split('&').any(|pair| pair == "serializable=true") => String::new(),
                    None => match self.confirmed().await {
                        Ok(()) => String::new(),
                        Err(error) => format!("RANGE ERROR:{error}"),
                    },
                }
            }
        };
        let (status, health) = if reason.is_empty() {
            (StatusCode::OK, "true")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "false")
        };
        // The reasons hold no character that JSON would escape, but an error's text might.
        let reason = reason.replace(['"', '\\'], "'");
        respond(
            status,
            "application/json",
            format!(r#"{{"health":"{health}","reason":"{reason}"}}"#),
        )
    }

    fn checks(&self, name: &str, checks: &[(&str, Result<(), String>)], query: &str) -> Response<Body> {
        let (mut text, mut failed) = (String::new(), false);
        for (check, outcome) in checks {
            if query.split('&').any(|pair| pair == format!("exclude={check}")) {
                continue;
            }
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
            return plain(
                StatusCode::SERVICE_UNAVAILABLE,
                &format!("{text}{name} check failed\n"),
            );
        }
        if query
            .split('&')
            .any(|pair| pair == "verbose" || pair.starts_with("verbose="))
        {
            return plain(StatusCode::OK, &format!("{text}ok\n"));
        }
        plain(StatusCode::OK, "ok\n")
    }

    fn readable(&self) -> Result<(), String> {
        let alarms = alarms(&*self.shared.store.view());
        alarms.map(|_| ()).map_err(|error| error.to_string())
    }

    fn uncorrupted(&self) -> Result<(), String> {
        match self.shared.is_stopped() {
            true => Err("alarm activated: CORRUPT".to_owned()),
            false => Ok(()),
        }
    }

    async fn confirmed(&self) -> Result<(), String> {
        self.shared
            .barrier
            .wait()
            .await
            .map_err(|status| status.message().to_owned())
    }

    fn metrics(&self) -> String {
        let leader = self.shared.consensus.view();
        let revision = self.shared.store.hub.revision();
        let (upkeep, engine) = (&self.shared.store.upkeep, self.shared.store.engine());
        let applied = self.shared.store.applied.get();
        let (watchers, streams) = self.shared.store.hub.sizes();
        let gauges = [
            ("etcd_server_has_leader", u64::from(leader.leader.is_some())),
            ("etcd_server_is_leader", u64::from(leader.is_leader)),
            ("etcd_server_proposals_committed_total", leader.committed_index),
            ("etcd_server_proposals_applied_total", applied),
            ("etcd_mvcc_db_total_size_in_bytes", upkeep.file_bytes(&**engine)),
            ("etcd_mvcc_db_total_size_in_use_in_bytes", upkeep.in_use()),
            (
                "etcd_debugging_mvcc_current_revision",
                u64::try_from(revision).unwrap_or(0),
            ),
            ("etcd_debugging_mvcc_watcher_total", watchers),
            ("etcd_debugging_mvcc_watch_stream_total", streams),
        ];
        let mut text = String::new();
        for (name, value) in gauges {
            // Writing to a String can't fail.
            let _ = writeln!(text, "# TYPE {name} gauge\n{name} {value}");
        }
        text
    }
}

fn plain(status: StatusCode, text: &str) -> Response<Body> {
    respond(status, "text/plain; charset=utf-8", text.to_owned())
}

fn respond(status: StatusCode, kind: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::new(Full::new(Bytes::from(body))));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, http::HeaderValue::from_static(kind));
    response
}
