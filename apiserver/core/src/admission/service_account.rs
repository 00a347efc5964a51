//! Every pod runs as a service account and gets its token, the cluster's root and its namespace mounted.
//! Follows `plugin/pkg/admission/serviceaccount/admission.go`.

use super::{Context, Request};
use crate::status::ApiError;
use crate::tree;
use serde_json::{Value, json};

const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const VOLUME_PREFIX: &str = "kube-api-access-";
/// One hour and seven seconds: the odd number marks a token that nobody asked for by hand.
const TOKEN_SECONDS: i64 = 3607;
pub(super) const MIRROR: &str = "kubernetes.io/config.mirror";

pub(super) fn mutate(
    request: &Request<'_>,
    pod: &mut Value,
    context: &mut Context<'_>,
) -> Result<(), ApiError> {
    // A node's own static pods have no account; validation sees to it that they use none.
    if !request.creates("", "pods") || tree::annotation(pod, MIRROR).is_some() {
        return Ok(());
    }
    if tree::text(pod, &["spec", "serviceAccountName"]).is_empty() {
        tree::set(pod, &["spec", "serviceAccountName"], "default");
    }
    let name = tree::text(pod, &["spec", "serviceAccountName"]).to_owned();
    tree::set(pod, &["spec", "serviceAccount"], name.as_str());
    let namespace = request.namespace;
    let Some(account) = context.objects.get("", "serviceaccounts", namespace, &name) else {
        return Err(request.forbidden(format!(
            "error looking up service account {namespace}/{name}: serviceaccount \"{name}\" not found"
        )));
    };
    let automount = |object: &Value, path: &[&str]| tree::at(object, path).and_then(Value::as_bool);
    let wanted = automount(pod, &["spec", "automountServiceAccountToken"])
        .or_else(|| automount(&account, &["automountServiceAccountToken"]))
        .unwrap_or(true);
    if wanted {
        mount_token(pod, context);
    }
    if tree::list(pod, &["spec", "imagePullSecrets"]).is_empty() {
        let secrets = tree::list(&account, &["imagePullSecrets"]);
        if !secrets.is_empty() {
            tree::set(pod, &["spec", "imagePullSecrets"], secrets.to_vec());
        }
    }
    Ok(())
}

pub(super) fn validate(
    request: &Request<'_>,
    object: Option<&Value>,
    _: &mut Context<'_>,
) -> Result<(), ApiError> {
    let Some(pod) =
        object.filter(|pod| request.creates("", "pods") && tree::annotation(pod, MIRROR).is_some())
    else {
        return Ok(());
    };
    if !tree::text(pod, &["spec", "serviceAccountName"]).is_empty() {
        return Err(request.forbidden("a mirror pod may not reference service accounts"));
    }
    let by_secret = tree::list(pod, &["spec", "volumes"])
        .iter()
        .any(|volume| volume.get("secret").is_some());
    if by_secret {
        return Err(request.forbidden("a mirror pod may not reference secrets"));
    }
    Ok(())
}

fn mount_token(pod: &mut Value, context: &mut Context<'_>) {
    let existing = tree::list(pod, &["spec", "volumes"])
        .iter()
        .map(|volume| tree::text(volume, &["name"]))
        .find(|name| name.starts_with(VOLUME_PREFIX))
        .map(str::to_owned);
    let adds_volume = existing.is_none();
    let volume = existing.unwrap_or_else(|| format!("{VOLUME_PREFIX}{}", (context.suffix)()));
    let mut mounted = false;
    for list in ["initContainers", "containers"] {
        for container in tree::list_mut(pod, &["spec", list]) {
            let has = tree::list(container, &["volumeMounts"])
                .iter()
                .any(|mount| tree::text(mount, &["mountPath"]) == MOUNT_PATH);
            if !has {
                push(
                    container,
                    "volumeMounts",
                    json!({"name": volume, "readOnly": true, "mountPath": MOUNT_PATH}),
                );
                mounted = true;
            }
        }
    }
    if mounted
        && adds_volume
        && let Some(spec) = tree::at_mut(pod, &["spec"])
    {
        push(spec, "volumes", token_volume(&volume));
    }
}

fn token_volume(name: &str) -> Value {
    json!({"name": name, "projected": {"defaultMode": 420, "sources": [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": TOKEN_SECONDS}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [
            {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
    ]}})
}

pub(super) fn push(object: &mut Value, field: &str, item: Value) {
    match object.get_mut(field).and_then(Value::as_array_mut) {
        Some(items) => items.push(item),
        None => object[field] = json!([item]),
    }
}
