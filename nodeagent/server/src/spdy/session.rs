//! A connection and its streams.

use super::frame::{self, FIN, Frame, GOAWAY, HEADERS, PING, RST_STREAM, SYN_REPLY, SYN_STREAM};
use super::headers::{Decoder, Encoder, Headers};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use support::BoxedIo;
use tokio::io::{AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

/// Frames that wait to be written; senders wait when it is full.
const WRITE_BACKLOG: usize = 32;
/// Data frames that wait for a slow reader of one stream; then the whole connection waits, as there are no
/// windows to hold back one stream alone.
const READ_BACKLOG: usize = 64;
/// Streams that wait to be taken.
const ACCEPT_BACKLOG: usize = 64;
/// Bytes of one data frame.
const MAX_DATA: usize = 32 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Opens the connection: odd ids.
    Client,
    Server,
}

type Readers = Arc<Mutex<BTreeMap<u32, mpsc::Sender<Bytes>>>>;

enum Order {
    Frame(Vec<u8>),
    /// Encoded by the writer, in the order of the wire: compression has a history.
    Headers {
        kind: u16,
        prefix: Vec<u8>,
        headers: Headers,
    },
}

/// Ends the connection when dropped.
pub(crate) struct Session {
    orders: mpsc::Sender<Order>,
    readers: Readers,
    next_id: u32,
    incoming: mpsc::Receiver<Stream>,
    _reader: AbortOnDropHandle<()>,
    _writer: AbortOnDropHandle<()>,
}

/// One stream. Both halves are finished when it is dropped.
pub(crate) struct Stream {
    pub id: u32,
    pub headers: Headers,
    data: mpsc::Receiver<Bytes>,
    writer: StreamWriter,
}

/// The sending half, on its own.
#[derive(Clone)]
pub(crate) struct StreamWriter {
    id: u32,
    orders: mpsc::Sender<Order>,
}

impl Session {
    pub fn start(io: BoxedIo, role: Role) -> io::Result<Self> {
        let (read, write) = tokio::io::split(io);
        let (orders, receiver) = mpsc::channel(WRITE_BACKLOG);
        let (accept, incoming) = mpsc::channel(ACCEPT_BACKLOG);
        let readers = Readers::default();
        let reader = Reader {
            io: read,
            decoder: Decoder::new()?,
            orders: orders.clone(),
            readers: Arc::clone(&readers),
            accept,
        };
        Ok(Self {
            orders,
            readers,
            next_id: if role == Role::Client { 1 } else { 2 },
            incoming,
            _reader: AbortOnDropHandle::new(tokio::spawn(reader.run())),
            _writer: AbortOnDropHandle::new(tokio::spawn(write_all(write, receiver))),
        })
    }

    /// The next stream that the peer opened; it was answered already. `None` at the end.
    pub async fn accept(&mut self) -> Option<Stream> {
        self.incoming.recv().await
    }

    /// # Errors
    /// When the connection has ended.
    pub async fn open(&mut self, headers: Headers) -> io::Result<Stream> {
        let id = self.next_id;
        self.next_id += 2;
        let (sender, data) = mpsc::channel(READ_BACKLOG);
        lock(&self.readers).insert(id, sender);
        let mut prefix = id.to_be_bytes().to_vec();
        prefix.extend_from_slice(&[0; 6]);
        let order = Order::Headers {
            kind: SYN_STREAM,
            prefix,
            headers: headers.clone(),
        };
        send(&self.orders, order).await?;
        let writer = StreamWriter {
            id,
            orders: self.orders.clone(),
        };
        Ok(Stream {
            id,
            headers,
            data,
            writer,
        })
    }
}

impl Stream {
    /// The next bytes. `None` when the peer has finished.
    pub async fn recv(&mut self) -> Option<Bytes> {
        self.data.recv().await
    }

    pub fn writer(&self) -> StreamWriter {
        self.writer.clone()
    }
}

impl StreamWriter {
    /// # Errors
    /// When the connection has ended.
    pub async fn send(&self, data: &[u8]) -> io::Result<()> {
        for chunk in data.chunks(MAX_DATA) {
            send(&self.orders, Order::Frame(frame::data(self.id, 0, chunk))).await?;
        }
        Ok(())
    }

    /// Nothing more will be sent. The other half goes on.
    pub async fn finish(&self) {
        // A connection that has ended is finished too.
        let _ = send(&self.orders, Order::Frame(frame::data(self.id, FIN, &[]))).await;
    }
}

async fn send(orders: &mpsc::Sender<Order>, order: Order) -> io::Result<()> {
    let sent = orders.send(order).await;
    sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
}

fn lock(readers: &Readers) -> std::sync::MutexGuard<'_, BTreeMap<u32, mpsc::Sender<Bytes>>> {
    readers.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn write_all(mut io: WriteHalf<BoxedIo>, mut orders: mpsc::Receiver<Order>) {
    let mut encoder = Encoder::default();
    while let Some(order) = orders.recv().await {
        let frame = match order {
            Order::Frame(frame) => frame,
            Order::Headers {
                kind,
                mut prefix,
                headers,
            } => {
                prefix.extend_from_slice(&encoder.encode(&headers));
                frame::control(kind, 0, &prefix)
            }
        };
        if io.write_all(&frame).await.is_err() || io.flush().await.is_err() {
            return;
        }
    }
}

struct Reader {
    io: ReadHalf<BoxedIo>,
    decoder: Decoder,
    orders: mpsc::Sender<Order>,
    readers: Readers,
    accept: mpsc::Sender<Stream>,
}

impl Reader {
    async fn run(mut self) {
        if let Err(error) = self.read_all().await {
            tracing::debug!(%error, "SPDY connection ended");
        }
        // Whoever still reads sees the end.
        lock(&self.readers).clear();
    }

    async fn read_all(&mut self) -> io::Result<()> {
        while let Some(frame) = Frame::read(&mut self.io).await? {
            match frame {
                Frame::Data { stream, flags, data } => self.data(stream, flags, data).await,
                Frame::Control { kind, flags, body } => {
                    if kind == GOAWAY {
                        // Streams under way go on; the peer hangs up after them.
                        continue;
                    }
                    self.control(kind, flags, &body).await?;
                }
            }
        }
        Ok(())
    }

    async fn data(&mut self, stream: u32, flags: u8, data: Bytes) {
        let sender = lock(&self.readers).get(&stream).cloned();
        if let Some(sender) = sender
            && !data.is_empty()
            && sender.send(data).await.is_err()
        {
            // Its reader is gone; what comes is dropped.
            lock(&self.readers).remove(&stream);
        }
        if flags & FIN != 0 {
            lock(&self.readers).remove(&stream);
        }
    }

    async fn control(&mut self, kind: u16, flags: u8, body: &[u8]) -> io::Result<()> {
        match kind {
            SYN_STREAM => self.opened(flags, body).await,
            SYN_REPLY => {
                let id = frame::leading_id(body)?;
                // Read for the sake of the compression's history.
                self.decoder.decode(body.get(4..).unwrap_or_default())?;
                if flags & FIN != 0 {
                    lock(&self.readers).remove(&id);
                }
                Ok(())
            }
            RST_STREAM => {
                let id = frame::leading_id(body)?;
                lock(&self.readers).remove(&id);
                Ok(())
            }
            PING => send(&self.orders, Order::Frame(frame::control(PING, 0, body))).await,
            HEADERS => self.decoder.decode(body.get(4..).unwrap_or_default()).map(drop),
            // SETTINGS, WINDOW_UPDATE: nothing that matters here.
            _ => Ok(()),
        }
    }

    async fn opened(&mut self, flags: u8, body: &[u8]) -> io::Result<()> {
        let id = frame::leading_id(body)?;
        let headers = self.decoder.decode(body.get(10..).unwrap_or_default())?;
        let (sender, data) = mpsc::channel(READ_BACKLOG);
        if flags & FIN == 0 {
            lock(&self.readers).insert(id, sender);
        }
        let reply = Order::Headers {
            kind: SYN_REPLY,
            prefix: id.to_be_bytes().to_vec(),
            headers: Headers::default(),
        };
        send(&self.orders, reply).await?;
        let writer = StreamWriter {
            id,
            orders: self.orders.clone(),
        };
        let stream = Stream {
            id,
            headers,
            data,
            writer,
        };
        // Nobody accepts any more: the session is ending.
        let _ = self.accept.send(stream).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Headers, Role, Session};

    #[tokio::test]
    async fn streams_carry_bytes_both_ways_and_halves_end_apart() {
        let (near, far) = tokio::io::duplex(1024);
        let mut client = Session::start(Box::new(near), Role::Client).expect("a client");
        let mut server = Session::start(Box::new(far), Role::Server).expect("a server");
        for name in ["error", "data"] {
            let mut ours = client
                .open(Headers::new(&[("streamType", name)]))
                .await
                .expect("a stream");
            let mut theirs = server.accept().await.expect("a stream");
            assert_eq!(theirs.headers.get("streamtype"), Some(name));
            ours.writer().send(&[7; 100_000]).await.expect("sent");
            ours.writer().finish().await;
            let mut received = 0;
            while let Some(data) = theirs.recv().await {
                received += data.len();
            }
            assert_eq!(received, 100_000);
            theirs.writer().send(b"still here").await.expect("sent");
            theirs.writer().finish().await;
            assert_eq!(ours.recv().await.as_deref(), Some(&b"still here"[..]));
            assert_eq!(ours.recv().await, None);
        }
        drop(client);
        assert!(server.accept().await.is_none());
    }
}
