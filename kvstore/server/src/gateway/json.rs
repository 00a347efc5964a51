//! Messages as JSON, as grpc-gateway v2 writes and reads them for etcd: names as in the .proto files, bytes in
//! base64, 64-bit numbers as strings, defaults left out; what isn't known is ignored.

use bytes::{Buf as _, BytesMut};
use http_body_util::BodyExt as _;
use prost_reflect::{DeserializeOptions, DynamicMessage, MessageDescriptor, SerializeOptions};
use serde_json::Deserializer;
use tonic::Status;
use tonic::body::Body;

const READ: DeserializeOptions = DeserializeOptions::new().deny_unknown_fields(false);
const WRITE: SerializeOptions = SerializeOptions::new()
    .use_proto_field_name(true)
    .stringify_64_bit_integers(true)
    .skip_default_fields(true);

/// Appends `message` to `text`.
pub fn write(message: &DynamicMessage, text: &mut Vec<u8>) -> Result<(), Status> {
    message
        .serialize_with_options(&mut serde_json::Serializer::new(text), &WRITE)
        .map_err(|error| Status::internal(error.to_string()))
}

/// `{"code":…,"message":…}`, a `google.rpc.Status`.
pub fn error(status: &Status) -> serde_json::Value {
    let mut error = serde_json::Map::new();
    // Defaults are left out here too.
    if status.code() as i32 != 0 {
        error.insert("code".to_owned(), (status.code() as i32).into());
    }
    if !status.message().is_empty() {
        error.insert("message".to_owned(), status.message().into());
    }
    error.into()
}

/// The JSON values in the body of a request, one after the other.
pub struct Requests {
    body: Body,
    buffer: BytesMut,
    scan: Scan,
    ended: bool,
    input: MessageDescriptor,
    /// Bytes that one value may have.
    limit: usize,
}

impl Requests {
    pub fn new(body: Body, input: MessageDescriptor, limit: usize) -> Self {
        Self {
            body,
            buffer: BytesMut::new(),
            scan: Scan::default(),
            ended: false,
            input,
            limit,
        }
    }

    /// The next message; `None` after the last.
    ///
    /// # Errors
    /// `InvalidArgument` when it can't be read, `ResourceExhausted` when it is too long.
    pub async fn next(&mut self) -> Result<Option<DynamicMessage>, Status> {
        loop {
            if self.scan == Scan::default() {
                let blank = self.buffer.iter().take_while(|byte| byte.is_ascii_whitespace());
                let blank = blank.count();
                self.buffer.advance(blank);
                if self.buffer.first().is_some_and(|byte| *byte != b'{') {
                    return Err(Status::invalid_argument("proto: a message is a JSON object"));
                }
            }
            if let Some(end) = self.scan.end(&self.buffer) {
                self.scan = Scan::default();
                let value = self.buffer.split_to(end);
                return self.message(&value).map(Some);
            }
            if self.ended {
                return match self.buffer.is_empty() {
                    true => Ok(None),
                    false => Err(Status::invalid_argument("unexpected EOF")),
                };
            }
            self.read().await?;
        }
    }

    fn message(&self, value: &[u8]) -> Result<DynamicMessage, Status> {
        let mut json = Deserializer::from_slice(value);
        DynamicMessage::deserialize_with_options(self.input.clone(), &mut json, &READ)
            .map_err(|error| Status::invalid_argument(format!("proto: {error}")))
    }

    async fn read(&mut self) -> Result<(), Status> {
        match self.body.frame().await {
            None => self.ended = true,
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.buffer.extend_from_slice(data);
                }
                if self.buffer.len() > self.limit {
                    return Err(Status::resource_exhausted(format!(
                        "grpc: received message larger than max ({} vs. {})",
                        self.buffer.len(),
                        self.limit
                    )));
                }
            }
            Some(Err(error)) => return Err(Status::invalid_argument(error.to_string())),
        }
        Ok(())
    }
}

/// How far the first object of a buffer has been looked at.
#[derive(Debug, Default, PartialEq, Eq)]
struct Scan {
    at: usize,
    depth: u32,
    in_string: bool,
    escaped: bool,
}

impl Scan {
    /// Where the object ends, if it does; looks at each byte once.
    fn end(&mut self, buffer: &[u8]) -> Option<usize> {
        while let Some(byte) = buffer.get(self.at) {
            self.at += 1;
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_string => self.escaped = true,
                b'"' => self.in_string = !self.in_string,
                b'{' | b'[' if !self.in_string => self.depth += 1,
                b'}' | b']' if !self.in_string => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        return Some(self.at);
                    }
                }
                _ => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::Scan;

    #[test]
    fn objects_end_where_their_brackets_close() {
        let text = br#"{"a":{"b":["}","\"}"]}} {"c":1}"#;
        let mut scan = Scan::default();
        // However much has come so far.
        let end = (0..=text.len()).find_map(|length| scan.end(&text[..length]));
        assert_eq!(end, Some(23));
    }
}
