//! `/exec` and `/attach`.
//!
//! Clients speak WebSocket (`v5.channel.k8s.io`, `v4.channel.k8s.io`: the first byte of a message names its
//! channel) or SPDY (`v4.channel.k8s.io`). The container runtime is always spoken to in SPDY: containerd
//! 1.6 knows no version 5, and version 4 over WebSocket cannot say that standard input has ended, which
//! closing one SPDY stream can. A SPDY client is connected through.

use super::Endpoints;
use super::response::{self, Response};
use super::router::Query;
use super::upgrade::{self, Wanted, WebSocket};
use crate::context::Context;
use crate::runtime::StreamOptions;
use crate::spdy::{Headers, Role, Session, Stream};
use bytes::{BufMut as _, Bytes, BytesMut};
use futures::{SinkExt as _, StreamExt as _};
use http::{Request, StatusCode};
use hyper::body::Incoming;
use serde_json::json;
use std::io;
use std::sync::Arc;
use support::BoxedIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

const V5: &str = "v5.channel.k8s.io";
const V4: &str = "v4.channel.k8s.io";
const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
/// Version 5: the channel named by the second byte has ended.
const CLOSE: u8 = 255;
/// Messages that wait for a slow client.
const BACKLOG: usize = 16;
/// The runtime's answer to the upgrade.
const MAX_HEAD: usize = 16 << 10;

pub(super) struct Target {
    namespace: String,
    pod: String,
    container: String,
    attach: bool,
}

impl Target {
    pub fn new(namespace: &str, pod: &str, container: &str, attach: bool) -> Self {
        Self {
            namespace: namespace.to_owned(),
            pod: pod.to_owned(),
            container: container.to_owned(),
            attach,
        }
    }
}

pub(super) async fn answer(
    endpoints: Arc<Endpoints>,
    mut request: Request<Incoming>,
    query: &Query,
    target: Target,
) -> Response {
    let context = Arc::clone(&endpoints.context);
    let options = StreamOptions {
        stdin: query.flag(&["input", "stdin"]),
        stdout: query.flag(&["output", "stdout"]),
        stderr: query.flag(&["error", "stderr"]) && !query.flag(&["tty"]),
        tty: query.flag(&["tty"]),
    };
    let Some(view) = endpoints.pods.find(&target.namespace, &target.pod) else {
        return response::not_found(format!("pod \"{}\"", target.pod));
    };
    let running = view.observed.latest(&target.container).filter(|c| c.is_running());
    let Some(container) = running else {
        let text = format!("container not found (\"{}\")", target.container);
        return response::text(StatusCode::NOT_FOUND, text);
    };
    let url = if target.attach {
        context.runtime.attach_url(&container.id, &options).await
    } else {
        let command = query.all("command");
        context.runtime.exec_url(&container.id, &command, &options).await
    };
    let url = match url {
        Ok(url) => url,
        Err(error) => return response::text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    };
    match upgrade::wanted(&request) {
        Wanted::WebSocket { key, protocols } => match upgrade::choose(&[V5, V4], &protocols) {
            Some(protocol) => upgrade::web_socket(&mut request, &key, protocol, |socket| async move {
                translate(&context, socket, &url, &options).await;
            }),
            None => upgrade::no_common_protocol(),
        },
        Wanted::Spdy { protocols } => match upgrade::choose(&[V4], &protocols) {
            Some(protocol) => upgrade::spdy(&mut request, protocol, |mut client| async move {
                let result = async {
                    let mut runtime = dial(&context, &url).await?;
                    tokio::io::copy_bidirectional(&mut client, &mut runtime).await
                };
                if let Err(error) = result.await {
                    tracing::debug!(%error, "stream ended");
                }
            }),
            None => upgrade::no_common_protocol(),
        },
        Wanted::Nothing => upgrade::must_upgrade(),
    }
}

/// Upgrades a connection to the runtime's streaming server.
async fn dial(context: &Context, url: &str) -> io::Result<BoxedIo> {
    let bad = || io::Error::new(io::ErrorKind::InvalidData, format!("streaming address {url:?}"));
    let rest = url.strip_prefix("http://").ok_or_else(bad)?;
    let (address, path) = rest.split_once('/').ok_or_else(bad)?;
    let mut io = context.env.net.connect(address).await?;
    let head = format!(
        "POST /{path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\
         X-Stream-Protocol-Version: {V4}\r\nContent-Length: 0\r\n\r\n"
    );
    io.write_all(head.as_bytes()).await?;
    let mut answer = Vec::new();
    // Byte by byte: what follows the head belongs to the session.
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(io.read_u8().await?);
        if answer.len() > MAX_HEAD {
            return Err(io::Error::other("the runtime's answer is too long"));
        }
    }
    if !answer.starts_with(b"HTTP/1.1 101") {
        let text = String::from_utf8_lossy(&answer);
        let first = text.lines().next().unwrap_or_default();
        return Err(io::Error::other(format!("the runtime does not stream: {first}")));
    }
    Ok(io)
}

struct RuntimeStreams {
    /// Kept: the connection ends with it.
    _session: Session,
    error: Stream,
    stdin: Option<Stream>,
    stdout: Option<Stream>,
    stderr: Option<Stream>,
    resize: Option<Stream>,
}

async fn open(context: &Context, url: &str, options: &StreamOptions) -> io::Result<RuntimeStreams> {
    let mut session = Session::start(dial(context, url).await?, Role::Client)?;
    let error = session.open(Headers::new(&[("streamType", "error")])).await?;
    let wanted = [
        (options.stdin, "stdin"),
        (options.stdout, "stdout"),
        (options.stderr, "stderr"),
        (options.tty, "resize"),
    ];
    let mut streams = [None, None, None, None];
    for (slot, (on, name)) in streams.iter_mut().zip(wanted) {
        if on {
            *slot = Some(session.open(Headers::new(&[("streamType", name)])).await?);
        }
    }
    let [stdin, stdout, stderr, resize] = streams;
    Ok(RuntimeStreams {
        _session: session,
        error,
        stdin,
        stdout,
        stderr,
        resize,
    })
}

async fn translate(context: &Context, socket: WebSocket, url: &str, options: &StreamOptions) {
    let (mut sink, source) = socket.split();
    let streams = match open(context, url, options).await {
        Ok(streams) => streams,
        Err(error) => {
            let status = json!({"metadata": {}, "status": "Failure", "reason": "InternalError", "code": 500,
                "message": error.to_string()});
            // A client that is gone needs no answer.
            let _ = sink.send(message(ERROR, status.to_string().as_bytes())).await;
            let _ = sink.send(upgrade::goodbye()).await;
            return;
        }
    };
    let RuntimeStreams {
        _session: session,
        error,
        stdin,
        stdout,
        stderr,
        resize,
    } = streams;
    let (sender, mut messages) = mpsc::channel(BACKLOG);
    let mut outputs = JoinSet::new();
    for (channel, stream) in [(STDOUT, stdout), (STDERR, stderr)] {
        if let Some(stream) = stream {
            outputs.spawn(output(channel, stream, sender.clone()));
        }
    }
    outputs.spawn(status(error, sender));
    let out = async {
        // Ends when every output has: the senders are theirs.
        while let Some(message) = messages.recv().await {
            sink.send(message).await.map_err(io::Error::other)?;
        }
        sink.send(upgrade::goodbye()).await.map_err(io::Error::other)
    };
    let into = input(source, stdin, resize);
    tokio::select! {
        biased;
        result = out => {
            if let Err(error) = result {
                tracing::debug!(%error, "client went away");
            }
        }
        // A client that hangs up ends the session; the command sees its input end.
        () = into => {}
    }
    drop(session);
}

fn message(channel: u8, data: &[u8]) -> Message {
    let mut bytes = BytesMut::with_capacity(1 + data.len());
    bytes.put_u8(channel);
    bytes.extend_from_slice(data);
    Message::Binary(bytes.freeze())
}

async fn output(channel: u8, mut stream: Stream, sender: mpsc::Sender<Message>) {
    while let Some(data) = stream.recv().await {
        if sender.send(message(channel, &data)).await.is_err() {
            return;
        }
    }
}

/// The runtime's last word: a `Status`, whole, in one message.
async fn status(mut stream: Stream, sender: mpsc::Sender<Message>) {
    let mut whole = Vec::new();
    while let Some(data) = stream.recv().await {
        whole.extend_from_slice(&data);
    }
    if !whole.is_empty() {
        // The client is gone.
        let _ = sender.send(message(ERROR, &whole)).await;
    }
}

async fn input(
    mut source: futures::stream::SplitStream<WebSocket>,
    stdin: Option<Stream>,
    resize: Option<Stream>,
) {
    let stdin = stdin.as_ref().map(Stream::writer);
    let resize = resize.as_ref().map(Stream::writer);
    while let Some(Ok(received)) = source.next().await {
        let data: Bytes = match received {
            Message::Binary(data) => data,
            Message::Close(_) => break,
            _ => continue,
        };
        let Some((channel, rest)) = data.split_first() else {
            continue;
        };
        let writer = match *channel {
            STDIN => &stdin,
            RESIZE => &resize,
            CLOSE if rest.first() == Some(&STDIN) => {
                if let Some(writer) = &stdin {
                    writer.finish().await;
                }
                continue;
            }
            _ => continue,
        };
        if let Some(writer) = writer
            && writer.send(rest).await.is_err()
        {
            break;
        }
    }
    if let Some(writer) = &stdin {
        writer.finish().await;
    }
}
