//! One request, read and authenticated: what the verbs work on.

use crate::http::{Accepted, Peer};
use crate::user::UserInfo;
use apiserver_core::options::{FieldValidation, field_manager};
use apiserver_core::{ApiError, GroupVersionKind, RequestInfo};
use bytes::Bytes;
use http::request::Parts;
use jiff::Timestamp;
use serde_json::Value;

pub(crate) struct Call {
    pub info: RequestInfo,
    pub parts: Parts,
    pub body: Bytes,
    pub user: UserInfo,
    pub peer: Peer,
    pub now: Timestamp,
    pub accepted: Accepted,
    /// Texts for `Warning` headers, in order.
    pub warnings: Vec<String>,
}

impl Call {
    pub(crate) fn query(&self) -> &str {
        self.parts.uri.query().unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.parts
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// The media type of the body, without parameters, in lower case.
    pub(crate) fn content_type(&self) -> String {
        self.header("content-type")
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase()
    }

    /// Who owns the fields that this request writes.
    pub(crate) fn manager(&self, given: &str) -> String {
        field_manager(given, self.header("user-agent"))
    }

    /// Now, as Kubernetes writes times.
    pub(crate) fn now_text(&self) -> String {
        apiserver_core::deletion::rfc3339(self.now)
    }

    /// The object in the body, checked against the schema as `validation` says.
    pub(crate) fn decode_object(
        &mut self,
        expected: &GroupVersionKind,
        validation: FieldValidation,
    ) -> Result<Value, ApiError> {
        let decoded = super::decode_body(&self.content_type(), &self.body, expected, validation)?;
        for warning in decoded.warnings {
            self.warn(warning);
        }
        Ok(decoded.value)
    }

    /// The call for a verb that keeps it: a watch outlives its dispatch.
    pub(crate) fn take(&mut self) -> Self {
        let mut parts = http::Request::new(()).into_parts().0;
        std::mem::swap(&mut parts, &mut self.parts);
        Self {
            info: std::mem::take(&mut self.info),
            parts,
            body: std::mem::take(&mut self.body),
            user: std::mem::take(&mut self.user),
            peer: self.peer.clone(),
            now: self.now,
            accepted: self.accepted,
            warnings: std::mem::take(&mut self.warnings),
        }
    }

    /// Adds a warning once.
    pub(crate) fn warn(&mut self, text: String) {
        if !self.warnings.contains(&text) {
            self.warnings.push(text);
        }
    }
}
