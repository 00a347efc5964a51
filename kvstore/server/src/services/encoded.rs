//! Answers that are encoded already: their bytes go to the wire as they are.
//!
//! A range of ten thousand keys need not become ten thousand values in memory to be bytes again a moment later:
//! the stored records are what the answer carries.

use bytes::{BufMut as _, Bytes};
use prost::Message;
use std::marker::PhantomData;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// A protobuf message in parts that follow one another.
#[derive(Debug, Default)]
pub struct Encoded(pub [Bytes; 3]);

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
