//! Evicting a pod, as far as disruption budgets allow.
//!
//! Follows pkg/registry/core/pod/storage/eviction.go (Kubernetes 1.36).

use crate::admission::{self, Operation};
use crate::cache::Filter;
use crate::front::{Call, decode_body, value_response};
use crate::http::Response;
use crate::state::{State, read_error};
use crate::verbs::{Next, Ownership, Writer, change_object, convert, delete_object, fetch};
use apiserver_core::label_selector::LabelSelector;
use apiserver_core::options::{DeleteOptions, WriteKind, WriteOptions};
use apiserver_core::{ApiError, GroupVersionKind, Resource, status, tree};
use serde_json::{Value, json};

/// Pods in `disruptedPods`: more means that the controller doesn't keep up (upstream: MaxDisruptedPodSize).
const MAX_DISRUPTED: usize = 2000;

pub(super) async fn create(state: &State, pods: &Resource, call: &mut Call) -> Result<Response, ApiError> {
    let options = WriteOptions::from_query(call.query(), WriteKind::Create)?;
    let kind = GroupVersionKind::new("policy", "v1", "Eviction");
    let mut eviction = decode_body(&call.content_type(), &call.body, &kind, options.field_validation)?.value;
    let (namespace, name) = (call.info.namespace.clone(), call.info.name.clone());
    let given = tree::name(&eviction);
    if !given.is_empty() && given != name {
        return Err(ApiError::bad_request(
            "name in URL does not match name in Eviction object",
        ));
    }
    let mut delete_options = DeleteOptions::read("", tree::at(&eviction, &["deleteOptions"]))?;
    delete_options.dry_run |= options.dry_run;
    let mut writer = Writer::of(call, &options);
    writer.dry_run = delete_options.dry_run;
    let pod = fetch(state, pods, &namespace, &name).await?;
    tree::set(&mut eviction, &["metadata", "name"], name.as_str());
    tree::set(&mut eviction, &["metadata", "namespace"], namespace.as_str());
    // A node evicts its own pods only.
    admission::validate(state, pods, &mut writer, Operation::Create, Some(&eviction), None).await?;
    if !ignores_budget(&pod) {
        spend_budget(state, &pod, &mut writer).await?;
    }
    // The pod that was looked at, and none that took its name since.
    delete_options
        .precondition_uid
        .get_or_insert_with(|| tree::uid(&pod).to_owned());
    writer.subresource.clear();
    delete_object(state, pods, &mut writer, &namespace, &name, &delete_options).await?;
    Ok(value_response(201, &status::success(201), call.accepted))
}

/// Pods that serve nobody: ended, never started, or going away already.
fn ignores_budget(pod: &Value) -> bool {
    matches!(
        tree::text(pod, &["status", "phase"]),
        "Succeeded" | "Failed" | "Pending"
    ) || tree::at(pod, &["metadata", "deletionTimestamp"]).is_some()
}

fn is_ready(pod: &Value) -> bool {
    tree::list(pod, &["status", "conditions"])
        .iter()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

async fn spend_budget(state: &State, pod: &Value, writer: &mut Writer) -> Result<(), ApiError> {
    let registry = state.registry();
    let Some(budgets) = registry.lookup("policy", "v1", "poddisruptionbudgets") else {
        return Ok(());
    };
    let cache = state.cache_of(budgets);
    state
        .caches
        .fresh(&cache)
        .await
        .map_err(|error| read_error(&error))?;
    let filter = Filter {
        namespace: Some(tree::namespace(pod).to_owned()),
        ..Filter::default()
    };
    let (entries, _) = cache.list(&filter);
    let mut matching = entries
        .iter()
        .map(|entry| convert(entry.value(), budgets))
        .filter(|budget| LabelSelector::from_object(tree::at(budget, &["spec", "selector"])).matches(pod));
    let Some(budget) = matching.next() else {
        return Ok(());
    };
    if matching.next().is_some() {
        return Err(ApiError::internal(
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
        ));
    }
    let (namespace, name) = (
        tree::namespace(&budget).to_owned(),
        tree::name(&budget).to_owned(),
    );
    let (pod_name, now) = (tree::name(pod).to_owned(), writer.now_text());
    let ready = is_ready(pod);
    let mut change = |current: Option<&Value>| {
        let Some(budget) = current else {
            return Err(ApiError::not_found(&budgets.group_resource(), &name));
        };
        Ok(Next {
            object: spent(budget, &pod_name, ready, &now)?,
            ownership: Ownership::Done,
        })
    };
    let mut status_writer = writer.clone_without_warnings();
    status_writer.subresource = "status".to_owned();
    match change_object(state, budgets, &mut status_writer, &namespace, &name, &mut change).await {
        // The budget went away meanwhile: nothing protects the pod any more.
        Err(error) if error.code == 404 => Ok(()),
        done => done.map(|_| ()),
    }
}

/// The budget after one more disruption.
fn spent(budget: &Value, pod: &str, ready: bool, now: &str) -> Result<Value, ApiError> {
    let name = tree::name(budget);
    let number = |field: &str| tree::int(budget, &["status", field]).unwrap_or(0);
    let (current, desired) = (number("currentHealthy"), number("desiredHealthy"));
    if !ready {
        // A pod that isn't ready takes nothing from the healthy ones.
        let always = tree::text(budget, &["spec", "unhealthyPodEvictionPolicy"]) == "AlwaysAllow";
        if always || (current >= desired && desired > 0) {
            return Ok(budget.clone());
        }
    }
    if number("observedGeneration") < tree::int(budget, &["metadata", "generation"]).unwrap_or(0) {
        return Err(ApiError::disruption_budget(format!(
            "Cannot evict pod as it would violate the pod's disruption budget. The disruption budget {name} is \
             still being processed by the server."
        ))
        .with_retry_after(10));
    }
    let allowed = number("disruptionsAllowed");
    if allowed < 0 {
        return Err(ApiError::internal("pdb disruptions allowed is negative"));
    }
    if tree::map(budget, &["status", "disruptedPods"]).is_some_and(|pods| pods.len() > MAX_DISRUPTED) {
        return Err(ApiError::internal(
            "DisruptedPods map too big - too many evictions not confirmed by PDB controller",
        ));
    }
    if allowed == 0 {
        return Err(ApiError::disruption_budget(format!(
            "Cannot evict pod as it would violate the pod's disruption budget. The disruption budget {name} needs \
             {desired} healthy pods and has {current} currently"
        )));
    }
    let mut new = budget.clone();
    tree::set(&mut new, &["status", "disruptionsAllowed"], json!(allowed - 1));
    tree::set(&mut new, &["status", "disruptedPods", pod], now);
    Ok(new)
}

#[cfg(test)]
mod tests {
    use super::spent;
    use serde_json::json;

    #[test]
    fn a_budget_is_spent_once_a_disruption_and_refuses_beyond() {
        let budget = json!({"metadata": {"name": "b", "generation": 1}, "status": {"observedGeneration": 1,
            "disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1}});
        let once = spent(&budget, "p", true, "2026-01-01T00:00:00Z").expect("allowed");
        assert_eq!(once["status"]["disruptionsAllowed"], 0);
        assert_eq!(once["status"]["disruptedPods"]["p"], "2026-01-01T00:00:00Z");
        let error = spent(&once, "q", true, "2026-01-01T00:00:00Z").expect_err("refused");
        assert_eq!(error.code, 429);
        assert!(spent(&once, "q", false, "2026-01-01T00:00:00Z").is_ok());
    }
}
