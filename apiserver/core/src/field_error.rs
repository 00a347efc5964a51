//! Field errors: where an object is wrong and why, in the words of Kubernetes.
//!
//! Follows `apimachinery/pkg/util/validation/field/{errors,path}.go` (1.36).

use std::fmt;

use serde_json::Value;

/// A path into an object, as users see it: `spec.containers[0].name`, `metadata.labels[app]`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct FieldPath(String);

impl FieldPath {
    pub fn new(path: &str) -> Self {
        Self(path.to_owned())
    }

    pub fn child(&self, field: &str) -> Self {
        if self.0.is_empty() {
            Self(field.to_owned())
        } else {
            Self(format!("{}.{field}", self.0))
        }
    }

    pub fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    pub fn key(&self, key: &str) -> Self {
        Self(format!("{}[{key}]", self.0))
    }

    pub fn as_str(&self) -> &str {
        // Upstream prints a nil path so.
        if self.0.is_empty() { "<nil>" } else { &self.0 }
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The kind of a field error; its reason is what clients match on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldErrorKind {
    NotFound,
    Required,
    Duplicate,
    Invalid,
    NotSupported,
    Forbidden,
    TooLong,
    TooMany,
    Internal,
    TypeInvalid,
}

impl FieldErrorKind {
    /// The machine-readable cause (`metav1.CauseType`).
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotFound => "FieldValueNotFound",
            Self::Required => "FieldValueRequired",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::Internal => "InternalError",
            Self::TypeInvalid => "FieldValueTypeInvalid",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::NotFound => "Not found",
            Self::Required => "Required value",
            Self::Duplicate => "Duplicate value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::Internal => "Internal error",
        }
    }
}

/// One problem of one field.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldError {
    pub kind: FieldErrorKind,
    pub field: FieldPath,
    /// What was given; not shown for required, forbidden, too long and internal errors.
    pub value: Value,
    pub detail: String,
}

impl FieldError {
    fn new(kind: FieldErrorKind, field: &FieldPath, value: Value, detail: impl Into<String>) -> Self {
        Self {
            kind,
            field: field.clone(),
            value,
            detail: detail.into(),
        }
    }

    pub fn required(field: &FieldPath, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Required, field, Value::Null, detail)
    }

    pub fn invalid(field: &FieldPath, value: impl Into<Value>, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Invalid, field, value.into(), detail)
    }

    pub fn type_invalid(field: &FieldPath, value: impl Into<Value>, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::TypeInvalid, field, value.into(), detail)
    }

    pub fn duplicate(field: &FieldPath, value: impl Into<Value>) -> Self {
        Self::new(FieldErrorKind::Duplicate, field, value.into(), "")
    }

    pub fn not_found(field: &FieldPath, value: impl Into<Value>) -> Self {
        Self::new(FieldErrorKind::NotFound, field, value.into(), "")
    }

    pub fn not_supported(field: &FieldPath, value: impl Into<Value>, supported: &[&str]) -> Self {
        let quoted: Vec<String> = supported.iter().map(|value| quote(value)).collect();
        let detail = if quoted.is_empty() {
            String::new()
        } else {
            format!("supported values: {}", quoted.join(", "))
        };
        Self::new(FieldErrorKind::NotSupported, field, value.into(), detail)
    }

    pub fn forbidden(field: &FieldPath, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Forbidden, field, Value::Null, detail)
    }

    pub fn too_long(field: &FieldPath, max_bytes: usize) -> Self {
        Self::new(
            FieldErrorKind::TooLong,
            field,
            Value::Null,
            format!("may not be more than {max_bytes} bytes"),
        )
    }

    pub fn too_many(field: &FieldPath, actual: usize, max: usize) -> Self {
        let noun = if max == 1 { "item" } else { "items" };
        Self::new(
            FieldErrorKind::TooMany,
            field,
            actual.into(),
            format!("must have at most {max} {noun}"),
        )
    }

    pub fn internal(field: &FieldPath, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Internal, field, Value::Null, detail)
    }

    /// The error without its field: the message of a status cause.
    pub fn body(&self) -> String {
        use FieldErrorKind as Kind;
        let mut text = self.kind.text().to_owned();
        if !matches!(
            self.kind,
            Kind::Required | Kind::Forbidden | Kind::TooLong | Kind::Internal
        ) {
            text.push_str(": ");
            match &self.value {
                Value::String(value) => text.push_str(&quote(value)),
                Value::Null => text.push_str("null"),
                value => text.push_str(&value.to_string()),
            }
        }
        if !self.detail.is_empty() {
            text.push_str(": ");
            text.push_str(&self.detail);
        }
        text
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.body())
    }
}

/// All problems of one object, in the order of its fields.
pub type ErrorList = Vec<FieldError>;

/// The text of several errors: one as it is, more in brackets, repeated ones once.
pub fn aggregate<T: fmt::Display>(errors: &[T]) -> String {
    let mut texts: Vec<String> = Vec::new();
    for error in errors {
        let text = error.to_string();
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    if texts.len() == 1 {
        texts.remove(0)
    } else {
        format!("[{}]", texts.join(", "))
    }
}

/// A string as Go's `%q` prints it.
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_ascii_control() => quoted.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn errors_read_as_upstream() {
        let path = FieldPath::new("spec").child("containers").index(0).child("name");
        let cases = [
            (
                FieldError::required(&path, ""),
                "spec.containers[0].name: Required value",
            ),
            (
                FieldError::invalid(&path, "X", "bad"),
                "spec.containers[0].name: Invalid value: \"X\": bad",
            ),
            (
                FieldError::invalid(&path, -1, "bad"),
                "spec.containers[0].name: Invalid value: -1: bad",
            ),
            (
                FieldError::invalid(&path, json!({"a": 1}), "bad"),
                "spec.containers[0].name: Invalid value: {\"a\":1}: bad",
            ),
            (
                FieldError::duplicate(&path, "a"),
                "spec.containers[0].name: Duplicate value: \"a\"",
            ),
            (
                FieldError::not_supported(&path, "a", &["b", "c"]),
                "spec.containers[0].name: Unsupported value: \"a\": supported values: \"b\", \"c\"",
            ),
            (
                FieldError::forbidden(&path, "no"),
                "spec.containers[0].name: Forbidden: no",
            ),
            (
                FieldError::too_long(&path, 63),
                "spec.containers[0].name: Too long: may not be more than 63 bytes",
            ),
            (
                FieldError::too_many(&path, 5, 3),
                "spec.containers[0].name: Too many: 5: must have at most 3 items",
            ),
        ];
        for (error, text) in cases {
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn several_errors_are_bracketed_and_repeats_dropped() {
        let path = FieldPath::new("a");
        let one = FieldError::required(&path, "");
        assert_eq!(aggregate(std::slice::from_ref(&one)), "a: Required value");
        let two = FieldError::forbidden(&path, "x");
        assert_eq!(
            aggregate(&[one.clone(), one, two]),
            "[a: Required value, a: Forbidden: x]"
        );
    }
}
