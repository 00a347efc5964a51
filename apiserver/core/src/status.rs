//! API errors: each becomes a `Status` object with upstream's code, reason, message and details.
//!
//! Follows `apimachinery/pkg/api/errors/errors.go` (1.36). Clients match on `reason` and `details`, people read
//! `message`: all three are part of the contract.

use std::fmt;

use serde_json::{Map, Value, json};

use crate::field_error::{FieldError, aggregate, quote};
use crate::resource::GroupResource;

/// The machine-readable reason of a failure (`metav1.StatusReason`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Unknown,
    Unauthorized,
    Forbidden,
    NotFound,
    AlreadyExists,
    Conflict,
    Gone,
    Expired,
    Invalid,
    ServerTimeout,
    Timeout,
    TooManyRequests,
    BadRequest,
    MethodNotAllowed,
    NotAcceptable,
    RequestEntityTooLarge,
    UnsupportedMediaType,
    InternalError,
    ServiceUnavailable,
}

impl Reason {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "",
            Self::Unauthorized => "Unauthorized",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "NotFound",
            Self::AlreadyExists => "AlreadyExists",
            Self::Conflict => "Conflict",
            Self::Gone => "Gone",
            Self::Expired => "Expired",
            Self::Invalid => "Invalid",
            Self::ServerTimeout => "ServerTimeout",
            Self::Timeout => "Timeout",
            Self::TooManyRequests => "TooManyRequests",
            Self::BadRequest => "BadRequest",
            Self::MethodNotAllowed => "MethodNotAllowed",
            Self::NotAcceptable => "NotAcceptable",
            Self::RequestEntityTooLarge => "RequestEntityTooLarge",
            Self::UnsupportedMediaType => "UnsupportedMediaType",
            Self::InternalError => "InternalError",
            Self::ServiceUnavailable => "ServiceUnavailable",
        }
    }
}

/// One cause in the details of a failure.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Cause {
    pub reason: String,
    pub message: String,
    pub field: String,
}

/// What a failure is about.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Details {
    pub name: String,
    pub group: String,
    /// A resource name (`pods`) or a kind (`Pod`), as upstream has it for each reason.
    pub kind: String,
    pub uid: String,
    pub causes: Vec<Cause>,
    pub retry_after_seconds: u32,
}

/// A failed request, in the form that clients get.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ApiError {
    pub code: u16,
    pub reason: Reason,
    pub message: String,
    pub details: Option<Box<Details>>,
    /// A token to go on with an expired list, inconsistently.
    pub continue_token: Option<String>,
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl ApiError {
    pub fn new(code: u16, reason: Reason, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            details: None,
            continue_token: None,
        }
    }

    fn about(mut self, resource: &GroupResource, name: &str) -> Self {
        self.details = Some(Box::new(Details {
            name: name.to_owned(),
            group: resource.group.clone(),
            kind: resource.resource.clone(),
            ..Details::default()
        }));
        self
    }

    /// Adds a cause to the details.
    pub fn with_cause(mut self, cause: Cause) -> Self {
        self.details.get_or_insert_default().causes.push(cause);
        self
    }

    /// Sets the seconds after which a client may try again.
    pub fn with_retry_after(mut self, seconds: u32) -> Self {
        self.details.get_or_insert_default().retry_after_seconds = seconds;
        self
    }

    pub fn not_found(resource: &GroupResource, name: &str) -> Self {
        let message = format!("{resource} {} not found", quote(name));
        Self::new(404, Reason::NotFound, message).about(resource, name)
    }

    /// A path that no resource or endpoint serves.
    pub fn path_not_found() -> Self {
        let mut error = Self::new(
            404,
            Reason::NotFound,
            "the server could not find the requested resource",
        );
        error.details = Some(Box::default());
        error
    }

    pub fn already_exists(resource: &GroupResource, name: &str) -> Self {
        let message = format!("{resource} {} already exists", quote(name));
        Self::new(409, Reason::AlreadyExists, message).about(resource, name)
    }

    /// All generated names were taken.
    pub fn generate_name_conflict(resource: &GroupResource, name: &str) -> Self {
        let message = format!(
            "{resource} {} already exists, the server was not able to generate a unique name for the object",
            quote(name)
        );
        Self::new(409, Reason::AlreadyExists, message)
            .about(resource, name)
            .with_retry_after(1)
    }

    pub fn conflict(resource: &GroupResource, name: &str, why: impl fmt::Display) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {resource} {}: {why}",
            quote(name)
        );
        Self::new(409, Reason::Conflict, message).about(resource, name)
    }

    /// The `resourceVersion` given is not the one stored.
    pub fn modified(resource: &GroupResource, name: &str) -> Self {
        Self::conflict(
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// Another field manager owns fields that an apply request wants to change.
    pub fn apply_conflict(causes: Vec<Cause>, message: impl Into<String>) -> Self {
        let mut error = Self::new(409, Reason::Conflict, message);
        error.details = Some(Box::new(Details {
            causes,
            ..Details::default()
        }));
        error
    }

    /// `group` and `kind` are those of the object, for example `apps` and `Deployment`.
    pub fn invalid(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> Self {
        let qualified = if group.is_empty() {
            kind.to_owned()
        } else {
            format!("{kind}.{group}")
        };
        let message = if errors.is_empty() {
            format!("{qualified} {} is invalid", quote(name))
        } else {
            format!("{qualified} {} is invalid: {}", quote(name), aggregate(errors))
        };
        let mut error = Self::new(422, Reason::Invalid, message);
        error.details = Some(Box::new(Details {
            name: name.to_owned(),
            group: group.to_owned(),
            kind: kind.to_owned(),
            causes: errors
                .iter()
                .map(|error| Cause {
                    reason: error.kind.reason().to_owned(),
                    message: error.body(),
                    field: error.field.to_string(),
                })
                .collect(),
            ..Details::default()
        }));
        error
    }

    /// `pods "x" is forbidden: why`; without a name, or without a resource, shorter.
    pub fn forbidden(resource: &GroupResource, name: &str, why: impl fmt::Display) -> Self {
        let message = if resource.resource.is_empty() {
            format!("forbidden: {why}")
        } else if name.is_empty() {
            format!("{resource} is forbidden: {why}")
        } else {
            format!("{resource} {} is forbidden: {why}", quote(name))
        };
        Self::new(403, Reason::Forbidden, message).about(resource, name)
    }

    pub fn unauthorized() -> Self {
        Self::new(401, Reason::Unauthorized, "Unauthorized")
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, Reason::BadRequest, message)
    }

    pub fn gone(message: impl Into<String>) -> Self {
        Self::new(410, Reason::Gone, message)
    }

    /// A resource version that is compacted away.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, Reason::Expired, message)
    }

    /// A watch from a resource version older than the history kept.
    pub fn too_old_resource_version(requested: u64, oldest: u64) -> Self {
        Self::expired(format!("too old resource version: {requested} ({oldest})"))
    }

    /// A continue token whose revision is compacted; `token` goes on from the same key at the latest revision.
    pub fn expired_continue(token: String) -> Self {
        let mut error = Self::expired(
            "The provided continue parameter is too old to display a consistent list result. You can start a new \
             list without the continue parameter, or use the continue token in this response to retrieve the \
             remainder of the results. Continuing with the provided token results in an inconsistent list - objects \
             that were created, modified, or deleted between the time the first chunk was returned and now may show \
             up in the list.",
        );
        error.continue_token = Some(token);
        error
    }

    /// An exact list of a compacted revision.
    pub fn expired_list() -> Self {
        Self::expired("The resourceVersion for the provided list is too old.")
    }

    /// A resource version that the server has not reached in time.
    pub fn resource_version_too_large(requested: u64, current: u64) -> Self {
        Self::timeout(
            format!("Too large resource version: {requested}, current: {current}"),
            1,
        )
        .with_cause(Cause {
            reason: "ResourceVersionTooLarge".to_owned(),
            message: "Too large resource version".to_owned(),
            field: String::new(),
        })
    }

    pub fn too_many_requests(message: impl Into<String>, retry_after_seconds: u32) -> Self {
        Self::new(429, Reason::TooManyRequests, message).with_retry_after(retry_after_seconds)
    }

    /// An eviction that a disruption budget does not allow now.
    pub fn disruption_budget(message: impl Into<String>) -> Self {
        Self::new(
            429,
            Reason::TooManyRequests,
            "Cannot evict pod as it would violate the pod's disruption budget.",
        )
        .with_cause(Cause {
            reason: "DisruptionBudget".to_owned(),
            message: message.into(),
            field: String::new(),
        })
    }

    pub fn timeout(message: impl fmt::Display, retry_after_seconds: u32) -> Self {
        Self::new(504, Reason::Timeout, format!("Timeout: {message}")).with_retry_after(retry_after_seconds)
    }

    /// The operation could not be finished in time and may be tried again.
    pub fn server_timeout(resource: &GroupResource, operation: &str, retry_after_seconds: u32) -> Self {
        let message = format!(
            "The {operation} operation against {resource} could not be completed at this time, please try again."
        );
        Self::new(500, Reason::ServerTimeout, message)
            .about(resource, operation)
            .with_retry_after(retry_after_seconds)
    }

    pub fn method_not_allowed(resource: &GroupResource, action: &str) -> Self {
        let message = format!(
            "{action} is not supported on resources of kind {}",
            quote(&resource.to_string())
        );
        Self::new(405, Reason::MethodNotAllowed, message).about(resource, "")
    }

    /// A method that a path without resources does not serve.
    pub fn path_method_not_allowed() -> Self {
        Self::new(
            405,
            Reason::MethodNotAllowed,
            "the server does not allow this method on the requested resource",
        )
    }

    pub fn not_acceptable(available: &[&str]) -> Self {
        let message = format!(
            "only the following media types are accepted: {}",
            available.join(", ")
        );
        Self::new(406, Reason::NotAcceptable, message)
    }

    pub fn unsupported_media_type(accepted: &[&str]) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            accepted.join(", ")
        );
        Self::new(415, Reason::UnsupportedMediaType, message)
    }

    pub fn request_entity_too_large(message: impl fmt::Display) -> Self {
        Self::new(
            413,
            Reason::RequestEntityTooLarge,
            format!("Request entity too large: {message}"),
        )
    }

    pub fn internal(message: impl fmt::Display) -> Self {
        let cause = Cause {
            message: message.to_string(),
            ..Cause::default()
        };
        Self::new(
            500,
            Reason::InternalError,
            format!("Internal error occurred: {message}"),
        )
        .with_cause(cause)
    }

    pub fn service_unavailable(message: impl Into<String>) -> Self {
        Self::new(503, Reason::ServiceUnavailable, message)
    }

    /// The body of the answer.
    pub fn to_status(&self) -> Value {
        let mut metadata = Map::new();
        if let Some(token) = &self.continue_token {
            metadata.insert("continue".to_owned(), json!(token));
        }
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": metadata,
            "status": "Failure",
            "message": self.message,
            "code": self.code,
        });
        if self.reason != Reason::Unknown {
            status["reason"] = json!(self.reason.as_str());
        }
        if let Some(details) = &self.details {
            status["details"] = details.to_value();
        }
        status
    }
}

impl Details {
    fn to_value(&self) -> Value {
        let mut value = Map::new();
        for (field, text) in [
            ("name", &self.name),
            ("group", &self.group),
            ("kind", &self.kind),
            ("uid", &self.uid),
        ] {
            if !text.is_empty() {
                value.insert(field.to_owned(), json!(text));
            }
        }
        if !self.causes.is_empty() {
            value.insert(
                "causes".to_owned(),
                self.causes.iter().map(Cause::to_value).collect(),
            );
        }
        if self.retry_after_seconds > 0 {
            value.insert("retryAfterSeconds".to_owned(), json!(self.retry_after_seconds));
        }
        Value::Object(value)
    }
}

impl Cause {
    fn to_value(&self) -> Value {
        let mut value = Map::new();
        for (field, text) in [
            ("reason", &self.reason),
            ("message", &self.message),
            ("field", &self.field),
        ] {
            if !text.is_empty() {
                value.insert(field.to_owned(), json!(text));
            }
        }
        Value::Object(value)
    }
}

/// The `Status` of a deletion that removed an object.
pub fn deleted(resource: &GroupResource, name: &str, uid: &str) -> Value {
    let details = Details {
        name: name.to_owned(),
        group: resource.group.clone(),
        kind: resource.resource.clone(),
        uid: uid.to_owned(),
        ..Details::default()
    };
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details.to_value(),
    })
}

/// The `Status` of a success without details, for example of a binding.
pub fn success(code: u16) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": code})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field_error::FieldPath;

    #[test]
    fn messages_are_those_of_upstream() {
        let pods = GroupResource::new("", "pods");
        let deployments = GroupResource::new("apps", "deployments");
        let cases = [
            (ApiError::not_found(&pods, "x"), 404, "pods \"x\" not found"),
            (
                ApiError::already_exists(&deployments, "x"),
                409,
                "deployments.apps \"x\" already exists",
            ),
            (
                ApiError::modified(&pods, "x"),
                409,
                "Operation cannot be fulfilled on pods \"x\": the object has been modified; please apply your \
                 changes to the latest version and try again",
            ),
            (ApiError::forbidden(&pods, "", "no"), 403, "pods is forbidden: no"),
            (
                ApiError::forbidden(&pods, "x", "no"),
                403,
                "pods \"x\" is forbidden: no",
            ),
            (ApiError::internal("boom"), 500, "Internal error occurred: boom"),
            (
                ApiError::too_old_resource_version(5, 9),
                410,
                "too old resource version: 5 (9)",
            ),
            (
                ApiError::resource_version_too_large(9, 5),
                504,
                "Timeout: Too large resource version: 9, current: 5",
            ),
            (
                ApiError::method_not_allowed(&pods, "patch"),
                405,
                "patch is not supported on resources of kind \"pods\"",
            ),
        ];
        for (error, code, message) in cases {
            assert_eq!((error.code, error.message.as_str()), (code, message));
        }
    }

    #[test]
    fn an_invalid_object_lists_each_cause() {
        let errors = [
            FieldError::required(&FieldPath::new("spec.selector"), ""),
            FieldError::invalid(
                &FieldPath::new("spec.replicas"),
                -1,
                "must be greater than or equal to 0",
            ),
        ];
        let status = ApiError::invalid("apps", "Deployment", "x", &errors).to_status();
        assert_eq!(
            status,
            json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 422,
                "reason": "Invalid",
                "message": "Deployment.apps \"x\" is invalid: [spec.selector: Required value, spec.replicas: \
                            Invalid value: -1: must be greater than or equal to 0]",
                "details": {"name": "x", "group": "apps", "kind": "Deployment", "causes": [
                    {"reason": "FieldValueRequired", "message": "Required value", "field": "spec.selector"},
                    {"reason": "FieldValueInvalid", "field": "spec.replicas",
                     "message": "Invalid value: -1: must be greater than or equal to 0"},
                ]},
            })
        );
    }
}
