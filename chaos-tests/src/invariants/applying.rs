//! Server-side apply: each manager changes its own fields, and loses none of another's.
//!
//! Source: `docs/reference/using-api/server-side-apply` of Kubernetes: an apply merges into what is there, and
//! every field is owned by who applied it.

use super::{CONFIG_MAPS, Change};
use crate::users::APPLIED;
use chaos_store::Violation;
use serde_json::{Map, Value};

pub(super) fn check(changes: &[Change]) -> Result<(), Violation> {
    for change in changes {
        if change.key != format!("{CONFIG_MAPS}default/{APPLIED}") {
            continue;
        }
        let Some(after) = &change.after else { continue };
        let nothing = Map::new();
        let before = change.before.as_ref().and_then(data).unwrap_or(&nothing);
        let present = data(after).unwrap_or(&nothing);
        let broken = |what: String| {
            Err(Violation::safety(
                "who applies changes its own fields only",
                format!("revision {}: {what}", change.revision),
            ))
        };
        if let Some(lost) = before.keys().find(|key| !present.contains_key(*key)) {
            return broken(format!("{lost} is gone"));
        }
        let changed: Vec<&String> = present
            .iter()
            .filter(|(key, value)| before.get(*key) != Some(value))
            .map(|(key, _)| key)
            .collect();
        if changed.len() > 1 {
            return broken(format!("{changed:?} changed at once"));
        }
        for key in present.keys() {
            let owners = owners(after, key);
            if owners != [key.as_str()] {
                return broken(format!("{key} is owned by {owners:?}"));
            }
        }
    }
    Ok(())
}

fn data(object: &Value) -> Option<&Map<String, Value>> {
    object.get("data").and_then(Value::as_object)
}

/// The managers that own a field of the data.
fn owners<'a>(object: &'a Value, key: &str) -> Vec<&'a str> {
    let managed = object
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array);
    let owns = |entry: &&Value| {
        entry
            .pointer("/fieldsV1/f:data")
            .and_then(Value::as_object)
            .is_some_and(|fields| fields.contains_key(&format!("f:{key}")))
    };
    managed
        .into_iter()
        .flatten()
        .filter(owns)
        .filter_map(|entry| entry["manager"].as_str())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{APPLIED, CONFIG_MAPS, Change, check};
    use serde_json::{Value, json};
    use std::time::Duration;

    fn object(fields: &[(&str, &str, &str)]) -> Value {
        let data: serde_json::Map<String, Value> = fields
            .iter()
            .map(|(key, value, _)| ((*key).to_owned(), json!(value)))
            .collect();
        let managed: Vec<Value> = fields
            .iter()
            .map(|(key, _, manager)| {
                json!({"manager": manager, "fieldsV1": {"f:data": {format!("f:{key}"): {}}}})
            })
            .collect();
        json!({"data": data, "metadata": {"managedFields": managed}})
    }

    fn judged(before: &[(&str, &str, &str)], after: &[(&str, &str, &str)]) -> bool {
        let change = Change {
            revision: 7,
            at: Duration::ZERO,
            key: format!("{CONFIG_MAPS}default/{APPLIED}"),
            before: Some(object(before)),
            after: Some(object(after)),
        };
        check(&[change]).is_ok()
    }

    #[test]
    fn one_field_changes_at_a_time_and_stays_its_owners() {
        let before = [("a", "1", "a"), ("b", "1", "b")];
        assert!(judged(&before, &[("a", "2", "a"), ("b", "1", "b")]));
        assert!(!judged(&before, &[("a", "2", "a"), ("b", "0", "b")]));
        assert!(!judged(&before, &[("a", "2", "a")]));
        assert!(!judged(&before, &[("a", "2", "a"), ("b", "1", "a")]));
    }
}
