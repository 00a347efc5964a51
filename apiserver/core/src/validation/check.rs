//! Checks of single values, in the words of Kubernetes, that all kinds share.

use quantity::Quantity;
use serde_json::Value;

use crate::field_error::{ErrorList, FieldError, FieldPath};
use crate::{names, tree};

pub(super) const IMMUTABLE: &str = "field is immutable";
pub(super) const NEGATIVE: &str = "must be greater than or equal to 0";

/// One error for each reason why `value` is wrong.
pub(super) fn invalid(path: &FieldPath, value: &str, reasons: Vec<String>) -> ErrorList {
    reasons
        .into_iter()
        .map(|why| FieldError::invalid(path, value, why))
        .collect()
}

pub(super) fn label(value: &str, path: &FieldPath) -> ErrorList {
    invalid(path, value, names::dns1123_label(value, false))
}

pub(super) fn subdomain(value: &str, path: &FieldPath) -> ErrorList {
    invalid(path, value, names::dns1123_subdomain(value, false))
}

pub(super) fn qualified_name(value: &str, path: &FieldPath) -> ErrorList {
    invalid(path, value, names::qualified_name(value))
}

pub(super) fn ip(value: &str, path: &FieldPath) -> ErrorList {
    invalid(path, value, names::ip(value))
}

/// An address range whose bits behind the prefix may be anything.
pub(super) fn cidr(value: &str, path: &FieldPath) -> ErrorList {
    if value.parse::<ipnet::IpNet>().is_ok() {
        ErrorList::new()
    } else {
        let why = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
        vec![FieldError::invalid(path, value, why)]
    }
}

/// A port number of a field; absent counts as 0, which is none.
pub(super) fn port_number(number: i64, path: &FieldPath) -> ErrorList {
    names::port_number(number)
        .into_iter()
        .map(|why| FieldError::invalid(path, number, why))
        .collect()
}

/// A port of a pod: a number or a name.
pub(super) fn port(value: Option<&Value>, path: &FieldPath) -> ErrorList {
    match value {
        Some(Value::String(name)) => invalid(path, name, names::port_name(name)),
        value => port_number(value.and_then(Value::as_i64).unwrap_or(0), path),
    }
}

pub(super) fn protocol(holder: &Value, path: &FieldPath) -> Option<FieldError> {
    one_of(holder, "protocol", path, &["SCTP", "TCP", "UDP"])
}

/// The text of `field` is there and one of `supported`.
pub(super) fn one_of(
    holder: &Value,
    field: &str,
    path: &FieldPath,
    supported: &[&str],
) -> Option<FieldError> {
    required(holder, field, path).or_else(|| optional_one_of(holder, field, path, supported))
}

/// The text of `field`, if it is set, is one of `supported`.
pub(super) fn optional_one_of(
    holder: &Value,
    field: &str,
    path: &FieldPath,
    supported: &[&str],
) -> Option<FieldError> {
    let text = tree::at(holder, &[field])?.as_str().unwrap_or("");
    (!supported.contains(&text)).then(|| FieldError::not_supported(&path.child(field), text, supported))
}

/// The text of `field` is not empty.
pub(super) fn required(holder: &Value, field: &str, path: &FieldPath) -> Option<FieldError> {
    tree::text(holder, &[field])
        .is_empty()
        .then(|| FieldError::required(&path.child(field), ""))
}

/// The numbers of `fields`, where set, are not below zero.
pub(super) fn not_negative(holder: &Value, fields: &[&str], path: &FieldPath) -> ErrorList {
    let negative = |field: &&str| {
        let number = tree::int(holder, &[field]).filter(|number| *number < 0)?;
        Some(FieldError::invalid(&path.child(field), number, NEGATIVE))
    };
    fields.iter().filter_map(negative).collect()
}

/// Every one of `fields` is as it was.
pub(super) fn immutable(new: &Value, old: &Value, fields: &[&str], path: &FieldPath) -> ErrorList {
    let changed = fields
        .iter()
        .filter(|field| !tree::same(tree::at(new, &[field]), tree::at(old, &[field])));
    changed
        .map(|field| {
            let now = new.get(field).cloned().unwrap_or(Value::Null);
            FieldError::invalid(&path.child(field), now, IMMUTABLE)
        })
        .collect()
}

/// The amount of a field.
pub(super) fn quantity(value: &Value, path: &FieldPath) -> Result<Quantity, FieldError> {
    Quantity::from_value(value).map_err(|error| FieldError::invalid(path, value.clone(), error.to_string()))
}

/// A user or group id.
pub(super) fn user_id(holder: &Value, field: &str, path: &FieldPath) -> Option<FieldError> {
    let id = tree::int(holder, &[field])?;
    id_in_range(id, &path.child(field))
}

pub(super) fn id_in_range(id: i64, path: &FieldPath) -> Option<FieldError> {
    let why = "must be between 0 and 2147483647, inclusive";
    (!(0..=i64::from(i32::MAX)).contains(&id)).then(|| FieldError::invalid(path, id, why))
}

/// A file mode of a volume.
pub(super) fn file_mode(holder: &Value, field: &str, path: &FieldPath) -> Option<FieldError> {
    let mode = tree::int(holder, &[field])?;
    let why = "must be a number between 0 and 0777 (octal), both inclusive";
    (!(0..=0o777).contains(&mode)).then(|| FieldError::invalid(&path.child(field), mode, why))
}

/// No part of the file path is `..`.
pub(super) fn no_backsteps(file: &str, path: &FieldPath) -> Option<FieldError> {
    file.split('/')
        .any(|part| part == "..")
        .then(|| FieldError::invalid(path, file, "must not contain '..'"))
}

/// A relative file path that stays below where it starts.
pub(super) fn descending_path(file: &str, path: &FieldPath) -> ErrorList {
    let absolute = file
        .starts_with('/')
        .then(|| FieldError::invalid(path, file, "must be a relative path"));
    absolute.into_iter().chain(no_backsteps(file, path)).collect()
}

/// As [`descending_path`], and does not start with `..` (names that volumes keep for themselves).
pub(super) fn unreserved_path(file: &str, path: &FieldPath) -> ErrorList {
    let mut errors = descending_path(file, path);
    if file.starts_with("..") && file != ".." && !file.starts_with("../") {
        errors.push(FieldError::invalid(path, file, "must not start with '..'"));
    }
    errors
}

/// An absolute number that is not negative, or a percentage.
pub(super) fn int_or_percent(holder: &Value, field: &str, path: &FieldPath) -> ErrorList {
    let Some(value) = tree::at(holder, &[field]) else {
        return ErrorList::new();
    };
    let path = path.child(field);
    let why = match value {
        Value::Number(number) if number.as_i64().is_some_and(|number| number < 0) => NEGATIVE,
        Value::Number(_) => return ErrorList::new(),
        Value::String(text) if is_percent(text) => return ErrorList::new(),
        Value::String(_) => {
            "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex \
             used for validation is '[0-9]+%')"
        }
        _ => "must be an integer or percentage (e.g '5%%')",
    };
    vec![FieldError::invalid(&path, value.clone(), why)]
}

/// A percentage is at most a hundred.
pub(super) fn at_most_all(holder: &Value, field: &str, path: &FieldPath) -> Option<FieldError> {
    let value = tree::at(holder, &[field])?;
    let text = value.as_str().filter(|text| is_percent(text))?;
    let over = text.trim_end_matches('%').parse::<u64>().is_ok_and(|n| n <= 100);
    (!over).then(|| FieldError::invalid(&path.child(field), text, "must not be greater than 100%"))
}

fn is_percent(text: &str) -> bool {
    text.strip_suffix('%')
        .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit()))
}

/// The number or the percentage is zero (as is an absent one).
pub(super) fn is_zero(holder: &Value, field: &str) -> bool {
    match tree::at(holder, &[field]) {
        Some(Value::String(text)) => text.trim_end_matches('%').parse().unwrap_or(0) == 0,
        Some(value) => value.as_i64().unwrap_or(0) == 0,
        None => true,
    }
}

/// The leaves in which two trees differ, a line each: `-` before, `+` after.
pub(super) fn differences(old: &Value, new: &Value, path: &FieldPath) -> String {
    let mut lines = String::new();
    collect_differences(Some(old), Some(new), path, &mut lines);
    lines
}

fn collect_differences(old: Option<&Value>, new: Option<&Value>, path: &FieldPath, lines: &mut String) {
    if tree::same(old, new) {
        return;
    }
    match (old, new) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            let added = b.keys().filter(|key| !a.contains_key(*key));
            for key in a.keys().chain(added) {
                collect_differences(a.get(key), b.get(key), &path.child(key), lines);
            }
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) => {
            for i in 0..a.len().max(b.len()) {
                collect_differences(a.get(i), b.get(i), &path.index(i), lines);
            }
        }
        _ => {
            for (sign, value) in [('-', old), ('+', new)] {
                if let Some(value) = value {
                    lines.push_str(&format!("{sign} {path}: {value}\n"));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn texts(errors: impl IntoIterator<Item = FieldError>) -> Vec<String> {
        errors.into_iter().map(|error| error.to_string()).collect()
    }

    #[test]
    fn percentages_and_numbers_are_told_apart() {
        let path = FieldPath::new("spec");
        for good in [json!(0), json!(5), json!("0%"), json!("150%")] {
            assert!(
                int_or_percent(&json!({"n": good}), "n", &path).is_empty(),
                "{good}"
            );
        }
        for bad in [json!(-1), json!("5"), json!("%"), json!("-5%"), json!(true)] {
            assert_eq!(int_or_percent(&json!({"n": bad}), "n", &path).len(), 1, "{bad}");
        }
        assert!(at_most_all(&json!({"n": "100%"}), "n", &path).is_none());
        assert_eq!(
            texts(at_most_all(&json!({"n": "101%"}), "n", &path)),
            ["spec.n: Invalid value: \"101%\": must not be greater than 100%"]
        );
        assert!(is_zero(&json!({"n": "0%"}), "n") && is_zero(&json!({}), "n"));
    }

    #[test]
    fn file_paths_stay_inside() {
        let path = FieldPath::new("path");
        for good in ["a", "a/b", ".a", "a..b"] {
            assert!(unreserved_path(good, &path).is_empty(), "{good}");
        }
        for bad in ["/a", "..", "../a", "a/../b", "..a"] {
            assert_eq!(unreserved_path(bad, &path).len(), 1, "{bad}");
        }
    }

    #[test]
    fn differences_name_the_leaves() {
        let old = json!({"a": [{"b": 1}], "c": 1, "e": []});
        let new = json!({"a": [{"b": 2}], "d": 1});
        assert_eq!(
            differences(&old, &new, &FieldPath::new("spec")),
            "- spec.a[0].b: 1\n+ spec.a[0].b: 2\n- spec.c: 1\n+ spec.d: 1\n"
        );
    }
}
