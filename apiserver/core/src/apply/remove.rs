//! Removes the paths of a set from an object.
//!
//! Follows `structured-merge-diff/v6/typed/remove.go`; a list or map that loses everything goes too.

use serde_json::Value;

use super::field_set::{FieldSet, PathElement};
use super::typed::{Atom, Node};

/// `None` when nothing is left.
pub(super) fn remove(value: &Value, doomed: &FieldSet, node: Node<'_>) -> Option<Value> {
    match (node.atom(value), value) {
        (Atom::Map(node), Value::Object(map)) => {
            let mut left = serde_json::Map::new();
            for (key, below) in map {
                let element = PathElement::Field(key.clone());
                if doomed.has_member(&element) {
                    continue;
                }
                let kept = match doomed.below(&element) {
                    Some(set) => remove(below, set, node.field(key)),
                    None => Some(below.clone()),
                };
                if let Some(kept) = kept {
                    left.insert(key.clone(), kept);
                }
            }
            (!left.is_empty()).then_some(Value::Object(left))
        }
        (Atom::List(rule), Value::Array(list)) => {
            let mut left = Vec::new();
            for item in list {
                let Ok(element) = rule.element(item) else {
                    left.push(item.clone());
                    continue;
                };
                if doomed.has_member(&element) {
                    continue;
                }
                match doomed.below(&element) {
                    Some(set) => left.extend(remove(item, set, rule.item)),
                    None => left.push(item.clone()),
                }
            }
            (!left.is_empty()).then_some(Value::Array(left))
        }
        (Atom::Leaf, Value::Object(_) | Value::Array(_)) => None,
        (_, value) => Some(value.clone()),
    }
}
