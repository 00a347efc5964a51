//! Binding a pod to a node: what the scheduler posts.
//!
//! Follows pkg/registry/core/pod/storage/storage.go, BindingREST (Kubernetes 1.36).

use crate::front::{Call, value_response};
use crate::http::Response;
use crate::state::State;
use crate::verbs::{Next, Ownership, Writer, change_object};
use apiserver_core::options::{WriteKind, WriteOptions};
use apiserver_core::{
    ApiError, FieldError, FieldPath, GroupResource, GroupVersionKind, Resource, status, tree,
};
use serde_json::{Value, json};

fn kind() -> GroupVersionKind {
    GroupVersionKind::new("", "v1", "Binding")
}

/// POST `pods/x/binding`.
pub(super) async fn create(state: &State, pods: &Resource, call: &mut Call) -> Result<Response, ApiError> {
    let name = call.info.name.clone();
    bind(state, pods, call, &name).await
}

/// POST `bindings`: the pod is named by the body.
pub(crate) async fn bind_by_body(state: &State, call: &mut Call) -> Result<Response, ApiError> {
    let registry = state.registry();
    let pods = registry
        .lookup("", "v1", "pods")
        .ok_or_else(ApiError::path_not_found)?;
    bind(state, pods, call, "").await
}

async fn bind(state: &State, pods: &Resource, call: &mut Call, name: &str) -> Result<Response, ApiError> {
    let options = WriteOptions::from_query(call.query(), WriteKind::Create)?;
    let binding = call.decode_object(&kind(), options.field_validation)?;
    let given = tree::name(&binding).to_owned();
    let name = if name.is_empty() {
        given.clone()
    } else {
        name.to_owned()
    };
    if !given.is_empty() && given != name {
        return Err(ApiError::bad_request(
            "name in URL does not match name in Binding object",
        ));
    }
    let node = tree::text(&binding, &["target", "name"]).to_owned();
    let target_kind = tree::text(&binding, &["target", "kind"]);
    let mut errors = Vec::new();
    if !matches!(target_kind, "" | "Node") {
        let path = FieldPath::new("target.kind");
        errors.push(FieldError::not_supported(
            &path,
            target_kind,
            &["Node", "<empty>"],
        ));
    }
    if node.is_empty() {
        errors.push(FieldError::required(&FieldPath::new("target.name"), ""));
    }
    if !errors.is_empty() {
        return Err(ApiError::invalid("", "Binding", &name, &errors));
    }
    let mut writer = Writer::of(call, &options);
    writer.subresource = "binding".to_owned();
    let now = writer.now_text();
    let namespace = call.info.namespace.clone();
    let uid = tree::uid(&binding).to_owned();
    let version = tree::resource_version(&binding).to_owned();
    let mut change = |current: Option<&Value>| {
        let current = current.ok_or_else(|| ApiError::not_found(&pods.group_resource(), &name))?;
        Ok(Next {
            object: bound(current, &binding, &node, &uid, &version, &now)?,
            ownership: Ownership::Update,
        })
    };
    change_object(state, pods, &mut writer, &namespace, &name, &mut change).await?;
    Ok(value_response(201, &status::success(201), call.accepted))
}

fn bound(
    pod: &Value,
    binding: &Value,
    node: &str,
    uid: &str,
    version: &str,
    now: &str,
) -> Result<Value, ApiError> {
    let name = tree::name(pod);
    let conflict = |why: String| {
        let mut error = ApiError::conflict(&GroupResource::new("", "pods/binding"), name, why);
        if let Some(details) = error.details.as_mut() {
            details.kind = "pods/binding".to_owned();
        }
        Err(error)
    };
    if !uid.is_empty() && uid != tree::uid(pod) {
        return conflict(format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            tree::uid(pod)
        ));
    }
    if !version.is_empty() && version != tree::resource_version(pod) {
        return conflict(format!(
            "Precondition failed: ResourceVersion in precondition: {version}, ResourceVersion in object meta: {}",
            tree::resource_version(pod)
        ));
    }
    if tree::at(pod, &["metadata", "deletionTimestamp"]).is_some() {
        return conflict(format!(
            "pod {name} is being deleted, cannot be assigned to a host"
        ));
    }
    let assigned = tree::text(pod, &["spec", "nodeName"]);
    if !assigned.is_empty() {
        return conflict(format!("pod {name} is already assigned to node {assigned:?}"));
    }
    if !tree::list(pod, &["spec", "schedulingGates"]).is_empty() {
        return conflict(format!("pod {name} has non-empty .spec.schedulingGates"));
    }
    let mut new = pod.clone();
    tree::set(&mut new, &["spec", "nodeName"], node);
    for field in ["annotations", "labels"] {
        for (key, value) in tree::strings(binding, &["metadata", field]) {
            tree::set(&mut new, &["metadata", field, key], value);
        }
    }
    let condition =
        json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now});
    let mut conditions: Vec<Value> = tree::list(pod, &["status", "conditions"])
        .iter()
        .filter(|condition| condition["type"] != "PodScheduled")
        .cloned()
        .collect();
    conditions.push(condition);
    tree::set(&mut new, &["status", "conditions"], conditions);
    Ok(new)
}
