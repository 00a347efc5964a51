//! gRPC calls by method, as `go-grpc-prometheus` counts them, and the bytes of their messages.

use super::build::Builder;
use super::slots::Slots;
use crate::descriptors;
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use prometheus::{Histogram, IntCounter, IntCounterVec};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;
use tonic::Code;

/// The names of the codes 0 to 16.
const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

/// Versions of client libraries that are told apart.
const VERSIONS: usize = 16;

struct Method {
    path: String,
    started: IntCounter,
    received: IntCounter,
    sent: IntCounter,
    handled: [IntCounter; CODES.len()],
    received_bytes: IntCounter,
    sent_bytes: IntCounter,
    kind: &'static str,
    /// From the start of a call to its end, if that is to be measured.
    handling: OnceLock<Histogram>,
}

impl Method {
    fn streams(&self) -> bool {
        self.kind != "unary"
    }

    fn handled(&self, code: i32) {
        let unknown = Code::Unknown as usize;
        let code = usize::try_from(code).unwrap_or(unknown);
        self.handled[if code < CODES.len() { code } else { unknown }].inc();
    }
}

/// The counters of all methods.
pub struct RpcMetrics {
    methods: BTreeMap<String, Arc<Method>>,
    requests: IntCounterVec,
    /// Unary calls and streams by the version of the client's library.
    versions: Slots<String, [IntCounter; 2], VERSIONS>,
}

impl RpcMetrics {
    pub fn new(builder: &Builder) -> Self {
        let labels = ["grpc_type", "grpc_service", "grpc_method"];
        let started = builder.counters(
            "grpc_server_started_total",
            "Total number of RPCs started on the server.",
            &labels,
        );
        let received = builder.counters(
            "grpc_server_msg_received_total",
            "Total number of RPC stream messages received on the server.",
            &labels,
        );
        let sent = builder.counters(
            "grpc_server_msg_sent_total",
            "Total number of gRPC stream messages sent by the server.",
            &labels,
        );
        let handled = builder.counters(
            "grpc_server_handled_total",
            "Total number of RPCs completed on the server, regardless of success or failure.",
            &["grpc_type", "grpc_service", "grpc_method", "grpc_code"],
        );
        let received_bytes = builder.counter(
            "etcd_network_client_grpc_received_bytes_total",
            "The total number of bytes received from grpc clients.",
        );
        let sent_bytes = builder.counter(
            "etcd_network_client_grpc_sent_bytes_total",
            "The total number of bytes sent to grpc clients.",
        );
        let methods = methods().map(|(service, method, kind)| {
            let labels = [kind, &service, &method];
            let path = format!("/{service}/{method}");
            let counters = Method {
                path: path.clone(),
                started: started.with_label_values(&labels),
                received: received.with_label_values(&labels),
                sent: sent.with_label_values(&labels),
                handled: CODES.map(|code| handled.with_label_values(&[kind, &service, &method, code])),
                received_bytes: received_bytes.clone(),
                sent_bytes: sent_bytes.clone(),
                kind,
                handling: OnceLock::new(),
            };
            (path, Arc::new(counters))
        });
        Self {
            methods: methods.collect(),
            requests: builder.counters(
                "etcd_server_client_requests_total",
                "The total number of client requests per client version.",
                &["type", "client_api_version"],
            ),
            versions: Slots::default(),
        }
    }

    /// Counts the start of a call; `None`: there is no such method.
    pub fn start(&self, path: &str, headers: &HeaderMap) -> Option<Started> {
        let method = Arc::clone(self.methods.get(path)?);
        method.started.inc();
        let version = headers.get("client-api-version");
        let version = version
            .and_then(|version| version.to_str().ok())
            .unwrap_or("unknown");
        let requests = self.versions.get(version, |version| {
            let version = version.unwrap_or("other");
            ["unary", "stream"].map(|kind| self.requests.with_label_values(&[kind, version]))
        });
        requests[usize::from(method.streams())].inc();
        Some(Started {
            method,
            begun: Instant::now(),
            handled: false,
        })
    }

    /// From now on the time of each call is measured; to be asked for once.
    pub fn measure_handling(&self, builder: &Builder) {
        let handling = builder.default_histograms(
            "grpc_server_handling_seconds",
            "Histogram of response latency (seconds) of gRPC that had been application-level handled by the server.",
            &["grpc_type", "grpc_service", "grpc_method"],
        );
        for (path, method) in &self.methods {
            if let Some((service, name)) = path.trim_start_matches('/').split_once('/') {
                let histogram = handling.with_label_values(&[method.kind, service, name]);
                method.handling.get_or_init(|| histogram);
            }
        }
    }
}

/// Service, method and kind of all that a member serves to clients.
fn methods() -> impl Iterator<Item = (String, String, &'static str)> {
    let etcd = descriptors::etcd().services().flat_map(|service| {
        let methods: Vec<_> = service
            .methods()
            .map(|method| {
                let kind = match (method.is_client_streaming(), method.is_server_streaming()) {
                    (false, false) => "unary",
                    (true, false) => "client_stream",
                    (false, true) => "server_stream",
                    (true, true) => "bidi_stream",
                };
                (service.full_name().to_owned(), method.name().to_owned(), kind)
            })
            .collect();
        methods
    });
    let health = [("Check", "unary"), ("Watch", "server_stream")];
    etcd.chain(health.map(|(method, kind)| ("grpc.health.v1.Health".to_owned(), method.to_owned(), kind)))
}

/// A call under way; one that is dropped before its end was cancelled by its client.
pub struct Started {
    method: Arc<Method>,
    begun: Instant,
    handled: bool,
}

impl Started {
    pub fn is_unary(&self) -> bool {
        !self.method.streams()
    }

    pub fn path(&self) -> &str {
        &self.method.path
    }

    /// Since its start.
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Counts the messages of the request.
    pub fn request<B>(&self, body: B) -> Counted<B> {
        Counted {
            body,
            messages: Messages::default(),
            part: Part::Request(Arc::clone(&self.method)),
        }
    }

    /// Counts the messages of the response and waits for its status; `headers` are the response's, which
    /// have the status already if there is no message.
    pub fn response<B>(mut self, headers: &HeaderMap, body: B) -> Counted<B> {
        self.status(headers);
        Counted {
            body,
            messages: Messages::default(),
            part: Part::Response(self),
        }
    }

    fn handled(&mut self, code: Code) {
        self.handled = true;
        self.method.handled(code as i32);
        if let Some(handling) = self.method.handling.get() {
            handling.observe(self.elapsed().as_secs_f64());
        }
    }

    fn status(&mut self, headers: &HeaderMap) {
        if let Some(status) = headers.get("grpc-status")
            && !self.handled
        {
            self.handled(Code::from_bytes(status.as_bytes()));
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if !self.handled {
            self.handled(Code::Cancelled);
        }
    }
}

/// Where the messages of a body begin: each has a head of a flag and a length.
#[derive(Default)]
struct Messages {
    /// Bytes of the head seen so far.
    head: u8,
    length: u32,
    /// Bytes to the next head.
    skip: usize,
}

impl Messages {
    /// How many begin in `data`.
    fn count(&mut self, mut data: &[u8]) -> u64 {
        let mut begun = 0;
        loop {
            let skipped = self.skip.min(data.len());
            self.skip -= skipped;
            data = &data[skipped..];
            let Some((byte, rest)) = data.split_first() else {
                return begun;
            };
            data = rest;
            if self.head > 0 {
                self.length = self.length << 8 | u32::from(*byte);
            }
            self.head += 1;
            if self.head == 5 {
                begun += 1;
                self.skip = self.length as usize;
                (self.head, self.length) = (0, 0);
            }
        }
    }
}

enum Part {
    /// Not a gRPC call, or not to be counted.
    Plain,
    Request(Arc<Method>),
    Response(Started),
}

/// A body whose messages are counted.
pub struct Counted<B> {
    body: B,
    messages: Messages,
    part: Part,
}

impl<B> Counted<B> {
    /// A body that isn't counted.
    pub fn plain(body: B) -> Self {
        Self {
            body,
            messages: Messages::default(),
            part: Part::Plain,
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Counted<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            let (messages, bytes) = match frame.data_ref() {
                Some(data) if !matches!(this.part, Part::Plain) => {
                    (this.messages.count(data), data.len() as u64)
                }
                _ => (0, 0),
            };
            match &mut this.part {
                Part::Plain => {}
                Part::Request(method) => {
                    method.received.inc_by(messages);
                    method.received_bytes.inc_by(bytes);
                }
                Part::Response(started) => {
                    started.method.sent.inc_by(messages);
                    started.method.sent_bytes.inc_by(bytes);
                    if let Some(trailers) = frame.trailers_ref() {
                        started.status(trailers);
                    }
                }
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::Messages;

    #[test]
    fn messages_are_counted_however_they_are_cut() {
        let body = [
            &[0, 0, 0, 0, 3, 1, 2, 3][..],
            &[0, 0, 0, 0, 0],
            &[0, 0, 0, 1, 0],
            &[7; 256],
        ]
        .concat();
        for size in [1, 2, 5, 7, 300] {
            let mut messages = Messages::default();
            let begun: u64 = body.chunks(size).map(|chunk| messages.count(chunk)).sum();
            assert_eq!(begun, 3, "in pieces of {size}");
            assert_eq!(messages.skip, 0);
        }
    }
}
