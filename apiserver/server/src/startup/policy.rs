//! The default roles and bindings: created, and completed when somebody took something away.
//!
//! What was added stays, what is missing comes back, and an object annotated
//! `rbac.authorization.kubernetes.io/autoupdate: "false"` is left alone. Follows
//! pkg/registry/rbac/reconciliation (Kubernetes 1.36).

use super::built_in;
use super::ensure::create_all;
use crate::cache::Filter;
use crate::state::{State, read_error};
use crate::verbs::{Next, Ownership, Writer, change_object};
use apiserver_core::authorization::{EscalationCheck, rules_of};
use apiserver_core::{ApiError, tree};
use serde_json::Value;
use std::collections::BTreeMap;

const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

pub(super) async fn reconcile(state: &State, resource: &str, wanted: Vec<Value>) -> Result<(), ApiError> {
    let resource = built_in(state, "rbac.authorization.k8s.io", resource)?;
    let cache = state.cache_of(&resource);
    state
        .caches
        .fresh(&cache)
        .await
        .map_err(|error| read_error(&error))?;
    let (entries, _) = cache.list(&Filter::default());
    let present: BTreeMap<(&str, &str), _> = entries
        .iter()
        .map(|entry| ((entry.namespace.as_str(), entry.name.as_str()), entry))
        .collect();
    let mut missing = Vec::new();
    for object in wanted {
        let Some(entry) = present.get(&(tree::namespace(&object), tree::name(&object))) else {
            missing.push(object);
            continue;
        };
        if completed(&entry.value(), &object).is_none() {
            continue;
        }
        let (namespace, name) = (
            tree::namespace(&object).to_owned(),
            tree::name(&object).to_owned(),
        );
        let mut change = |current: Option<&Value>| {
            let current = current.ok_or_else(|| ApiError::not_found(&resource.group_resource(), &name))?;
            let next = completed(current, &object).unwrap_or_else(|| current.clone());
            Ok(Next {
                object: next,
                ownership: Ownership::Update,
            })
        };
        let mut writer = Writer::loopback(state.now());
        change_object(state, &resource, &mut writer, &namespace, &name, &mut change).await?;
    }
    create_all(state, &resource, missing).await
}

/// The present object with what it lacks of the wanted one; `None` when it lacks nothing.
fn completed(present: &Value, wanted: &Value) -> Option<Value> {
    if tree::annotation(present, AUTOUPDATE) == Some("false") {
        return None;
    }
    let mut new = present.clone();
    for field in ["labels", "annotations"] {
        for (key, value) in tree::strings(wanted, &["metadata", field]) {
            if tree::text(present, &["metadata", field, key]) != value {
                tree::set(&mut new, &["metadata", field, key], value);
            }
        }
    }
    let held = rules_of(present);
    let check = EscalationCheck::new(&held);
    let lacking: Vec<Value> = tree::list(wanted, &["rules"])
        .iter()
        .zip(rules_of(wanted))
        .filter(|(_, rule)| !check.missing(std::slice::from_ref(rule)).is_empty())
        .map(|(shown, _)| shown.clone())
        .collect();
    if !lacking.is_empty() {
        tree::set(
            &mut new,
            &["rules"],
            [tree::list(present, &["rules"]), &lacking].concat(),
        );
    }
    let subjects = tree::list(present, &["subjects"]);
    let absent: Vec<Value> = tree::list(wanted, &["subjects"])
        .iter()
        .filter(|subject| !subjects.contains(subject))
        .cloned()
        .collect();
    if !absent.is_empty() {
        tree::set(&mut new, &["subjects"], [subjects, &absent].concat());
    }
    (new != *present).then_some(new)
}

#[cfg(test)]
mod tests {
    use super::completed;
    use serde_json::json;

    #[test]
    fn what_was_taken_away_comes_back_and_what_was_added_stays() {
        let rule = |verb: &str| json!({"verbs": [verb], "apiGroups": [""], "resources": ["pods"]});
        let wanted = json!({"metadata": {"name": "r"}, "rules": [rule("get"), rule("list")]});
        let present = json!({"metadata": {"name": "r"}, "rules": [rule("get"), rule("watch")]});
        let new = completed(&present, &wanted).expect("a change");
        assert_eq!(new["rules"], json!([rule("get"), rule("watch"), rule("list")]));
        assert_eq!(completed(&new, &wanted), None);
        let mut alone = present;
        alone["metadata"]["annotations"] = json!({"rbac.authorization.kubernetes.io/autoupdate": "false"});
        assert_eq!(completed(&alone, &wanted), None);
    }
}
