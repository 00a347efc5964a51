//! The HTTP edge: connections, bodies, content negotiation, compression.

mod body;
mod listener;
mod negotiation;
mod response;

pub(crate) use body::{BodyError, read_body};
pub(crate) use listener::{Handler, Peer, serve};
pub(crate) use negotiation::{Accepted, Encoding, View, negotiate, negotiate_any};
pub(crate) use response::{
    Body, Response, bytes_response, compress, empty, encode, stream_body, text_response,
};
