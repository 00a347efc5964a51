//! ResourceQuota: what a write uses is added to the quotas of its namespace, or the write is refused.
//!
//! The last check before a write, so that refused writes use nothing. A write that fails afterwards leaves its share
//! counted until the quota controller counts again, as upstream. Follows
//! apiserver/pkg/admission/plugin/resourcequota/controller.go (Kubernetes 1.36).

use crate::cache::Filter;
use crate::state::State;
use crate::verbs::{Next, Ownership, Writer, change_object};
use apiserver_core::admission::{QuotaUsage, quota_usage};
use apiserver_core::{ApiError, Resource, tree};
use quantity::Quantity;
use serde_json::{Value, json};

/// Charges the quotas of the object's namespace with what `new` uses beyond `old`.
///
/// # Errors
/// 403 when a quota doesn't allow it or needs amounts that the object doesn't tell.
pub(crate) async fn charge(
    state: &State,
    resource: &Resource,
    writer: &Writer,
    new: &Value,
    old: Option<&Value>,
) -> Result<(), ApiError> {
    let namespace = tree::namespace(new);
    if namespace.is_empty() || !matches!(writer.subresource.as_str(), "" | "resize") {
        return Ok(());
    }
    let cache = state.filled("", "v1", "resourcequotas").await?;
    let filter = Filter {
        namespace: Some(namespace.to_owned()),
        ..Filter::default()
    };
    let (entries, _) = cache.list(&filter);
    if entries.is_empty() {
        return Ok(());
    }
    let before = old.map(|old| quota_usage(resource, old)).unwrap_or_default();
    let delta: QuotaUsage = quota_usage(resource, new)
        .into_iter()
        .map(|(name, amount)| {
            let so_far = before
                .get(&name)
                .cloned()
                .unwrap_or_else(|| Quantity::from_int(0));
            (name, amount - so_far)
        })
        .filter(|(_, amount)| !amount.is_zero() && !amount.is_negative())
        .collect();
    if delta.is_empty() {
        return Ok(());
    }
    let registry = state.registry();
    let Some(quotas) = registry.lookup("", "v1", "resourcequotas") else {
        return Ok(());
    };
    for entry in &entries {
        let quota = entry.shared();
        if !in_scope(&quota, resource, new) || relevant(&quota, &delta).next().is_none() {
            continue;
        }
        let mut change = |current: Option<&Value>| {
            let current =
                current.ok_or_else(|| ApiError::not_found(&quotas.group_resource(), &entry.name))?;
            let object = charged(current, resource, new, &delta)?;
            Ok(Next {
                object,
                ownership: Ownership::Done,
            })
        };
        let mut own = Writer::loopback(writer.now);
        own.subresource = "status".to_owned();
        own.dry_run = writer.dry_run;
        match Box::pin(change_object(
            state,
            quotas,
            &mut own,
            namespace,
            &entry.name,
            &mut change,
        ))
        .await
        {
            // The quota went away meanwhile.
            Err(error) if error.code == 404 => {}
            done => {
                done?;
            }
        }
    }
    Ok(())
}

/// The parts of `delta` that the quota limits.
fn relevant<'a>(quota: &'a Value, delta: &'a QuotaUsage) -> impl Iterator<Item = (&'a String, &'a Quantity)> {
    delta
        .iter()
        .filter(|(name, _)| tree::at(quota, &["status", "hard", name.as_str()]).is_some())
}

fn amount(quota: &Value, field: &str, name: &str) -> Quantity {
    tree::at(quota, &["status", field, name])
        .and_then(|value| Quantity::from_value(value).ok())
        .unwrap_or_else(|| Quantity::from_int(0))
}

/// The quota with `delta` added to what is used.
fn charged(
    quota: &Value,
    resource: &Resource,
    object: &Value,
    delta: &QuotaUsage,
) -> Result<Value, ApiError> {
    let refused = |why: String| {
        let name = match tree::name(object) {
            "" => tree::text(object, &["metadata", "generateName"]),
            name => name,
        };
        Err(ApiError::forbidden(&resource.group_resource(), name, why))
    };
    let missing = untold(quota, resource, object);
    if !missing.is_empty() {
        return refused(format!(
            "failed quota: {}: must specify {}",
            tree::name(quota),
            missing.join("; ")
        ));
    }
    let mut new = quota.clone();
    let (mut requested, mut used, mut limited) = (Vec::new(), Vec::new(), Vec::new());
    for (name, more) in relevant(quota, delta) {
        let (hard, so_far) = (amount(quota, "hard", name), amount(quota, "used", name));
        let sum = so_far + *more;
        if sum > hard {
            requested.push(format!("{name}={more}"));
            used.push(format!("{name}={so_far}"));
            limited.push(format!("{name}={hard}"));
        }
        tree::set(
            &mut new,
            &["status", "used", name.as_str()],
            json!(sum.to_string()),
        );
    }
    if requested.is_empty() {
        return Ok(new);
    }
    refused(format!(
        "exceeded quota: {}, requested: {}, used: {}, limited: {}",
        tree::name(quota),
        requested.join(","),
        used.join(","),
        limited.join(",")
    ))
}

/// Amounts that the quota limits and a container of the pod doesn't tell.
fn untold(quota: &Value, resource: &Resource, pod: &Value) -> Vec<String> {
    if !resource.gvr.group.is_empty() || resource.gvr.resource != "pods" {
        return Vec::new();
    }
    let limited = [
        "cpu",
        "memory",
        "limits.cpu",
        "limits.memory",
        "requests.cpu",
        "requests.memory",
    ];
    limited
        .into_iter()
        .filter(|name| tree::at(quota, &["status", "hard", name]).is_some())
        .filter_map(|name| {
            let (kind, amount) = name.split_once('.').unwrap_or(("requests", name));
            let silent: Vec<&str> = ["containers", "initContainers"]
                .into_iter()
                .flat_map(|field| tree::list(pod, &["spec", field]))
                .filter(|container| tree::at(container, &["resources", kind, amount]).is_none())
                .map(|container| tree::text(container, &["name"]))
                .collect();
            (!silent.is_empty()).then(|| format!("{name} for: {}", silent.join(",")))
        })
        .collect()
}

/// Whether the quota counts this object.
fn in_scope(quota: &Value, resource: &Resource, object: &Value) -> bool {
    let scopes = tree::list(quota, &["spec", "scopes"])
        .iter()
        .filter_map(Value::as_str);
    let is_pod = resource.gvr.group.is_empty() && resource.gvr.resource == "pods";
    let holds = |scope: &str| {
        let terminating = tree::at(object, &["spec", "activeDeadlineSeconds"]).is_some();
        let best_effort = tree::text(object, &["status", "qosClass"]) == "BestEffort";
        is_pod
            && match scope {
                "Terminating" => terminating,
                "NotTerminating" => !terminating,
                "BestEffort" => best_effort,
                "NotBestEffort" => !best_effort,
                "PriorityClass" => !tree::text(object, &["spec", "priorityClassName"]).is_empty(),
                _ => false,
            }
    };
    scopes.into_iter().all(holds)
        && tree::list(quota, &["spec", "scopeSelector", "matchExpressions"])
            .iter()
            .all(|expression| {
                let scope = tree::text(expression, &["scopeName"]);
                let class = tree::text(object, &["spec", "priorityClassName"]);
                let named = tree::list(expression, &["values"])
                    .iter()
                    .any(|value| value == class);
                match (scope, tree::text(expression, &["operator"])) {
                    ("PriorityClass", "In") => is_pod && named,
                    ("PriorityClass", "NotIn") => is_pod && !named,
                    ("PriorityClass", "DoesNotExist") => is_pod && class.is_empty(),
                    (scope, "Exists") => holds(scope),
                    _ => false,
                }
            })
}

#[cfg(test)]
mod tests {
    use super::{charged, in_scope};
    use apiserver_core::Registry;
    use apiserver_core::admission::quota_usage;
    use serde_json::json;

    #[test]
    fn a_quota_counts_what_is_used_and_refuses_the_rest() {
        let registry = Registry::built_in();
        let pods = registry.lookup("", "v1", "pods").expect("pods");
        let quota = json!({"metadata": {"name": "q"}, "spec": {"scopes": ["NotTerminating"]},
            "status": {"hard": {"pods": "1", "requests.cpu": "1"}, "used": {"pods": "0", "requests.cpu": "0"}}});
        let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [
            {"name": "c", "resources": {"requests": {"cpu": "600m"}}}]}});
        assert!(in_scope(&quota, pods, &pod));
        let once = charged(&quota, pods, &pod, &quota_usage(pods, &pod)).expect("allowed");
        assert_eq!(
            once["status"]["used"],
            json!({"pods": "1", "requests.cpu": "600m"})
        );
        let error = charged(&once, pods, &pod, &quota_usage(pods, &pod)).expect_err("refused");
        assert_eq!(
            error.message,
            "pods \"p\" is forbidden: exceeded quota: q, requested: pods=1,requests.cpu=600m, used: \
             pods=1,requests.cpu=600m, limited: pods=1,requests.cpu=1"
        );
        let silent = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}]}});
        let error = charged(&quota, pods, &silent, &quota_usage(pods, &silent)).expect_err("refused");
        assert!(
            error
                .message
                .ends_with("failed quota: q: must specify requests.cpu for: c"),
            "{error}"
        );
    }
}
