//! Answers that are encoded already: their bytes go to the wire as they are.
//!
//! A range of ten thousand keys need not become ten thousand values in memory to be bytes again a moment later:
//! the stored records are what the answer carries.

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::stream;
use http::{HeaderMap, HeaderValue};
use http_body::Frame;
use http_body_util::StreamBody;
use prost::Message;
use std::iter;
use std::marker::PhantomData;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Code, Status};

/// What stands before a message: whether it is compressed, and its length.
const HEAD: usize = 5;

/// A protobuf message in parts that follow one another.
#[derive(Debug, Default)]
pub struct Encoded(pub [Bytes; 3]);

/// A protobuf message in many parts. As an extension of a response it takes the place of the response's message:
/// its parts become the body as they are, where an encoder would copy them all into one.
#[derive(Debug, Clone, Default)]
pub struct Pieces(pub Vec<Bytes>);

impl Pieces {
    /// The body of a unary answer that is this message.
    ///
    /// # Errors
    /// `OutOfRange`: gRPC counts the bytes of a message in 32 bits.
    pub fn into_body(self) -> Result<Body, Status> {
        let length: usize = self.0.iter().map(Bytes::len).sum();
        let length = u32::try_from(length)
            .map_err(|_| Status::out_of_range(format!("an answer of {length} bytes is too long")))?;
        let mut head = BytesMut::with_capacity(HEAD);
        head.put_u8(0);
        head.put_u32(length);
        let mut trailers = HeaderMap::with_capacity(1);
        trailers.insert("grpc-status", HeaderValue::from(Code::Ok as i32));
        let parts = self.0.into_iter().filter(|part| !part.is_empty());
        let frames = iter::once(head.freeze())
            .chain(parts)
            .map(Frame::data)
            .chain(iter::once(Frame::trailers(trailers)));
        Ok(Body::new(StreamBody::new(stream::iter(
            frames.map(Ok::<_, Status>),
        ))))
    }
}

/// Takes requests of type `D`, gives encoded answers.
pub struct EncodedCodec<D>(PhantomData<fn() -> D>);

impl<D> Default for EncodedCodec<D> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<D: Message + Default + Send + 'static> Codec for EncodedCodec<D> {
    type Encode = Encoded;
    type Decode = D;
    type Encoder = PartsEncoder;
    type Decoder = MessageDecoder<D>;

    fn encoder(&mut self) -> PartsEncoder {
        PartsEncoder
    }

    fn decoder(&mut self) -> MessageDecoder<D> {
        MessageDecoder(PhantomData)
    }
}

pub struct PartsEncoder;

impl Encoder for PartsEncoder {
    type Item = Encoded;
    type Error = Status;

    fn encode(&mut self, item: Encoded, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.reserve(item.0.iter().map(Bytes::len).sum());
        for part in item.0 {
            out.put(part);
        }
        Ok(())
    }
}

pub struct MessageDecoder<D>(PhantomData<fn() -> D>);

impl<D: Message + Default> Decoder for MessageDecoder<D> {
    type Item = D;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<D>, Status> {
        let message = D::decode(bytes).map_err(|error| Status::internal(error.to_string()))?;
        Ok(Some(message))
    }
}
