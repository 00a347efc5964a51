//! The objects that an API server creates when it starts, without server-set metadata.

use serde_json::{Map, Value};
use std::collections::BTreeMap;

static STARTUP: &str = include_str!("../data/startup.json");

/// By plural resource name (`clusterroles`, `flowschemas`, `namespaces`, …). Parsed at each call: it is
/// needed once, and keeping it would cost memory for the whole run.
///
/// Objects that depend on the cluster (`services`, `endpoints`, `endpointslices`, `servicecidrs`,
/// `ipaddresses`) carry example addresses: use them as shapes.
pub fn startup_objects() -> BTreeMap<String, Vec<Value>> {
    let table: Map<String, Value> = serde_json::from_str(STARTUP).unwrap_or_default();
    table
        .into_iter()
        .map(|(resource, objects)| match objects {
            Value::Array(objects) => (resource, objects),
            other => (resource, vec![other]),
        })
        .collect()
}

/// The start-up objects of one resource, each completed with `apiVersion` and `kind`.
pub fn startup_objects_of(resource: &str, api_version: &str, kind: &str) -> Vec<Value> {
    let mut objects = startup_objects().remove(resource).unwrap_or_default();
    for object in objects.iter_mut().filter_map(Value::as_object_mut) {
        object.insert("apiVersion".into(), api_version.into());
        object.insert("kind".into(), kind.into());
    }
    objects
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bootstrap_policy_is_there() {
        let all = startup_objects();
        assert_eq!(all["clusterroles"].len(), 70);
        assert_eq!(all["flowschemas"].len(), 11);
        let classes = startup_objects_of("priorityclasses", "scheduling.k8s.io/v1", "PriorityClass");
        assert_eq!(classes[1]["value"], 2_000_001_000_i64);
        assert_eq!(classes[1]["kind"], "PriorityClass");
    }
}
