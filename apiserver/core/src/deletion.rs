//! How objects go away: grace periods, finalizers, propagation to dependents, preconditions.
//!
//! One pure function says what a deletion request does to an object; the shell writes it, with the object's
//! revision as the guard. Follows `apiserver/pkg/registry/generic/registry/store.go` (`Delete`,
//! `deletionFinalizersForGarbageCollection`), `rest/delete.go` and `pod/strategy.go` (1.36).

use serde_json::{Value, json};

use crate::options::{DeleteOptions, PropagationPolicy};
use crate::resource::Resource;
use crate::status::ApiError;
use crate::strategy::{DefaultPropagation, DeleteStyle};
use crate::tree;

/// Holds an object until its dependents are let go.
pub const ORPHAN_FINALIZER: &str = "orphan";
/// Holds an object until its dependents are gone.
pub const FOREGROUND_FINALIZER: &str = "foregroundDeletion";

/// What a deletion does.
#[derive(Clone, Debug, PartialEq)]
pub enum DeletionOutcome {
    /// Remove the object; this is its last state, as watchers shall see it.
    Remove(Value),
    /// Write this state; the object goes away later.
    Update(Value),
    /// It is already going away just so: answer with the object as it is.
    AlreadyDeleting,
}

/// What deleting `object` means. `now` is RFC 3339 with whole seconds, `now_seconds` the same since the epoch.
///
/// # Errors
/// 409 when a precondition does not hold.
pub fn delete(
    object: &Value,
    resource: &Resource,
    options: &DeleteOptions,
    now: jiff::Timestamp,
) -> Result<DeletionOutcome, ApiError> {
    check_preconditions(object, resource, options)?;
    let style = resource.strategy.delete_style();
    let deleting = tree::at(object, &["metadata", "deletionTimestamp"]).is_some();
    let mut new = object.clone();

    if style == DeleteStyle::Namespace && deleting && !tree::list(object, &["spec", "finalizers"]).is_empty()
    {
        return Err(ApiError::conflict(
            &resource.group_resource(),
            tree::name(object),
            "The system is ensuring all content is removed from this namespace.  Upon completion, this namespace \
             will automatically be purged by the system.",
        ));
    }

    let finalizers_changed = set_propagation_finalizers(&mut new, resource, options);
    let grace = match style {
        DeleteStyle::Pod => pod_grace(object, options),
        DeleteStyle::Immediate | DeleteStyle::Namespace => 0,
    };
    if deleting {
        return Ok(delete_again(
            new,
            object,
            style,
            grace,
            options,
            finalizers_changed,
            now,
        ));
    }
    let held = !tree::list(&new, &["metadata", "finalizers"]).is_empty()
        || (style == DeleteStyle::Namespace && !tree::list(&new, &["spec", "finalizers"]).is_empty());
    let style_waits = style == DeleteStyle::Pod && grace > 0;
    if !held && !style_waits {
        mark(&mut new, now, grace);
        return Ok(DeletionOutcome::Remove(new));
    }
    mark(&mut new, now, grace);
    if style == DeleteStyle::Namespace {
        tree::set(&mut new, &["status", "phase"], "Terminating");
    }
    Ok(DeletionOutcome::Update(new))
}

fn delete_again(
    mut new: Value,
    object: &Value,
    style: DeleteStyle,
    grace: i64,
    options: &DeleteOptions,
    finalizers_changed: bool,
    now: jiff::Timestamp,
) -> DeletionOutcome {
    let held = !tree::list(&new, &["metadata", "finalizers"]).is_empty();
    let current = tree::int(object, &["metadata", "deletionGracePeriodSeconds"]).unwrap_or(0);
    // A grace period can only become shorter.
    let shortened = style == DeleteStyle::Pod
        && current > 0
        && (options.grace_period_seconds.is_some() || grace == 0)
        && grace < current;
    if shortened {
        if let Ok(started) = tree::text(object, &["metadata", "deletionTimestamp"]).parse::<jiff::Timestamp>()
        {
            let began = started.as_second() - current;
            let ends = (began + grace).max(now.as_second());
            if let Ok(ends) = jiff::Timestamp::from_second(ends) {
                tree::set(&mut new, &["metadata", "deletionTimestamp"], rfc3339(ends));
            }
        }
        tree::set(&mut new, &["metadata", "deletionGracePeriodSeconds"], grace);
    }
    let remaining = if shortened { grace } else { current };
    let waits = style == DeleteStyle::Pod && remaining > 0;
    if !held && !waits {
        return DeletionOutcome::Remove(new);
    }
    if shortened || finalizers_changed {
        DeletionOutcome::Update(new)
    } else {
        DeletionOutcome::AlreadyDeleting
    }
}

fn mark(object: &mut Value, now: jiff::Timestamp, grace: i64) {
    let ends = jiff::Timestamp::from_second(now.as_second() + grace).unwrap_or(now);
    tree::set(object, &["metadata", "deletionTimestamp"], rfc3339(ends));
    tree::set(object, &["metadata", "deletionGracePeriodSeconds"], grace);
    // Upstream counts a deletion as a change of what is wanted, where generations are counted.
    if let Some(generation) =
        tree::int(object, &["metadata", "generation"]).filter(|generation| *generation > 0)
    {
        tree::set(object, &["metadata", "generation"], generation + 1);
    }
}

/// The time as Kubernetes writes it: whole seconds, `Z`.
pub fn rfc3339(time: jiff::Timestamp) -> String {
    let whole = jiff::Timestamp::from_second(time.as_second()).unwrap_or(time);
    whole.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The grace period of a pod: what is asked, or what the pod says; none for pods that never ran or have ended.
fn pod_grace(pod: &Value, options: &DeleteOptions) -> i64 {
    let mut grace = options
        .grace_period_seconds
        .or_else(|| tree::int(pod, &["spec", "terminationGracePeriodSeconds"]))
        .unwrap_or(30);
    if grace < 0 {
        grace = 1;
    }
    let unscheduled = tree::text(pod, &["spec", "nodeName"]).is_empty();
    let ended = matches!(tree::text(pod, &["status", "phase"]), "Failed" | "Succeeded");
    if unscheduled || ended { 0 } else { grace }
}

fn set_propagation_finalizers(object: &mut Value, resource: &Resource, options: &DeleteOptions) -> bool {
    let has = |name: &str| {
        tree::list(object, &["metadata", "finalizers"])
            .iter()
            .any(|known| known == name)
    };
    let orphan = match (options.orphan_dependents, options.propagation_policy) {
        (Some(orphan), _) => orphan,
        (None, Some(policy)) => policy == PropagationPolicy::Orphan,
        (None, None) => {
            has(ORPHAN_FINALIZER)
                || (!has(FOREGROUND_FINALIZER)
                    && resource.strategy.default_propagation() == DefaultPropagation::Orphan)
        }
    };
    let foreground = match (options.orphan_dependents, options.propagation_policy) {
        (Some(_), _) => false,
        (None, Some(policy)) => policy == PropagationPolicy::Foreground,
        (None, None) => has(FOREGROUND_FINALIZER),
    };
    let before = tree::list(object, &["metadata", "finalizers"]).to_vec();
    let mut after: Vec<Value> = before
        .iter()
        .filter(|name| **name != ORPHAN_FINALIZER && **name != FOREGROUND_FINALIZER)
        .cloned()
        .collect();
    if orphan {
        after.push(json!(ORPHAN_FINALIZER));
    }
    if foreground {
        after.push(json!(FOREGROUND_FINALIZER));
    }
    let same = before.len() == after.len() && before.iter().all(|name| after.contains(name));
    if same {
        return false;
    }
    if after.is_empty() {
        tree::remove(object, &["metadata", "finalizers"]);
    } else {
        tree::set(object, &["metadata", "finalizers"], after);
    }
    true
}

fn check_preconditions(object: &Value, resource: &Resource, options: &DeleteOptions) -> Result<(), ApiError> {
    let conflict = |why: String| {
        Err(ApiError::conflict(
            &resource.group_resource(),
            tree::name(object),
            why,
        ))
    };
    if let Some(uid) = &options.precondition_uid
        && uid != tree::uid(object)
    {
        return conflict(format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            tree::uid(object)
        ));
    }
    if let Some(version) = &options.precondition_resource_version
        && version != tree::resource_version(object)
    {
        return conflict(format!(
            "Precondition failed: ResourceVersion in precondition: {version}, ResourceVersion in object meta: {}",
            tree::resource_version(object)
        ));
    }
    Ok(())
}

/// After an update: the object was being deleted and nothing holds it any more, so it is to be removed now.
pub fn is_released(object: &Value, resource: &Resource) -> bool {
    if tree::at(object, &["metadata", "deletionTimestamp"]).is_none()
        || !tree::list(object, &["metadata", "finalizers"]).is_empty()
    {
        return false;
    }
    match resource.strategy.delete_style() {
        DeleteStyle::Namespace => tree::list(object, &["spec", "finalizers"]).is_empty(),
        _ => tree::int(object, &["metadata", "deletionGracePeriodSeconds"]).unwrap_or(0) == 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::test_resource;

    fn now() -> jiff::Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    fn outcome(object: &Value, resource: &str, options: DeleteOptions) -> DeletionOutcome {
        delete(object, &test_resource(resource), &options, now()).unwrap()
    }

    #[test]
    fn a_plain_object_is_removed_at_once_and_a_finalizer_holds_it() {
        let object = json!({"metadata": {"name": "a"}});
        assert!(matches!(
            outcome(&object, "configmaps", DeleteOptions::default()),
            DeletionOutcome::Remove(_)
        ));
        let held = json!({"metadata": {"name": "a", "finalizers": ["x/y"], "generation": 2}});
        let DeletionOutcome::Update(new) = outcome(&held, "configmaps", DeleteOptions::default()) else {
            panic!()
        };
        assert_eq!(new["metadata"]["deletionTimestamp"], "2026-01-01T00:00:00Z");
        assert_eq!(new["metadata"]["deletionGracePeriodSeconds"], 0);
        assert_eq!(new["metadata"]["generation"], 3);
        assert_eq!(
            outcome(&new, "configmaps", DeleteOptions::default()),
            DeletionOutcome::AlreadyDeleting
        );
        let mut released = new;
        released["metadata"]["finalizers"] = json!([]);
        assert!(is_released(&released, &test_resource("configmaps")));
    }

    #[test]
    fn propagation_policies_become_finalizers() {
        let object = json!({"metadata": {"name": "a"}});
        for (policy, finalizer) in [
            (PropagationPolicy::Foreground, "foregroundDeletion"),
            (PropagationPolicy::Orphan, "orphan"),
        ] {
            let options = DeleteOptions {
                propagation_policy: Some(policy),
                ..DeleteOptions::default()
            };
            let DeletionOutcome::Update(new) = outcome(&object, "deployments", options) else {
                panic!()
            };
            assert_eq!(new["metadata"]["finalizers"], json!([finalizer]));
        }
        let background = DeleteOptions {
            propagation_policy: Some(PropagationPolicy::Background),
            ..DeleteOptions::default()
        };
        let orphaned = json!({"metadata": {"name": "a", "finalizers": ["orphan"]}});
        assert!(matches!(
            outcome(&orphaned, "deployments", background),
            DeletionOutcome::Remove(_)
        ));
    }

    #[test]
    fn a_running_pod_gets_its_grace_period_and_it_only_shrinks() {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n", "terminationGracePeriodSeconds": 20}});
        let DeletionOutcome::Update(going) = outcome(&pod, "pods", DeleteOptions::default()) else {
            panic!()
        };
        assert_eq!(going["metadata"]["deletionTimestamp"], "2026-01-01T00:00:20Z");
        assert_eq!(going["metadata"]["deletionGracePeriodSeconds"], 20);
        assert!(!is_released(&going, &test_resource("pods")));
        let grace = |seconds| DeleteOptions {
            grace_period_seconds: Some(seconds),
            ..DeleteOptions::default()
        };
        assert_eq!(
            outcome(&going, "pods", DeleteOptions::default()),
            DeletionOutcome::AlreadyDeleting
        );
        assert_eq!(
            outcome(&going, "pods", grace(60)),
            DeletionOutcome::AlreadyDeleting
        );
        let DeletionOutcome::Update(sooner) = outcome(&going, "pods", grace(5)) else {
            panic!()
        };
        assert_eq!(sooner["metadata"]["deletionTimestamp"], "2026-01-01T00:00:05Z");
        assert!(matches!(
            outcome(&going, "pods", grace(0)),
            DeletionOutcome::Remove(_)
        ));
        assert!(matches!(
            outcome(&pod, "pods", grace(0)),
            DeletionOutcome::Remove(_)
        ));
        let unscheduled = json!({"metadata": {"name": "p"}, "spec": {}});
        assert!(matches!(
            outcome(&unscheduled, "pods", DeleteOptions::default()),
            DeletionOutcome::Remove(_)
        ));
    }

    #[test]
    fn a_namespace_waits_for_its_content() {
        let namespace = json!({"metadata": {"name": "a"}, "spec": {"finalizers": ["kubernetes"]}});
        let DeletionOutcome::Update(new) = outcome(&namespace, "namespaces", DeleteOptions::default()) else {
            panic!()
        };
        assert_eq!(new["status"]["phase"], "Terminating");
        let again = delete(
            &new,
            &test_resource("namespaces"),
            &DeleteOptions::default(),
            now(),
        )
        .unwrap_err();
        assert_eq!(again.code, 409);
        let mut done = new;
        done["spec"]["finalizers"] = json!([]);
        assert!(is_released(&done, &test_resource("namespaces")));
    }

    #[test]
    fn preconditions_guard_a_deletion() {
        let object = json!({"metadata": {"name": "a", "uid": "1"}});
        let options = DeleteOptions {
            precondition_uid: Some("2".to_owned()),
            ..DeleteOptions::default()
        };
        let error = delete(&object, &test_resource("pods"), &options, now()).unwrap_err();
        assert_eq!(
            error.message,
            "Operation cannot be fulfilled on pods \"a\": Precondition failed: UID in precondition: 2, UID in \
             object meta: 1"
        );
    }
}
