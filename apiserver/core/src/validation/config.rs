//! ConfigMaps and Secrets.

use base64::Engine;
use serde_json::Value;

use super::{ErrorList, FieldError, FieldPath};
use crate::{names, tree};

/// Data of one object, keys not counted, in bytes.
const MAX_SIZE: usize = 1024 * 1024;

pub(super) fn config_map(object: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    let (data, binary) = (FieldPath::new("data"), FieldPath::new("binaryData"));
    let mut total = 0;
    for (key, value) in tree::strings(object, &["data"]) {
        errors.extend(
            names::config_map_key(key)
                .into_iter()
                .map(|why| FieldError::invalid(&data.key(key), key, why)),
        );
        if tree::at(object, &["binaryData", key]).is_some() {
            let why = "duplicate of key present in binaryData";
            errors.push(FieldError::invalid(&data.key(key), key, why));
        }
        total += value.len();
    }
    for (key, value) in tree::strings(object, &["binaryData"]) {
        let path = binary.key(key);
        errors.extend(
            names::config_map_key(key)
                .into_iter()
                .map(|why| FieldError::invalid(&path, key, why)),
        );
        total += decoded_len(value);
    }
    if total > MAX_SIZE {
        errors.push(FieldError::too_long(&FieldPath::new("[]"), MAX_SIZE));
    }
    errors
}

fn decoded_len(base64: &str) -> usize {
    base64.trim_end_matches('=').len() * 3 / 4
}

/// A field of `data` that a type of secret needs.
const DATA_OF_TYPE: [(&str, &[&str]); 5] = [
    ("kubernetes.io/dockercfg", &[".dockercfg"]),
    ("kubernetes.io/dockerconfigjson", &[".dockerconfigjson"]),
    ("kubernetes.io/ssh-auth", &["ssh-privatekey"]),
    ("kubernetes.io/tls", &["tls.crt", "tls.key"]),
    ("kubernetes.io/basic-auth", &[]),
];

pub(super) fn secret(object: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    let data = FieldPath::new("data");
    let mut total = 0;
    for (key, value) in tree::strings(object, &["data"]) {
        let path = data.key(key);
        errors.extend(
            names::config_map_key(key)
                .into_iter()
                .map(|why| FieldError::invalid(&path, key, why)),
        );
        total += decoded_len(value);
    }
    if total > MAX_SIZE {
        errors.push(FieldError::too_long(&data, MAX_SIZE));
    }
    let kind = tree::text(object, &["type"]);
    if kind == "kubernetes.io/service-account-token"
        && tree::annotation(object, "kubernetes.io/service-account.name")
            .unwrap_or("")
            .is_empty()
    {
        let path = FieldPath::new("metadata.annotations").key("kubernetes.io/service-account.name");
        errors.push(FieldError::required(&path, ""));
    }
    for (_, keys) in DATA_OF_TYPE.iter().filter(|(known, _)| *known == kind) {
        for key in *keys {
            let path = data.key(key);
            let Some(value) = tree::at(object, &["data", key]) else {
                errors.push(FieldError::required(&path, ""));
                continue;
            };
            let is_json = key.starts_with(".docker");
            let decoded = base64::engine::general_purpose::STANDARD.decode(value.as_str().unwrap_or(""));
            if is_json && !decoded.is_ok_and(|bytes| serde_json::from_slice::<Value>(&bytes).is_ok()) {
                errors.push(FieldError::invalid(
                    &path,
                    "<secret contents redacted>",
                    "invalid JSON",
                ));
            }
        }
    }
    if kind == "kubernetes.io/basic-auth"
        && ["username", "password"]
            .iter()
            .all(|key| tree::at(object, &["data", key]).is_none())
    {
        errors.push(FieldError::required(&data.key("username"), ""));
        errors.push(FieldError::required(&data.key("password"), ""));
    }
    errors
}

/// What an immutable object keeps.
pub(super) fn immutable(new: &Value, old: &Value, fields: &[&str]) -> ErrorList {
    if !tree::flag(old, &["immutable"]) {
        return ErrorList::new();
    }
    let mut errors = ErrorList::new();
    if !tree::flag(new, &["immutable"]) {
        let why = "field is immutable when `immutable` is set";
        errors.push(FieldError::forbidden(&FieldPath::new("immutable"), why));
    }
    for field in fields {
        if !tree::same(new.get(field), old.get(field)) {
            let why = "field is immutable when `immutable` is set";
            errors.push(FieldError::forbidden(&FieldPath::new(field), why));
        }
    }
    errors
}

pub(super) fn secret_update(new: &Value, old: &Value) -> ErrorList {
    let mut errors = super::kept(new, old, "", &["type"]);
    errors.extend(immutable(new, old, &["data"]));
    errors
}
