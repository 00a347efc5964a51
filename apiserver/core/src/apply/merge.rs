//! Merges a configuration into an object.
//!
//! Maps are merged by key, associative lists by item; the configuration wins elsewhere. The order of a list is
//! the configuration's, with the items that only the object has staying beside their neighbours.
//!
//! Follows `structured-merge-diff/v6/typed/merge.go`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::field_set::PathElement;
use super::typed::{Atom, ListRule, Node};

pub(super) fn merge(old: Option<&Value>, new: Option<&Value>, node: Node<'_>) -> Option<Value> {
    let (old_value, new_value) = match (old, new) {
        (Some(old), Some(new)) => (old, new),
        (Some(one), None) | (None, Some(one)) => return Some(one.clone()),
        (None, None) => return None,
    };
    match (node.atom(old_value), node.atom(new_value)) {
        (Atom::Map(_), Atom::Map(node)) => {
            let empty = Map::new();
            let old_map = old_value.as_object().unwrap_or(&empty);
            let new_map = new_value.as_object().unwrap_or(&empty);
            if old_map.is_empty() && new_map.is_empty() {
                return Some(new_value.clone());
            }
            let keys: BTreeSet<&String> = old_map.keys().chain(new_map.keys()).collect();
            let merged = keys.into_iter().filter_map(|key| {
                let value = merge(old_map.get(key), new_map.get(key), node.field(key))?;
                Some((key.clone(), value))
            });
            Some(Value::Object(merged.collect()))
        }
        (Atom::List(_), Atom::List(rule)) => {
            let old_list = old_value.as_array().map(Vec::as_slice).unwrap_or_default();
            let new_list = new_value.as_array().map(Vec::as_slice).unwrap_or_default();
            if old_list.is_empty() && new_list.is_empty() {
                return Some(new_value.clone());
            }
            Some(Value::Array(merge_lists(old_list, new_list, rule)))
        }
        _ => Some(new_value.clone()),
    }
}

/// Items with their elements; items that have none are left out.
fn indexed<'v>(list: &'v [Value], rule: ListRule<'_>) -> Vec<(PathElement, &'v Value)> {
    list.iter()
        .filter_map(|item| Some((rule.element(item).ok()?, item)))
        .collect()
}

fn merge_lists(old: &[Value], new: &[Value], rule: ListRule<'_>) -> Vec<Value> {
    let (left, right) = (indexed(old, rule), indexed(new, rule));
    let mut in_old: BTreeMap<&PathElement, Option<&Value>> = BTreeMap::new();
    for (element, item) in &left {
        // A repeated item has no single counterpart: the configuration's replaces them all.
        in_old
            .entry(element)
            .and_modify(|slot| *slot = None)
            .or_insert(Some(item));
    }
    let in_new: BTreeSet<&PathElement> = right.iter().map(|(element, _)| element).collect();
    let mut shared = right
        .iter()
        .map(|(element, _)| element)
        .filter(|e| in_old.contains_key(e));
    let mut next_shared = shared.next();
    let mut done: BTreeSet<&PathElement> = BTreeSet::new();
    let mut out = Vec::with_capacity(left.len().max(right.len()));
    let take_right = |out: &mut Vec<Value>, element: &PathElement, item: &Value| {
        let counterpart = in_old.get(element).copied().flatten();
        out.extend(merge(counterpart, Some(item), rule.item));
    };
    let (mut l, mut r) = (0, 0);
    while l < left.len() || r < right.len() {
        if let (Some((old_element, _)), Some((new_element, new_item))) = (left.get(l), right.get(r)) {
            if old_element == new_element {
                done.insert(new_element);
                take_right(&mut out, new_element, new_item);
                l += 1;
                r += 1;
                next_shared = shared.next();
                continue;
            }
            if in_new.contains(old_element) && next_shared.is_some_and(|next| next != old_element) {
                // It comes later, in the configuration's order.
                l += 1;
                continue;
            }
        }
        if let Some((element, item)) = left.get(l) {
            if !in_new.contains(element) {
                out.push((*item).clone());
                l += 1;
                continue;
            }
            if done.contains(element) {
                l += 1;
            }
        }
        if let Some((element, item)) = right.get(r) {
            done.insert(element);
            take_right(&mut out, element, item);
            r += 1;
            if next_shared == Some(element) {
                next_shared = shared.next();
            }
        }
    }
    out
}
