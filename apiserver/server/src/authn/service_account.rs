//! Service-account tokens: signature, times, audience, and that what they are bound to still exists.
//!
//! Follows pkg/serviceaccount/{jwt,claims}.go (Kubernetes 1.36).

use super::ObjectRef;
use crate::state::State;
use crate::user::UserInfo;
use crate::verbs::fetch_for_update;
use apiserver_core::{ApiError, tree};
use serde_json::Value;
use std::collections::BTreeMap;

/// The user and the audiences that the token and the caller have in common; `None` when the token is wrong.
pub(super) async fn authenticate(
    state: &State,
    token: &str,
    audiences: &[String],
) -> Result<Option<(UserInfo, Vec<String>)>, ApiError> {
    let claims = match state.tokens.verify(token, state.now().as_second()) {
        Ok(claims) => claims,
        Err(error) => {
            tracing::debug!(%error, "token refused");
            return Ok(None);
        }
    };
    let common: Vec<String> = claims
        .aud
        .iter()
        .filter(|audience| audiences.contains(audience))
        .cloned()
        .collect();
    if common.is_empty() {
        return Ok(None);
    }
    let private = &claims.private;
    let namespace = &private.namespace;
    let account = &private.serviceaccount;
    if claims.sub != format!("system:serviceaccount:{namespace}:{}", account.name) {
        return Ok(None);
    }
    if !exists(state, "serviceaccounts", namespace, account).await? {
        return Ok(None);
    }
    let mut extra = BTreeMap::new();
    let mut add = |key: &str, value: &str| {
        extra.insert(
            format!("authentication.kubernetes.io/{key}"),
            vec![value.to_owned()],
        );
    };
    if let Some(id) = &claims.jti {
        add("credential-id", &format!("JTI={id}"));
    }
    if let Some(pod) = &private.pod {
        if !exists(state, "pods", namespace, pod).await? {
            return Ok(None);
        }
        add("pod-name", &pod.name);
        add("pod-uid", &pod.uid);
    }
    if let Some(node) = &private.node {
        // A token of a pod lives and dies with the pod; only one bound to the node alone needs the node.
        if private.pod.is_none() && !exists(state, "nodes", "", node).await? {
            return Ok(None);
        }
        add("node-name", &node.name);
        add("node-uid", &node.uid);
    }
    if let Some(secret) = &private.secret
        && !exists(state, "secrets", namespace, secret).await?
    {
        return Ok(None);
    }
    let user = UserInfo {
        username: claims.sub.clone(),
        uid: account.uid.clone(),
        groups: vec![
            "system:serviceaccounts".to_owned(),
            format!("system:serviceaccounts:{namespace}"),
        ],
        extra,
    };
    Ok(Some((user, common)))
}

/// The same object (by uid) is still there. The cache says yes; only a no is asked from the store.
async fn exists(
    state: &State,
    resource: &str,
    namespace: &str,
    wanted: &ObjectRef,
) -> Result<bool, ApiError> {
    let registry = state.registry();
    let Some(resource) = registry.lookup("", "v1", resource) else {
        return Ok(false);
    };
    let cache = state.filled("", "v1", &resource.gvr.resource).await?;
    let key = resource.key(namespace, &wanted.name);
    let same = |object: &Value| tree::uid(object) == wanted.uid;
    if let Some(entry) = key.strip_prefix(&cache.prefix).and_then(|key| cache.get(key))
        && same(&entry.value())
    {
        return Ok(true);
    }
    let found = fetch_for_update(state, resource, namespace, &wanted.name).await?;
    Ok(found.is_some_and(|(object, ..)| same(&object)))
}
