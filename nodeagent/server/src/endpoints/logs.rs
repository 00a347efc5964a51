//! `/containerLogs`: a container's log as `kubectl logs` wants it.

use super::Endpoints;
use super::response::{self, Response};
use super::router::Query;
use crate::context::Context;
use crate::pod::PodManager;
use bytes::Bytes;
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::PodStatus;
use nodeagent_core::{LogOptions, LogSelector, ObservedContainer, parse_stream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::sleep;

/// How often a followed log is looked at.
const POLL: Duration = Duration::from_millis(200);
/// Pieces that wait for a slow reader.
const BACKLOG: usize = 8;
/// Read at once while following.
const MAX_READ: usize = 1 << 20;

pub(super) async fn answer(
    endpoints: &Arc<Endpoints>,
    namespace: &str,
    pod: &str,
    container: &str,
    query: &Query,
) -> Response {
    let options = match options(query, endpoints.context.env.clock.now()) {
        Ok(options) => options,
        Err(text) => return response::text(StatusCode::BAD_REQUEST, text),
    };
    let Some(view) = endpoints.pods.find(namespace, pod) else {
        return response::not_found(format!("pod \"{pod}\""));
    };
    if view.model.container(container).is_none() {
        let text = format!("container {container} is not valid for pod {pod}");
        return response::text(StatusCode::BAD_REQUEST, text);
    }
    let found = if query.flag(&["previous"]) {
        view.observed.previous(container)
    } else {
        view.observed.latest(container)
    };
    let Some(found) = found.cloned() else {
        let text = if query.flag(&["previous"]) {
            format!("previous terminated container \"{container}\" in pod \"{pod}\" not found")
        } else {
            let why = waiting_reason(&view.status, container);
            format!("container \"{container}\" in pod \"{pod}\" is waiting to start: {why}")
        };
        return response::text(StatusCode::BAD_REQUEST, text);
    };
    let path = match endpoints.context.runtime.log_path(&found.id).await {
        Ok(path) => PathBuf::from(path),
        Err(error) => return response::text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    };
    let (sender, receiver) = mpsc::channel(BACKLOG);
    let log = Log {
        context: Arc::clone(&endpoints.context),
        pods: Arc::clone(&endpoints.pods),
        container: found,
        namespace: namespace.to_owned(),
        pod: pod.to_owned(),
        path,
        sender,
    };
    // Ends when the reader goes away or the log is out; the response outlives this call.
    tokio::spawn(log.send(options, query.flag(&["follow"])));
    response::stream(receiver)
}

fn waiting_reason(status: &PodStatus, container: &str) -> String {
    let lists = [
        &status.container_statuses,
        &status.init_container_statuses,
        &status.ephemeral_container_statuses,
    ];
    let mut statuses = lists.into_iter().flat_map(|list| list.iter().flatten());
    let found = statuses.find(|s| s.name == container);
    let waiting = found.and_then(|s| s.state.as_ref()?.waiting.as_ref());
    let reason = waiting.and_then(|w| w.reason.clone());
    reason.unwrap_or_else(|| "ContainerCreating".to_owned())
}

fn options(query: &Query, now: Timestamp) -> Result<LogOptions, String> {
    fn number<T: std::str::FromStr>(query: &Query, name: &str) -> Result<Option<T>, String> {
        let Some(text) = query.get(name).filter(|t| !t.is_empty()) else {
            return Ok(None);
        };
        text.parse()
            .map(Some)
            .map_err(|_| format!("{name}: {text:?} is no such number"))
    }
    let since = match number::<i64>(query, "sinceSeconds")? {
        Some(seconds) => Some(now - SignedDuration::from_secs(seconds)),
        None => query
            .get("sinceTime")
            .map(|text| {
                text.parse::<Timestamp>()
                    .map_err(|_| format!("sinceTime: {text:?} is no time"))
            })
            .transpose()?,
    };
    Ok(LogOptions {
        // A negative number of lines means all of them.
        tail_lines: number::<i64>(query, "tailLines")?.and_then(|n| usize::try_from(n).ok()),
        since,
        timestamps: query.flag(&["timestamps"]),
        limit_bytes: number::<usize>(query, "limitBytes")?,
        only_stderr: match query.get("stream") {
            Some("Stdout") => Some(false),
            Some("Stderr") => Some(true),
            _ => None,
        },
    })
}

struct Log {
    context: Arc<Context>,
    pods: Arc<PodManager>,
    container: ObservedContainer,
    namespace: String,
    pod: String,
    path: PathBuf,
    sender: mpsc::Sender<Bytes>,
}

impl Log {
    async fn send(self, options: LogOptions, follow: bool) {
        let data = self.context.host.read_file(&self.path).await.unwrap_or_default();
        let (text, read, mut selector) = parse_stream(&data, &options);
        let limited = options.limit_bytes.is_some_and(|limit| text.len() >= limit);
        drop(data);
        if !text.is_empty() && self.sender.send(Bytes::from(text)).await.is_err() {
            return;
        }
        if follow && !limited {
            self.follow(read, &mut selector).await;
        }
    }

    async fn follow(&self, mut offset: usize, selector: &mut LogSelector) {
        loop {
            // First whether it runs, then what it wrote: nothing of its last words is missed.
            let running = self.is_running();
            let host = &self.context.host;
            let data = match host.read_file_from(&self.path, offset, MAX_READ).await {
                Ok(Some(data)) => data,
                // Shorter than it was: the log was rotated.
                Ok(None) => {
                    offset = 0;
                    continue;
                }
                Err(_) => Vec::new(),
            };
            let whole = data.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
            let mut out = Vec::new();
            let mut more = true;
            for line in data[..whole].split_inclusive(|b| *b == b'\n') {
                more = selector.push(&line[..line.len() - 1], &mut out);
                if !more {
                    break;
                }
            }
            offset += whole;
            if !out.is_empty() && self.sender.send(Bytes::from(out)).await.is_err() || !more {
                return;
            }
            if whole == 0 {
                if !running {
                    return;
                }
                tokio::select! {
                    biased;
                    () = self.sender.closed() => return,
                    () = sleep(POLL) => {}
                }
            }
        }
    }

    fn is_running(&self) -> bool {
        let view = self.pods.find(&self.namespace, &self.pod);
        view.is_some_and(|view| {
            let mut containers = view.observed.containers.iter();
            containers.any(|c| c.id == self.container.id && c.is_running())
        })
    }
}
