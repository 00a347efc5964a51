//! `scale`: replicas of a workload as `autoscaling/v1 Scale`.
//!
//! Follows pkg/registry/apps/deployment/storage/storage.go, ScaleREST (Kubernetes 1.36).

use crate::front::{Call, value_response};
use crate::http::Response;
use crate::patching::{Patcher, patch_type};
use crate::state::State;
use crate::verbs::{Next, Ownership, Writer, change_object, fetch};
use apiserver_core::label_selector::{LabelSelector, Operator, Requirement};
use apiserver_core::options::{WriteKind, WriteOptions};
use apiserver_core::{ApiError, FieldError, FieldPath, GroupVersionKind, Resource, tree};
use serde_json::{Value, json};

fn kind() -> GroupVersionKind {
    GroupVersionKind::new("autoscaling", "v1", "Scale")
}

pub(super) async fn get(state: &State, resource: &Resource, call: &Call) -> Result<Response, ApiError> {
    let object = fetch(state, resource, &call.info.namespace, &call.info.name).await?;
    Ok(value_response(200, &scale_of(&object), call.accepted))
}

pub(super) async fn change(
    state: &State,
    resource: &Resource,
    call: &mut Call,
) -> Result<Response, ApiError> {
    let patching = call.info.verb == "patch";
    let write_kind = if patching {
        WriteKind::Patch
    } else {
        WriteKind::Update
    };
    let options = WriteOptions::from_query(call.query(), write_kind)?;
    let mut writer = Writer::of(call, &options);
    let view = writer.clone_without_warnings();
    let (namespace, name) = (call.info.namespace.clone(), call.info.name.clone());
    let body = if patching {
        Value::Null
    } else {
        call.decode_object(&kind(), options.field_validation)?
    };
    let patcher = if patching {
        Some(Patcher::new(
            patch_type(&call.content_type(), resource)?,
            kind(),
            &call.body,
            &options,
        ))
    } else {
        None
    };
    let group_resource = resource.group_resource();
    let mut warnings = Vec::new();
    let mut change = |current: Option<&Value>| {
        warnings.clear();
        let current = current.ok_or_else(|| ApiError::not_found(&group_resource, &name))?;
        let scale = match &patcher {
            Some(patcher) => patcher.change(Some(&scale_of(current)), resource, &view, &mut warnings)?,
            None => body.clone(),
        };
        Ok(Next {
            object: scaled(current, &scale, &name, resource)?,
            ownership: Ownership::Update,
        })
    };
    let changed = change_object(state, resource, &mut writer, &namespace, &name, &mut change).await?;
    for warning in warnings.into_iter().chain(writer.warnings) {
        call.warn(warning);
    }
    Ok(value_response(200, &scale_of(changed.object()), call.accepted))
}

fn scale_of(object: &Value) -> Value {
    let mut metadata = json!({});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = tree::at(object, &["metadata", field]) {
            metadata[field] = value.clone();
        }
    }
    // ReplicationControllers select by a plain map, the others by a selector object.
    let selector = match tree::at(object, &["spec", "selector"]) {
        None => String::new(),
        Some(selector)
            if selector.get("matchLabels").is_some() || selector.get("matchExpressions").is_some() =>
        {
            selector_text(&LabelSelector::from_object(Some(selector)))
        }
        Some(selector) => selector_text(&LabelSelector::from_map(selector)),
    };
    let mut status = json!({"replicas": tree::int(object, &["status", "replicas"]).unwrap_or(0)});
    if !selector.is_empty() {
        status["selector"] = json!(selector);
    }
    let mut spec = json!({});
    let replicas = tree::int(object, &["spec", "replicas"]).unwrap_or(0);
    if replicas != 0 {
        spec["replicas"] = json!(replicas);
    }
    json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": spec, "status": status})
}

/// The text form of a selector, as `labelSelector` takes it.
fn selector_text(selector: &LabelSelector) -> String {
    let requirement = |requirement: &Requirement| {
        let (key, values) = (&requirement.key, requirement.values.join(","));
        match requirement.operator {
            Operator::Exists => key.clone(),
            Operator::DoesNotExist => format!("!{key}"),
            Operator::In => format!("{key} in ({values})"),
            Operator::NotIn => format!("{key} notin ({values})"),
            Operator::Equals | Operator::DoubleEquals => format!("{key}={values}"),
            Operator::NotEquals => format!("{key}!={values}"),
            Operator::GreaterThan => format!("{key}>{values}"),
            Operator::LessThan => format!("{key}<{values}"),
        }
    };
    selector
        .requirements
        .iter()
        .map(requirement)
        .collect::<Vec<_>>()
        .join(",")
}

fn scaled(current: &Value, scale: &Value, name: &str, resource: &Resource) -> Result<Value, ApiError> {
    let given = tree::name(scale);
    if !given.is_empty() && given != name {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({given}) does not match the name on the URL ({name})"
        )));
    }
    let replicas = tree::int(scale, &["spec", "replicas"]).unwrap_or(0);
    if replicas < 0 {
        let error = FieldError::invalid(
            &FieldPath::new("spec.replicas"),
            replicas,
            "must be greater than or equal to 0",
        );
        return Err(ApiError::invalid("autoscaling", "Scale", name, &[error]));
    }
    let uid = tree::uid(scale);
    if !uid.is_empty() && uid != tree::uid(current) {
        return Err(ApiError::conflict(
            &resource.group_resource(),
            name,
            format!(
                "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                tree::uid(current)
            ),
        ));
    }
    let mut new = current.clone();
    tree::set(&mut new, &["spec", "replicas"], replicas);
    let version = tree::resource_version(scale);
    tree::set(&mut new, &["metadata", "resourceVersion"], version);
    Ok(new)
}
