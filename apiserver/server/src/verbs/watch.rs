//! WATCH: a stream of changes, with bookmarks.

use super::get::is_plain;
use super::object::convert;
use super::selection::filter;
use super::tables::{table_of_one, table_options};
use crate::cache::{Change, Event, Start, Subscription, WatchCache, watch_line};
use crate::front::{Call, partial};
use crate::http::{Encoding, Response, View, stream_body};
use crate::state::{State, read_error};
use apiserver_core::options::ListOptions;
use apiserver_core::resource_version::{WatchFrom, of_watch};
use apiserver_core::{ApiError, Resource};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A watch without `timeoutSeconds` ends after one to two times this, as upstream's --min-request-timeout.
const MIN_TIMEOUT: Duration = Duration::from_secs(1800);
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);
/// The last bookmark comes this long before the end, so that the client's next watch starts from there.
const BOOKMARK_BEFORE_END: Duration = Duration::from_secs(2);
/// Lines that are ready go out in one chunk of about this size.
const CHUNK: usize = 64 << 10;

pub(crate) async fn watch(state: &State, resource: &Arc<Resource>, call: Call) -> Result<Response, ApiError> {
    let mut options = ListOptions::from_query(call.query())?;
    if call.info.deprecated_watch {
        options.watch = true;
    }
    let filter = filter(resource, &call.info.namespace, &call.info.name, &options)?;
    let cache = state.cache_of(resource);
    let from = of_watch(&options.resource_version)?;
    let opened = open(state, &cache, from, &options, filter).await;
    let encoding = call.accepted.encoding;
    let (subscription, skip_to) = match opened {
        Ok(opened) => opened,
        // A watch that can't start says so inside the stream, as upstream: clients relist on a 410 there.
        Err(error) if error.code == 410 => {
            let line = watch_line(
                "ERROR",
                &serde_json::to_vec(&error.to_status()).unwrap_or_default(),
            );
            return Ok(response(futures::stream::iter([Ok(line)]), encoding));
        }
        Err(error) => return Err(error),
    };
    let timeout = match options.timeout_seconds {
        Some(seconds) if seconds > 0 => Duration::from_secs(seconds),
        _ => state.env.random.jitter(MIN_TIMEOUT, 1.0),
    };
    let now = Instant::now();
    let view = WatchView {
        plain: is_plain(&call, resource),
        resource: Arc::clone(resource),
        call,
        columns_sent: false,
    };
    let mut stream = WatchStream {
        cache,
        lines: VecDeque::new(),
        queue: subscription.queue,
        view,
        skip_to,
        seen: subscription.revision,
        deadline: now + timeout,
        next_bookmark: options
            .allow_watch_bookmarks
            .then(|| now + BOOKMARK_INTERVAL.min(bookmark_at(timeout))),
        cancel: state.cancel.clone(),
        ended: false,
    };
    for (change, event) in subscription.initial {
        stream.push(change, &event)?;
    }
    if options.send_initial_events == Some(true) && options.allow_watch_bookmarks {
        let line = stream.view.bookmark(subscription.revision, true);
        stream.lines.push_back(line);
    }
    Ok(response(
        futures::stream::unfold(stream, |mut stream| async move {
            stream.next_chunk().await.map(|chunk| (Ok(chunk), stream))
        }),
        encoding,
    ))
}

fn bookmark_at(timeout: Duration) -> Duration {
    timeout.saturating_sub(BOOKMARK_BEFORE_END)
}

fn response(
    stream: impl futures::Stream<Item = std::io::Result<Bytes>> + Send + 'static,
    encoding: Encoding,
) -> Response {
    let mut response = Response::new(stream_body(stream));
    *response.status_mut() = StatusCode::OK;
    let content_type = match encoding {
        Encoding::Json | Encoding::PrettyJson => "application/json",
        Encoding::Yaml => "application/yaml",
        Encoding::Protobuf => "application/vnd.kubernetes.protobuf;stream=watch",
    };
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// The subscription, and the revision up to which changes are not wanted.
async fn open(
    state: &State,
    cache: &WatchCache,
    from: WatchFrom,
    options: &ListOptions,
    filter: crate::cache::Filter,
) -> Result<(Subscription, i64), ApiError> {
    let failed = |error: crate::cache::CacheError| read_error(&error.into());
    state.caches.ready(cache).await.map_err(failed)?;
    match (from, options.send_initial_events) {
        (WatchFrom::MostRecent, _) => {
            state
                .caches
                .fresh(cache)
                .await
                .map_err(|error| read_error(&error))?;
        }
        (WatchFrom::After(revision), Some(true)) => {
            let revision = i64::try_from(revision).unwrap_or(i64::MAX);
            cache
                .wait_until(revision, super::get::WAIT_FOR_REVISION)
                .await
                .map_err(failed)?;
        }
        _ => {}
    }
    let start = match (from, options.send_initial_events) {
        (WatchFrom::After(revision), None | Some(false)) => {
            Start::After(i64::try_from(revision).unwrap_or(i64::MAX))
        }
        (WatchFrom::MostRecent | WatchFrom::Any, Some(false)) => Start::After(cache.revision()),
        _ => Start::Snapshot,
    };
    let skip_to = match start {
        Start::After(revision) => revision,
        Start::Snapshot => 0,
    };
    Ok((cache.subscribe(start, filter).map_err(failed)?, skip_to))
}

/// How events look to this client.
struct WatchView {
    plain: bool,
    resource: Arc<Resource>,
    call: Call,
    columns_sent: bool,
}

impl WatchView {
    fn line(&mut self, change: Change, event: &Event) -> Result<Bytes, ApiError> {
        if self.plain {
            return Ok(event.line(change));
        }
        let value = serde_json::from_slice(&event.object(change)).unwrap_or(Value::Null);
        let value = convert(value, &self.resource);
        let shown = match self.call.accepted.view {
            View::Object | View::Discovery(_) => value,
            View::PartialMetadata(version) => partial(&value, version),
            View::Table(version) => {
                let mut options = table_options(&self.call, version)?;
                options.headers = !std::mem::replace(&mut self.columns_sent, true);
                table_of_one(&self.resource, &value, options)
            }
        };
        Ok(self.encode(change.name(), &shown))
    }

    fn bookmark(&self, revision: i64, initial_events_end: bool) -> Bytes {
        let mut metadata = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
        if initial_events_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object = match self.call.accepted.view {
            View::Table(version) => json!({"kind": "Table", "apiVersion": format!("meta.k8s.io/{version}"),
                "metadata": metadata, "columnDefinitions": [], "rows": []}),
            View::PartialMetadata(version) => json!({"kind": "PartialObjectMetadata",
                "apiVersion": format!("meta.k8s.io/{version}"), "metadata": metadata}),
            View::Object | View::Discovery(_) => json!({"kind": self.resource.kind,
                "apiVersion": self.resource.api_version(), "metadata": metadata}),
        };
        self.encode("BOOKMARK", &object)
    }

    fn encode(&self, kind: &str, object: &Value) -> Bytes {
        match self.call.accepted.encoding {
            Encoding::Yaml => {
                let event = json!({"type": kind, "object": object});
                let text = serde_yaml_ng::to_string(&event).unwrap_or_default();
                format!("---\n{text}").into()
            }
            Encoding::Protobuf => {
                let object = kubeschema::protobuf::encode(object).unwrap_or_default();
                kubeschema::protobuf::encode_watch_event(kind, &object).into()
            }
            Encoding::Json | Encoding::PrettyJson => {
                watch_line(kind, &serde_json::to_vec(object).unwrap_or_default())
            }
        }
    }
}

struct WatchStream {
    cache: Arc<WatchCache>,
    lines: VecDeque<Bytes>,
    queue: mpsc::Receiver<(Change, Arc<Event>)>,
    view: WatchView,
    skip_to: i64,
    /// Everything up to here was sent or is in `lines`.
    seen: i64,
    deadline: Instant,
    next_bookmark: Option<Instant>,
    cancel: CancellationToken,
    ended: bool,
}

impl WatchStream {
    fn push(&mut self, change: Change, event: &Event) -> Result<(), ApiError> {
        if event.revision > self.skip_to || self.skip_to == 0 {
            let line = self.view.line(change, event)?;
            self.lines.push_back(line);
        }
        self.seen = self.seen.max(event.revision);
        Ok(())
    }

    /// The next bytes for the client; `None` ends the watch.
    async fn next_chunk(&mut self) -> Option<Bytes> {
        loop {
            while let Ok((change, event)) = self.queue.try_recv() {
                if self.push(change, &event).is_err() {
                    self.ended = true;
                }
            }
            if let Some(chunk) = self.take_lines() {
                return Some(chunk);
            }
            if self.ended {
                return None;
            }
            let bookmark = self.next_bookmark.unwrap_or(self.deadline);
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => return None,
                received = self.queue.recv() => match received {
                    Some((change, event)) => {
                        if self.push(change, &event).is_err() {
                            self.ended = true;
                        }
                    }
                    // Too slow, or the history is lost: the client starts again from what it saw.
                    None => return None,
                },
                () = tokio::time::sleep_until(self.deadline) => return None,
                () = tokio::time::sleep_until(bookmark), if self.next_bookmark.is_some() => self.add_bookmark(),
            }
        }
    }

    fn take_lines(&mut self) -> Option<Bytes> {
        let first = self.lines.pop_front()?;
        if self.lines.is_empty() || first.len() >= CHUNK {
            return Some(first);
        }
        let mut chunk = Vec::with_capacity(CHUNK);
        chunk.extend_from_slice(&first);
        while let Some(line) = self.lines.front() {
            if chunk.len() + line.len() > CHUNK {
                break;
            }
            chunk.extend_from_slice(line);
            self.lines.pop_front();
        }
        Some(chunk.into())
    }

    fn add_bookmark(&mut self) {
        // The revision first: the queue then holds all events up to it.
        let revision = self.cache.revision();
        while let Ok((change, event)) = self.queue.try_recv() {
            if self.push(change, &event).is_err() {
                self.ended = true;
                return;
            }
        }
        self.seen = self.seen.max(revision).max(self.skip_to);
        let line = self.view.bookmark(self.seen, false);
        self.lines.push_back(line);
        let last = self.deadline - BOOKMARK_BEFORE_END.min(self.deadline - Instant::now());
        let next = Instant::now() + BOOKMARK_INTERVAL;
        self.next_bookmark = if next < last {
            Some(next)
        } else if Instant::now() < last {
            Some(last)
        } else {
            None
        };
    }
}
