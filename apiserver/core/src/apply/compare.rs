//! What changed between two objects, as sets of paths.
//!
//! Follows `structured-merge-diff/v6/typed/compare.go`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::field_set::{FieldSet, PathElement};
use super::typed::{Atom, ListRule, Node};

/// The three kinds of change.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Comparison {
    pub removed: FieldSet,
    pub modified: FieldSet,
    pub added: FieldSet,
}

impl Comparison {
    /// Without what the endpoint never changes.
    pub(super) fn without(self, fields: &FieldSet) -> Self {
        Self {
            removed: self.removed.recursive_difference(fields),
            modified: self.modified.recursive_difference(fields),
            added: self.added.recursive_difference(fields),
        }
    }
}

pub(super) fn compare(old: &Value, new: &Value, node: Node<'_>) -> Comparison {
    let mut out = Comparison::default();
    visit(Some(old), Some(new), node, &mut Vec::new(), &mut out);
    out
}

fn visit(
    old: Option<&Value>,
    new: Option<&Value>,
    node: Node<'_>,
    path: &mut Vec<PathElement>,
    out: &mut Comparison,
) {
    let whole = match (old, new) {
        (None, None) => return,
        (Some(one), None) | (None, Some(one)) => node.atom(one),
        (Some(old), Some(new)) => match (node.atom(old), node.atom(new)) {
            (Atom::Map(_), Atom::Leaf) | (Atom::List(_), Atom::Leaf) => Atom::Leaf,
            (_, atom) => atom,
        },
    };
    let empty = |value: Option<&Value>| match value {
        None | Some(Value::Null) => true,
        Some(Value::Object(map)) => map.is_empty(),
        Some(Value::Array(list)) => list.is_empty(),
        Some(_) => false,
    };
    match whole {
        Atom::Map(node) if !(empty(old) && empty(new)) => visit_map(old, new, node, path, out),
        Atom::List(rule) if !(empty(old) && empty(new)) => visit_list(old, new, rule, path, out),
        _ => {
            match (old, new) {
                (None, _) => out.added.insert(path),
                (_, None) => out.removed.insert(path),
                (Some(old), Some(new)) if old != new => out.modified.insert(path),
                _ => {}
            }
            return;
        }
    }
    if old.is_none() {
        out.added.insert(path);
    } else if new.is_none() {
        out.removed.insert(path);
    }
}

fn visit_map(
    old: Option<&Value>,
    new: Option<&Value>,
    node: Node<'_>,
    path: &mut Vec<PathElement>,
    out: &mut Comparison,
) {
    let old = old.and_then(Value::as_object);
    let new = new.and_then(Value::as_object);
    let keys: BTreeSet<&String> = old.into_iter().chain(new).flat_map(|map| map.keys()).collect();
    for key in keys {
        path.push(PathElement::Field(key.clone()));
        let (old, new) = (old.and_then(|m| m.get(key)), new.and_then(|m| m.get(key)));
        visit(old, new, node.field(key), path, out);
        path.pop();
    }
}

fn visit_list(
    old: Option<&Value>,
    new: Option<&Value>,
    rule: ListRule<'_>,
    path: &mut Vec<PathElement>,
    out: &mut Comparison,
) {
    let (old, new) = (by_element(old, rule), by_element(new, rule));
    let elements: BTreeSet<&PathElement> = old.keys().chain(new.keys()).collect();
    for element in elements {
        let none = Vec::new();
        let (left, right) = (
            old.get(element).unwrap_or(&none),
            new.get(element).unwrap_or(&none),
        );
        path.push(element.clone());
        match (left.as_slice(), right.as_slice()) {
            ([], [new]) => visit(None, Some(new), rule.item, path, out),
            ([old], []) => visit(Some(old), None, rule.item, path, out),
            ([old], [new]) => visit(Some(old), Some(new), rule.item, path, out),
            // Repeated items are one thing: which of them is which cannot be told.
            ([_, _, ..], [_, _, ..]) if left != right => out.modified.insert(path),
            ([_, _, ..], [_, _, ..]) => {}
            ([_, _, ..], rest) => {
                if let Some(new) = rest.first() {
                    visit(None, Some(new), rule.item, path, out);
                }
                out.removed.insert(path);
            }
            (rest, _) => {
                if let Some(old) = rest.first() {
                    visit(Some(old), None, rule.item, path, out);
                }
                out.added.insert(path);
            }
        }
        path.pop();
    }
}

fn by_element<'v>(list: Option<&'v Value>, rule: ListRule<'_>) -> BTreeMap<PathElement, Vec<&'v Value>> {
    let mut out: BTreeMap<PathElement, Vec<&Value>> = BTreeMap::new();
    for item in list.and_then(Value::as_array).into_iter().flatten() {
        if let Ok(element) = rule.element(item) {
            out.entry(element).or_default().push(item);
        }
    }
    out
}
