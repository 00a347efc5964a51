//! The order of merged lists: items of the patch in the patch's order, items that only the server has in the
//! server's, woven together by the server's order where both are known.
//!
//! Follows `normalizeElementOrder` and `mergeSortedSlice` in
//! `apimachinery/pkg/util/strategicpatch/patch.go` (1.36).

use serde_json::Value;

/// The same item: by merge key for maps, by value for scalars.
pub(super) fn same_item(a: &Value, b: &Value, key: Option<&str>) -> bool {
    match key {
        Some(key) => match (a.get(key), b.get(key)) {
            (Some(a), Some(b)) => a == b,
            _ => false,
        },
        None => a == b,
    }
}

fn position(list: &[Value], item: &Value, key: Option<&str>) -> Option<usize> {
    list.iter().position(|other| same_item(other, item, key))
}

/// Orders `merged`: `patch_order` for the items in it, `server_order` for the others and between the two.
pub(super) fn order(
    merged: Vec<Value>,
    patch_order: &[Value],
    server_order: &[Value],
    key: Option<&str>,
) -> Vec<Value> {
    let (mut patched, mut server): (Vec<Value>, Vec<Value>) = merged
        .into_iter()
        .partition(|item| position(patch_order, item, key).is_some());
    patched.sort_by_key(|item| position(patch_order, item, key));
    server.sort_by_key(|item| position(server_order, item, key));
    let mut out = Vec::with_capacity(patched.len() + server.len());
    let (mut left, mut right) = (server.into_iter().peekable(), patched.into_iter().peekable());
    loop {
        let from_left = match (left.peek(), right.peek()) {
            (Some(l), Some(r)) => match (position(server_order, l, key), position(server_order, r, key)) {
                (Some(l), Some(r)) => l < r,
                _ => false,
            },
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (None, None) => return out,
        };
        out.extend(if from_left { left.next() } else { right.next() });
    }
}

/// Whether the items appear in `wanted`, in its order.
pub(super) fn in_order(items: &[&Value], wanted: &[Value], key: Option<&str>) -> bool {
    let mut rest = wanted.iter();
    items
        .iter()
        .all(|item| rest.any(|other| same_item(other, item, key)))
}
