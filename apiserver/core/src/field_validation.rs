//! Request bodies to object trees: decoding, unknown and repeated fields, types, normal form.
//!
//! [`decode`] is the one way in for JSON, YAML and protobuf bodies. What comes out of it is in **normal form**,
//! the form in which upstream's typed objects would print: unknown fields are dropped (with a warning or an error,
//! as `fieldValidation` says), `null`s, empty lists and maps and plain zero values are absent, times are in UTC and
//! quantities canonical. [`normalize`] brings a patched tree to the same form.
//!
//! Custom resources are walked by their own schema (or none): unknown fields are dropped where the schema does not
//! keep them, and nothing else is touched; wrong types are for schema validation to report.
//!
//! Follows `apiserver/pkg/endpoints/handlers/{create,update,rest}.go` and `sigs.k8s.io/json` (1.36).

mod check;
mod parse;

use kubeschema::Schema;
use kubeschema::protobuf::{self, ProtobufError};
use serde_json::Value;

use crate::GroupVersionKind;
use crate::field_error::quote;
use crate::options::FieldValidation;
use crate::status::ApiError;

pub use check::{TypeError, normalize};
pub use parse::{Parsed, SyntaxError, parse_json, parse_yaml};

/// The form of a request body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFormat {
    Json,
    Yaml,
    Protobuf,
}

impl BodyFormat {
    /// By content type; an absent one is JSON. `None`: answer 415.
    pub fn of_content_type(content_type: &str) -> Option<Self> {
        match content_type.split(';').next().unwrap_or_default().trim() {
            "" | "application/json" | "*/*" => Some(Self::Json),
            "application/yaml" | "application/x-yaml" | "text/yaml" => Some(Self::Yaml),
            "application/vnd.kubernetes.protobuf" => Some(Self::Protobuf),
            _ => None,
        }
    }
}

/// What a body is expected to be.
#[derive(Clone, Copy)]
pub struct Target<'s> {
    /// The kind of the endpoint: fills in a missing `apiVersion` and `kind`.
    pub kind: &'s GroupVersionKind,
    /// `None`: a custom resource without a schema.
    pub schema: Option<Schema<'s>>,
    pub validation: FieldValidation,
}

/// A body in normal form.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    pub value: Value,
    /// Texts for `Warning` headers.
    pub warnings: Vec<String>,
}

/// Reads a request body.
///
/// # Errors
/// 400 for text that does not parse, another kind than the target's, wrong types, and, with
/// [`FieldValidation::Strict`], unknown or repeated fields.
pub fn decode(body: &[u8], format: BodyFormat, target: Target<'_>) -> Result<Decoded, ApiError> {
    let parsed = match format {
        BodyFormat::Json => parse_json(body, target.schema),
        BodyFormat::Yaml => parse_yaml(body, target.schema),
        BodyFormat::Protobuf => return decode_protobuf(body, target),
    };
    let mut parsed = parsed.map_err(|e| unrecognized(body, target, &e.to_string()))?;
    if !parsed.value.is_object() {
        let why = "couldn't get version/kind; json parse error: json: cannot unmarshal into Go value of type struct \
                   { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \
                   \"json:\\\"kind,omitempty\\\"\" }";
        return Err(unrecognized(body, target, why));
    }
    complete_kind(&mut parsed.value, target.kind)?;
    finish(parsed.value, &parsed.problems, target)
}

fn decode_protobuf(body: &[u8], target: Target<'_>) -> Result<Decoded, ApiError> {
    let mut value = match protobuf::decode_as(body, target.kind) {
        Ok((_, value)) => value,
        Err(error @ ProtobufError::UnknownKind { .. }) => {
            return Err(ApiError::bad_request(error.to_string()));
        }
        Err(error) => return Err(unrecognized(body, target, &error.to_string())),
    };
    complete_kind(&mut value, target.kind)?;
    finish(value, &[], target)
}

/// Applies `fieldValidation` to what parsing found, then brings the object to normal form.
fn finish(mut value: Value, problems: &[String], target: Target<'_>) -> Result<Decoded, ApiError> {
    if let Some(schema) = target.schema {
        normalize(&mut value, schema).map_err(|e| cannot_be_handled(target.kind, &e.to_string()))?;
    }
    let warnings = judge(problems, target.validation).map_err(|why| cannot_be_handled(target.kind, &why))?;
    Ok(Decoded { value, warnings })
}

/// What becomes of unknown and repeated fields: warnings, or the text of an error.
pub fn judge(problems: &[String], validation: FieldValidation) -> Result<Vec<String>, String> {
    match validation {
        FieldValidation::Strict if !problems.is_empty() => {
            Err(format!("strict decoding error: {}", problems.join(", ")))
        }
        FieldValidation::Warn => Ok(problems.to_vec()),
        _ => Ok(Vec::new()),
    }
}

/// Fills in a missing kind, and refuses another one.
fn complete_kind(value: &mut Value, expected: &GroupVersionKind) -> Result<(), ApiError> {
    let text = |name: &str| {
        value
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let (given_version, given_kind) = (text("apiVersion"), text("kind"));
    let api_version = expected.api_version();
    if !given_kind.is_empty() && given_kind != expected.kind {
        return Err(ApiError::bad_request(format!(
            "{given_kind} in version {} cannot be handled as a {}: no kind {} is registered for version {}",
            quote(given_version.rsplit('/').next().unwrap_or_default()),
            expected.kind,
            quote(&given_kind),
            quote(&api_version),
        )));
    }
    if !given_version.is_empty() && given_version != api_version {
        return Err(ApiError::bad_request(format!(
            "the API version in the data ({given_version}) does not match the expected API version ({api_version})"
        )));
    }
    if let Value::Object(map) = value {
        map.insert("apiVersion".to_owned(), api_version.into());
        map.insert("kind".to_owned(), expected.kind.clone().into());
    }
    Ok(())
}

fn cannot_be_handled(kind: &GroupVersionKind, why: &str) -> ApiError {
    ApiError::bad_request(format!(
        "{} in version {} cannot be handled as a {}: {why}",
        kind.kind,
        quote(&kind.version),
        kind.kind
    ))
}

fn unrecognized(body: &[u8], target: Target<'_>, why: &str) -> ApiError {
    ApiError::bad_request(format!(
        "the object provided is unrecognized (must be of type {}): {why} ({})",
        target.kind.kind,
        summary(body)
    ))
}

/// The first bytes of a body, in hexadecimal (`summarizeData`).
fn summary(body: &[u8]) -> String {
    const SHOWN: usize = 30;
    if body.is_empty() {
        return "<empty>".to_owned();
    }
    let hex: String = body.iter().take(SHOWN).map(|b| format!("{b:02x}")).collect();
    if body.len() > SHOWN {
        format!("{hex} ...")
    } else {
        hex
    }
}

#[cfg(test)]
mod tests;
