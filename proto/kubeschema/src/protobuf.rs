//! Kubernetes protobuf: the `k8s\0` envelope, and messages to JSON values and back by the schema table.
//!
//! Follows apimachinery `pkg/runtime/serializer/protobuf` (1.36). What a Go client would have sent as
//! JSON is what [`decode`] gives, with two differences that the API treats alike: a zero time is absent
//! instead of `null`, and a missing required list is absent instead of `null`.
//!
//! Hostile input gives an error: lengths are checked against the input, nesting is limited.

mod decode;
mod encode;
mod envelope;
mod reader;
mod scalars;
mod writer;

pub use envelope::{
    Unknown, decode, decode_as, encode, encode_as, encode_watch_event, is_protobuf, open, seal,
};

/// Nesting limit of messages; the same as serde_json's limit for values.
pub const MAX_DEPTH: usize = 128;

/// Why a protobuf message could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtobufError {
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    NotProtobuf,
    #[error("unexpected EOF")]
    Truncated,
    #[error("proto: integer overflow")]
    Overflow,
    #[error("proto: wrong wireType = {wire} for field {field}")]
    WireType { field: String, wire: u8 },
    #[error("proto: illegal wireType {0}")]
    IllegalWireType(u8),
    #[error("proto: message is nested too deeply")]
    TooDeep,
    #[error("no kind \"{kind}\" is registered for version \"{api_version}\"")]
    UnknownKind { api_version: String, kind: String },
    #[error("proto: field {field} holds JSON that does not parse: {reason}")]
    Json { field: String, reason: String },
    #[error("field {field} cannot be written as {expected}")]
    Value { field: String, expected: String },
    #[error("content type {0:?} inside the protobuf envelope is not supported")]
    ContentType(String),
}

#[cfg(test)]
mod tests;
