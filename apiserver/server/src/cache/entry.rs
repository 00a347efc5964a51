//! One cached object: its bytes as clients get them, and the few fields that selectors read.

use bytes::Bytes;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// Reads the selectable fields of an object, `metadata.name` and `metadata.namespace` not included.
pub(crate) type FieldsOf = Arc<dyn Fn(&Value) -> BTreeMap<String, String> + Send + Sync>;

#[derive(Debug)]
pub(crate) struct Entry {
    /// The key below the resource's prefix: `namespace/name` or `name`.
    pub key: String,
    pub namespace: String,
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub fields: BTreeMap<String, String>,
    pub revision: i64,
    /// Compact JSON with `metadata.resourceVersion`.
    pub json: Bytes,
    /// The decoded object, kept for the few that our own look-ups read again and again.
    decoded: OnceLock<Arc<Value>>,
}

impl Entry {
    /// `None` when the value isn't a JSON object.
    pub(crate) fn decode(key: String, stored: &[u8], revision: i64, fields_of: &FieldsOf) -> Option<Self> {
        let value: Value = serde_json::from_slice(stored).ok()?;
        let metadata = value.get("metadata")?;
        let text = |field: &str| {
            metadata
                .get(field)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let labels = metadata
            .get("labels")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
            .collect();
        Some(Self {
            key,
            namespace: text("namespace"),
            name: text("name"),
            labels,
            fields: fields_of(&value),
            revision,
            json: with_resource_version(stored, revision),
            decoded: OnceLock::new(),
        })
    }

    /// The decoded object, decoded once.
    pub(crate) fn shared(&self) -> Arc<Value> {
        Arc::clone(self.decoded.get_or_init(|| Arc::new(self.value())))
    }

    pub(crate) fn value(&self) -> Value {
        serde_json::from_slice(&self.json).unwrap_or(Value::Null)
    }

    /// The same object as of another revision, as a DELETED event shows it.
    pub(crate) fn json_at(&self, revision: i64) -> Bytes {
        if revision == self.revision {
            return self.json.clone();
        }
        let mut value = self.value();
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("resourceVersion".to_owned(), Value::String(revision.to_string()));
        }
        ordered_bytes(&value).into()
    }
}

const METADATA: &[u8] = b"\"metadata\":{";
/// `kind` and `apiVersion` come before `metadata` and are short.
const SEARCH: usize = 512;

/// The bytes to store: kind, apiVersion and metadata first, no resourceVersion.
pub(crate) fn stored_bytes(value: &Value) -> Vec<u8> {
    match value.pointer("/metadata/resourceVersion") {
        None => ordered_bytes(value),
        Some(_) => {
            let mut value = value.clone();
            if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.remove("resourceVersion");
            }
            ordered_bytes(&value)
        }
    }
}

fn ordered_bytes(value: &Value) -> Vec<u8> {
    let empty = Map::new();
    let object = value.as_object().unwrap_or(&empty);
    let mut bytes = Vec::with_capacity(1024);
    let mut first = true;
    let mut field = |key: &str, value: &Value| {
        bytes.push(if first { b'{' } else { b',' });
        first = false;
        serde_json::to_writer(&mut bytes, key).expect("writing to memory");
        bytes.push(b':');
        serde_json::to_writer(&mut bytes, value).expect("a JSON tree has string keys only");
    };
    const FIRST: [&str; 3] = ["kind", "apiVersion", "metadata"];
    for key in FIRST {
        if let Some(value) = object.get(key) {
            field(key, value);
        }
    }
    for (key, value) in object.iter().filter(|(key, _)| !FIRST.contains(&key.as_str())) {
        field(key, value);
    }
    if first {
        return b"{}".to_vec();
    }
    bytes.push(b'}');
    bytes
}

/// Adds the resourceVersion to stored bytes without decoding them.
pub(crate) fn with_resource_version(stored: &[u8], revision: i64) -> Bytes {
    let head = &stored[..stored.len().min(SEARCH)];
    // kind and apiVersion are plain names, so the first match is the object's own metadata.
    let Some(at) = head.windows(METADATA.len()).position(|window| window == METADATA) else {
        return Bytes::copy_from_slice(stored);
    };
    let at = at + METADATA.len();
    let separator = if stored.get(at) == Some(&b'}') { "" } else { "," };
    let text = format!("\"resourceVersion\":\"{revision}\"{separator}");
    [&stored[..at], text.as_bytes(), &stored[at..]].concat().into()
}

#[cfg(test)]
mod tests {
    use super::{stored_bytes, with_resource_version};
    use serde_json::{Value, json};

    #[test]
    fn the_resource_version_is_added_to_the_objects_own_metadata() {
        let object = json!({"apiVersion": "v1", "data": {"x": "\"metadata\":{"}, "kind": "ConfigMap",
            "metadata": {"name": "a", "resourceVersion": "9"}});
        let stored = stored_bytes(&object);
        assert!(stored.starts_with(br#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name""#));
        let shown: Value = serde_json::from_slice(&with_resource_version(&stored, 12)).expect("JSON");
        assert_eq!(shown["metadata"], json!({"name": "a", "resourceVersion": "12"}));
        assert_eq!(shown["data"], object["data"]);
    }
}
