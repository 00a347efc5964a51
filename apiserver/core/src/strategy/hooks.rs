//! The hooks of single resources: what creation and updates set, keep and clear.

use quantity::Quantity;
use serde_json::{Value, json};

use crate::tree;

/// Changes a new object.
pub(super) type Prepare = fn(&mut Value);
/// Changes an update by the old object.
pub(super) type PrepareUpdate = fn(&mut Value, &Value);

/// The hooks of a resource.
pub(super) fn of(group: &str, plural: &str) -> (Prepare, PrepareUpdate) {
    match (group, plural) {
        ("", "pods") => (create_pod, keep),
        ("", "namespaces") => (create_namespace, update_namespace),
        ("", "persistentvolumes" | "persistentvolumeclaims") => (|object| set_phase(object, "Pending"), keep),
        ("", "services") => (create_service, super::service::prepare_update),
        ("batch", "jobs") => (create_job, keep),
        ("certificates.k8s.io", "certificatesigningrequests") => (create_csr, update_csr),
        _ => (nothing, keep),
    }
}

fn nothing(_object: &mut Value) {}

fn keep(_new: &mut Value, _old: &Value) {}

fn set_phase(object: &mut Value, phase: &str) {
    tree::set(object, &["status"], json!({"phase": phase}));
}

/// `pod/strategy.go`: pending, with its quality of service; label keys of a spread constraint become part of its
/// selector (`applyMatchLabelKeysAndMismatchLabelKeys`).
fn create_pod(pod: &mut Value) {
    let class = qos_class(pod);
    tree::set(pod, &["status"], json!({"phase": "Pending", "qosClass": class}));
    let labels = tree::at(pod, &["metadata", "labels"]).cloned();
    for constraint in tree::list_mut(pod, &["spec", "topologySpreadConstraints"]) {
        let keys: Vec<String> = tree::list(constraint, &["matchLabelKeys"])
            .iter()
            .filter_map(|key| key.as_str().map(str::to_owned))
            .collect();
        for key in keys {
            let Some(value) = labels.as_ref().and_then(|labels| labels.get(&key)).cloned() else {
                continue;
            };
            let selector = tree::ensure_map(constraint, &["labelSelector"]);
            let expressions = selector.entry("matchExpressions").or_insert_with(|| json!([]));
            if let Some(expressions) = expressions.as_array_mut()
                && !expressions
                    .iter()
                    .any(|expression| expression["key"] == key.as_str())
            {
                expressions.push(json!({"key": key, "operator": "In", "values": [value]}));
            }
        }
    }
}

/// The quality of service of a pod (`ComputePodQOS`): by cpu and memory of its containers, or of the pod.
pub(crate) fn qos_class(pod: &Value) -> &'static str {
    let (mut any, mut guaranteed) = (false, true);
    let mut judge = |resources: Option<&Value>| {
        for name in ["cpu", "memory"] {
            let amount = |side: &str| {
                resources
                    .and_then(|resources| tree::at(resources, &[side, name]))
                    .and_then(|value| Quantity::from_value(value).ok())
                    .filter(|quantity| !quantity.is_zero())
            };
            let (request, limit) = (amount("requests"), amount("limits"));
            any |= request.is_some() || limit.is_some();
            guaranteed &= limit.is_some() && (request.is_none() || request == limit);
        }
    };
    let of_pod = tree::at(pod, &["spec", "resources"]).filter(|value| !tree::is_empty(value));
    if of_pod.is_some() {
        judge(of_pod);
    } else {
        for list in ["initContainers", "containers"] {
            for container in tree::list(pod, &["spec", list]) {
                judge(tree::at(container, &["resources"]));
            }
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

/// `namespace/strategy.go`: active, and held until its content is gone.
fn create_namespace(namespace: &mut Value) {
    set_phase(namespace, "Active");
    let spec = tree::ensure_map(namespace, &["spec"]);
    let finalizers = spec.entry("finalizers").or_insert_with(|| json!([]));
    if let Some(list) = finalizers.as_array_mut()
        && !list.iter().any(|name| name == "kubernetes")
    {
        list.push(json!("kubernetes"));
    }
}

fn update_namespace(new: &mut Value, old: &Value) {
    tree::restore(new, old, &["spec", "finalizers"]);
}

fn create_service(service: &mut Value) {
    tree::set(service, &["status"], json!({"loadBalancer": {}}));
}

/// `job/strategy.go`, `generateSelector`: pods of a job are told apart by its uid.
fn create_job(job: &mut Value) {
    if tree::flag(job, &["spec", "manualSelector"]) {
        return;
    }
    let (uid, name) = (tree::uid(job).to_owned(), tree::name(job).to_owned());
    let labels = tree::ensure_map(job, &["spec", "template", "metadata", "labels"]);
    for (key, value) in [
        ("batch.kubernetes.io/controller-uid", &uid),
        ("controller-uid", &uid),
        ("batch.kubernetes.io/job-name", &name),
        ("job-name", &name),
    ] {
        labels.insert(key.to_owned(), json!(value));
    }
    let selector = tree::ensure_map(job, &["spec", "selector", "matchLabels"]);
    selector.insert("batch.kubernetes.io/controller-uid".to_owned(), json!(uid));
}

/// The user of a request cannot be chosen by the request: the shell fills `username`, `uid`, `groups` and `extra`
/// in after this, from who is authenticated.
fn create_csr(csr: &mut Value) {
    for field in ["username", "uid", "groups", "extra"] {
        tree::remove(csr, &["spec", field]);
    }
}

fn update_csr(new: &mut Value, old: &Value) {
    tree::restore(new, old, &["spec"]);
}

/// What an update of a subresource may change; everything else is taken from the old object.
pub(super) fn prepare_subresource(plural: &str, subresource: &str, new: &mut Value, old: &Value) {
    match (plural, subresource) {
        ("certificatesigningrequests", "approval") => keep_only(new, old, &[&["status", "conditions"]]),
        ("certificatesigningrequests", "status") => {
            keep_only(new, old, &[&["status", "conditions"], &["status", "certificate"]]);
        }
        ("namespaces", "finalize") => keep_only(new, old, &[&["spec", "finalizers"]]),
        ("pods", "ephemeralcontainers") => keep_only(new, old, &[&["spec", "ephemeralContainers"]]),
        ("pods", "resize") => resize_pod(new, old),
        ("pods", "status") => {
            keep_only(new, old, &[&["status"]]);
            tree::set(new, &["status", "qosClass"], qos_class(old));
        }
        (_, "status") => keep_only(new, old, &[&["status"]]),
        _ => {}
    }
}

/// Keeps `paths` of the new object and takes all else but metadata from the old one. Of the metadata, a
/// subresource may change annotations, finalizers and managed fields only.
fn keep_only(new: &mut Value, old: &Value, paths: &[&[&str]]) {
    let wanted = new.clone();
    let metadata = wanted.get("metadata").cloned();
    *new = old.clone();
    if let Some(metadata) = metadata {
        tree::set(new, &["metadata"], metadata);
    }
    for field in ["labels", "ownerReferences"] {
        tree::restore(new, old, &["metadata", field]);
    }
    for path in paths {
        tree::restore(new, &wanted, path);
    }
}

/// Only the resources of containers, their resize policy and the pod's own resources.
fn resize_pod(new: &mut Value, old: &Value) {
    let wanted = new.clone();
    keep_only(new, old, &[]);
    for list in ["containers", "initContainers"] {
        let asked = tree::list(&wanted, &["spec", list]).to_vec();
        for container in tree::list_mut(new, &["spec", list]) {
            let name = tree::text(container, &["name"]).to_owned();
            if let Some(asked) = asked.iter().find(|asked| tree::text(asked, &["name"]) == name) {
                tree::restore(container, asked, &["resources"]);
                tree::restore(container, asked, &["resizePolicy"]);
            }
        }
    }
    if tree::at(&wanted, &["spec", "resources"]).is_some() {
        tree::restore(new, &wanted, &["spec", "resources"]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::built_in;
    use super::*;
    use crate::label_selector::LabelSelector;

    #[test]
    fn generation_counts_what_is_asked_not_what_is_reported() {
        let strategy = built_in("apps", "deployments");
        let mut object =
            json!({"metadata": {"name": "a"}, "spec": {"replicas": 1}, "status": {"replicas": 9}});
        strategy.prepare_for_create(&mut object);
        assert_eq!(
            object,
            json!({"metadata": {"name": "a", "generation": 1}, "spec": {"replicas": 1}})
        );
        let mut scaled = object.clone();
        scaled["spec"]["replicas"] = json!(2);
        scaled["status"] = json!({"replicas": 5});
        strategy.prepare_for_update(&mut scaled, &object);
        assert_eq!(scaled["metadata"]["generation"], 2);
        assert!(scaled.get("status").is_none());
        let mut reported = scaled.clone();
        reported["status"] = json!({"replicas": 2});
        reported["spec"]["replicas"] = json!(7);
        reported["metadata"]["labels"] = json!({"a": "b"});
        strategy.prepare_for_subresource_update("status", &mut reported, &scaled);
        assert_eq!(reported["spec"]["replicas"], 2);
        assert_eq!(reported["status"]["replicas"], 2);
        assert_eq!(reported["metadata"], json!({"name": "a", "generation": 2}));
    }

    #[test]
    fn pods_start_pending_with_their_quality_of_service() {
        let full =
            json!({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1000m", "memory": "1Gi"}});
        let classes = [
            (json!({}), "BestEffort"),
            (json!({"requests": {"cpu": "1"}}), "Burstable"),
            (full, "Guaranteed"),
            (json!({"limits": {"cpu": "1"}}), "Burstable"),
        ];
        for (resources, class) in classes {
            let mut pod =
                json!({"metadata": {}, "spec": {"containers": [{"name": "c", "resources": resources}]}});
            built_in("", "pods").prepare_for_create(&mut pod);
            assert_eq!(pod["status"], json!({"phase": "Pending", "qosClass": class}));
        }
    }

    #[test]
    fn a_job_selects_its_pods_by_uid() {
        let mut job = json!({"metadata": {"name": "j", "uid": "u"}, "spec": {"template": {"spec": {}}}});
        built_in("batch", "jobs").prepare_for_create(&mut job);
        let labels = &job["spec"]["template"]["metadata"]["labels"];
        assert!(LabelSelector::from_object(Some(&job["spec"]["selector"])).matches_map(Some(labels)));
        assert_eq!(labels["job-name"], "j");
    }

    #[test]
    fn a_namespace_is_active_and_held() {
        let mut namespace = json!({"metadata": {"name": "n"}});
        built_in("", "namespaces").prepare_for_create(&mut namespace);
        assert_eq!(namespace["spec"]["finalizers"], json!(["kubernetes"]));
        let mut emptied = namespace.clone();
        emptied["spec"]["finalizers"] = json!([]);
        built_in("", "namespaces").prepare_for_update(&mut emptied, &namespace);
        assert_eq!(emptied["spec"]["finalizers"], json!(["kubernetes"]));
        emptied["spec"]["finalizers"] = json!([]);
        built_in("", "namespaces").prepare_for_subresource_update("finalize", &mut emptied, &namespace);
        assert_eq!(emptied["spec"]["finalizers"], json!([]));
    }
}
