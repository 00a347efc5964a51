//! `/portForward`: connections to a pod's own ports, as SPDY streams, tunnelled through a WebSocket or raw.
//!
//! Follows kubelet `pkg/kubelet/cri/streaming/portforward/httpstream.go`: each connection is a pair of
//! streams of one request id, `error` and `data`.

use super::Endpoints;
use super::response::{self, Response};
use super::upgrade::{self, Wanted};
use crate::context::Context;
use crate::host::PodNetwork;
use crate::pod::pod_network;
use crate::spdy::{Role, Session, Stream};
use http::{Request, StatusCode};
use hyper::body::Incoming;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use support::BoxedIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;

const TUNNELLED: &str = "SPDY/3.1+portforward.k8s.io";
const RAW: &str = "portforward.k8s.io";
const BUFFER: usize = 32 << 10;
/// Halves of pairs that wait for the other half; a client opens both at once.
const MAX_WAITING: usize = 256;

pub(super) async fn answer(
    endpoints: Arc<Endpoints>,
    mut request: Request<Incoming>,
    namespace: &str,
    pod: &str,
) -> Response {
    let context = Arc::clone(&endpoints.context);
    let Some(view) = endpoints.pods.find(namespace, pod) else {
        return response::not_found(format!("pod \"{pod}\""));
    };
    let network = match pod_network(&context, &view.model, &view.observed).await {
        Ok(network) => network,
        Err(error) => return response::text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    };
    match upgrade::wanted(&request) {
        Wanted::WebSocket { key, protocols } => match upgrade::choose(&[TUNNELLED], &protocols) {
            Some(protocol) => upgrade::web_socket(&mut request, &key, protocol, |socket| async move {
                forward(context, network, upgrade::tunnel(socket)).await;
            }),
            None => upgrade::no_common_protocol(),
        },
        Wanted::Spdy { protocols } => match upgrade::choose(&[RAW], &protocols) {
            Some(protocol) => upgrade::spdy(&mut request, protocol, |io| async move {
                forward(context, network, io).await;
            }),
            None => upgrade::no_common_protocol(),
        },
        Wanted::Nothing => upgrade::must_upgrade(),
    }
}

async fn forward(context: Arc<Context>, network: PodNetwork, io: BoxedIo) {
    let mut session = match Session::start(io, Role::Server) {
        Ok(session) => session,
        Err(error) => {
            tracing::warn!(%error, "no SPDY session");
            return;
        }
    };
    let mut waiting: BTreeMap<String, Stream> = BTreeMap::new();
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            biased;
            stream = session.accept() => stream,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
        };
        // The client hung up: so do we, towards the pod.
        let Some(stream) = stream else { return };
        let id = match stream.headers.get("requestid") {
            Some(id) => id.to_owned(),
            // Old clients name none; their streams come in pairs of neighbouring ids.
            None => (stream.id / 4).to_string(),
        };
        let Some(other) = waiting.remove(&id) else {
            if waiting.len() >= MAX_WAITING {
                tracing::warn!("a port-forward client opens halves of pairs only");
                return;
            }
            waiting.insert(id, stream);
            continue;
        };
        let (error, data) = if stream.headers.get("streamtype") == Some("error") {
            (stream, other)
        } else {
            (other, stream)
        };
        let (context, network) = (Arc::clone(&context), network.clone());
        connections.spawn(async move { connect(&context, &network, error, data).await });
    }
}

async fn connect(context: &Context, network: &PodNetwork, error: Stream, data: Stream) {
    let port = data.headers.get("port").and_then(|p| p.parse::<u16>().ok());
    let result = match port {
        Some(port) => match context.host.dial_pod(network, port).await {
            Ok(io) => copy(io, data).await,
            Err(failure) => {
                data.writer().finish().await;
                Err(io::Error::other(format!(
                    "failed to connect to localhost:{port} inside the pod: {failure}"
                )))
            }
        },
        None => Err(io::Error::other("the stream names no port")),
    };
    let writer = error.writer();
    if let Err(failure) = result {
        let text = format!("error forwarding port {}: {failure}", port.unwrap_or(0));
        // Nobody to tell when the session has ended.
        let _ = writer.send(text.as_bytes()).await;
    }
    writer.finish().await;
}

/// Both directions, until both have ended.
async fn copy(io: BoxedIo, mut stream: Stream) -> io::Result<()> {
    let (mut read, mut write) = tokio::io::split(io);
    let writer = stream.writer();
    let inbound = async {
        while let Some(data) = stream.recv().await {
            write.write_all(&data).await?;
        }
        write.shutdown().await
    };
    let outbound = async {
        let mut buffer = vec![0; BUFFER];
        loop {
            let length = read.read(&mut buffer).await?;
            if length == 0 {
                writer.finish().await;
                return Ok::<_, io::Error>(());
            }
            writer.send(&buffer[..length]).await?;
        }
    };
    tokio::pin!(inbound, outbound);
    let mut sent = false;
    loop {
        tokio::select! {
            biased;
            // The pod has said all: what the client still sends has no reader.
            result = &mut outbound => return result,
            result = &mut inbound, if !sent => {
                result?;
                sent = true;
            }
        }
    }
}
