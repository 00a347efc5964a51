//! Lets clients in whose `:authority` isn't one.
//!
//! Clients of etcd up to 3.4 name a member by its whole URL when they ask one member only (`etcdctl --endpoints
//! http://a:2379 endpoint status`, `defrag`, `move-leader`; `clientv3/client.go`, `Dial`), and some name the path of a
//! socket. grpc-go doesn't look at it; `h2` ends the stream with PROTOCOL_ERROR. So the bytes of such a client are
//! changed before `h2` sees them.
//!
//! - An authority is replaced by one of the same length, `http://a:2379` by `http---a-2379`: the sender counts on
//!   tables of headers (RFC 7541) that are as large on both sides.
//! - The first HEADERS frame decides: a connection whose first authority is one is passed on unseen from then on.
//! - Whatever isn't understood is left as it is, for `h2` to refuse. That includes an authority in a CONTINUATION
//!   frame, under a name that is spelled out, or with characters other than printable ASCII.

mod header_block;
mod huffman;

use bytes::{Buf as _, BufMut as _, BytesMut};
use header_block::Authority;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What every client of HTTP/2 sends first (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEAD: usize = 9;
/// `h2` takes no larger frames unless it is told to, which it isn't.
const LARGEST_FRAME: usize = 16 << 10;
const HEADERS: u8 = 1;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
/// Bytes that are read at a time while they are looked at.
const CHUNK: usize = 4 << 10;

/// A connection with a client.
pub struct AnyAuthority<S> {
    stream: S,
    /// Read and looked at already.
    seen: BytesMut,
    /// `None` once nothing needs to be looked at.
    scan: Option<Scan>,
}

impl<S> AnyAuthority<S> {
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            seen: BytesMut::new(),
            scan: Some(Scan::default()),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for AnyAuthority<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if !this.seen.is_empty() {
                let length = this.seen.len().min(out.remaining());
                out.put_slice(&this.seen.split_to(length));
                return Poll::Ready(Ok(()));
            }
            let Some(scan) = &mut this.scan else {
                return Pin::new(&mut this.stream).poll_read(cx, out);
            };
            let mut chunk = [0; CHUNK];
            let mut chunk = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut this.stream).poll_read(cx, &mut chunk))?;
            let ended = chunk.filled().is_empty();
            if !scan.pass(chunk.filled(), &mut this.seen) || ended {
                this.seen.unsplit(scan.held.split());
                this.scan = None;
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for AnyAuthority<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

/// Where the reader is in what a client sends.
#[derive(Default)]
struct Scan {
    /// Too little to tell what it is.
    held: BytesMut,
    begun: bool,
    /// Bytes that are still to come of a frame of another kind.
    rest: usize,
    /// An authority was replaced, so others may have to be.
    replacing: bool,
}

impl Scan {
    /// Moves what `bytes` completes to `seen`. False when there is nothing to look for any more.
    fn pass(&mut self, bytes: &[u8], seen: &mut BytesMut) -> bool {
        self.held.extend_from_slice(bytes);
        if !self.begun {
            let length = self.held.len().min(PREFACE.len());
            if self.held[..length] != PREFACE[..length] {
                return false;
            }
            if length < PREFACE.len() {
                return true;
            }
            seen.unsplit(self.held.split_to(length));
            self.begun = true;
        }
        loop {
            let rest = self.rest.min(self.held.len());
            seen.unsplit(self.held.split_to(rest));
            self.rest -= rest;
            if self.held.len() < FRAME_HEAD {
                return true;
            }
            let length = (&self.held[..3]).get_uint(3) as usize;
            let frame = FRAME_HEAD + length;
            if self.held[3] != HEADERS {
                self.rest = frame;
                continue;
            }
            if length > LARGEST_FRAME {
                return false;
            }
            if self.held.len() < frame {
                return true;
            }
            let frame = self.held.split_to(frame);
            match replaced(&frame) {
                Some(frame) => {
                    self.replacing = true;
                    seen.extend_from_slice(&frame);
                }
                None => seen.unsplit(frame),
            }
            if !self.replacing {
                return false;
            }
        }
    }
}

/// A HEADERS frame with another authority, if it has a bad one.
fn replaced(frame: &[u8]) -> Option<BytesMut> {
    let (head, payload) = frame.split_at(FRAME_HEAD);
    let flags = head[4];
    let (mut before, mut padding) = (0, 0);
    if flags & PADDED != 0 {
        padding = usize::from(*payload.first()?);
        before += 1;
    }
    if flags & PRIORITY != 0 {
        before += 5;
    }
    let block = payload.get(before..payload.len().checked_sub(padding)?)?;
    let Authority { value, place } = header_block::authority(block)?;
    if http::uri::Authority::try_from(&value[..]).is_ok() {
        return None;
    }
    let replacement: Vec<u8> = value.iter().map(|byte| harmless(*byte)).collect();
    let mut changed = BytesMut::from(frame);
    changed.truncate(FRAME_HEAD + before + place.start);
    header_block::put_string(&mut changed, &replacement);
    changed.extend_from_slice(&payload[before + place.end..]);
    let length = changed.len() - FRAME_HEAD;
    if length > LARGEST_FRAME {
        return None;
    }
    (&mut changed[..3]).put_uint(length as u64, 3);
    Some(changed)
}

/// A byte that may be anywhere in an authority.
fn harmless(byte: u8) -> u8 {
    match byte {
        b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => byte,
        _ => b'-',
    }
}

#[cfg(test)]
mod tests;
