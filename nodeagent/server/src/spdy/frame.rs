//! Frames on the wire.

use bytes::Bytes;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt as _};

pub(super) const FIN: u8 = 1;
/// Control frames hold a header block at most.
const MAX_CONTROL: usize = 64 << 10;

pub(super) const SYN_STREAM: u16 = 1;
pub(super) const SYN_REPLY: u16 = 2;
pub(super) const RST_STREAM: u16 = 3;
pub(super) const PING: u16 = 6;
pub(super) const GOAWAY: u16 = 7;
pub(super) const HEADERS: u16 = 8;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Control { kind: u16, flags: u8, body: Vec<u8> },
    Data { stream: u32, flags: u8, data: Bytes },
}

impl Frame {
    /// `None` at the end of the connection.
    pub async fn read(io: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Self>> {
        let mut head = [0; 8];
        match io.read_exact(&mut head).await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            result => result?,
        };
        let word = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        let flags = head[4];
        let length = usize::from(head[5]) << 16 | usize::from(head[6]) << 8 | usize::from(head[7]);
        if word >> 31 == 0 {
            let mut data = vec![0; length];
            io.read_exact(&mut data).await?;
            return Ok(Some(Self::Data {
                stream: word,
                flags,
                data: data.into(),
            }));
        }
        if length > MAX_CONTROL {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "SPDY control frame is too large",
            ));
        }
        let mut body = vec![0; length];
        io.read_exact(&mut body).await?;
        Ok(Some(Self::Control {
            kind: (word & 0xffff) as u16,
            flags,
            body,
        }))
    }
}

pub(super) fn control(kind: u16, flags: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(8 + body.len());
    frame.extend_from_slice(&0x8003_u16.to_be_bytes());
    frame.extend_from_slice(&kind.to_be_bytes());
    push_length(flags, body.len(), &mut frame);
    frame.extend_from_slice(body);
    frame
}

/// `data` is below 16 MiB.
pub(super) fn data(stream: u32, flags: u8, data: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(8 + data.len());
    frame.extend_from_slice(&stream.to_be_bytes());
    push_length(flags, data.len(), &mut frame);
    frame.extend_from_slice(data);
    frame
}

fn push_length(flags: u8, length: usize, frame: &mut Vec<u8>) {
    let length = u32::try_from(length).unwrap_or(0).to_be_bytes();
    frame.push(flags);
    frame.extend_from_slice(&length[1..]);
}

/// The number at the start of a control frame's body: a stream id, mostly.
pub(super) fn leading_id(body: &[u8]) -> io::Result<u32> {
    let id = body
        .first_chunk::<4>()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "SPDY control frame is cut off"))?;
    Ok(u32::from_be_bytes(*id) & 0x7fff_ffff)
}
