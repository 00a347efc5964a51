//! `Impersonate-*` headers: acting as somebody else, where RBAC allows it.
//!
//! Follows apiserver/pkg/endpoints/filters/impersonation (Kubernetes 1.36).

use crate::authz::{Question, allowed};
use crate::state::State;
use crate::user::UserInfo;
use apiserver_core::{ApiError, GroupResource};
use http::HeaderMap;
use std::collections::BTreeMap;

const EXTRA: &str = "impersonate-extra-";

/// The user that the request shall be treated as.
///
/// # Errors
/// 403 without the right to impersonate, 400 for headers that need `Impersonate-User`.
pub(crate) async fn impersonated(
    state: &State,
    user: UserInfo,
    headers: &HeaderMap,
) -> Result<UserInfo, ApiError> {
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned()
    };
    let wanted = text("impersonate-user");
    let uid = text("impersonate-uid");
    let groups: Vec<String> = headers
        .get_all("impersonate-group")
        .iter()
        .filter_map(|value| value.to_str().ok().map(str::to_owned))
        .collect();
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        if let Some(key) = name.as_str().strip_prefix(EXTRA) {
            let key = percent_encoding::percent_decode_str(key)
                .decode_utf8_lossy()
                .to_lowercase();
            extra
                .entry(key)
                .or_default()
                .push(value.to_str().unwrap_or_default().to_owned());
        }
    }
    if wanted.is_empty() {
        if !groups.is_empty() || !uid.is_empty() || !extra.is_empty() {
            return Err(ApiError::bad_request(
                "requested impersonation without impersonating a user",
            ));
        }
        return Ok(user);
    }
    let service_account = wanted
        .strip_prefix("system:serviceaccount:")
        .and_then(|rest| rest.split_once(':'));
    match service_account {
        Some((namespace, name)) => check(state, &user, "", "serviceaccounts", "", namespace, name).await?,
        None => check(state, &user, "", "users", "", "", &wanted).await?,
    }
    for group in &groups {
        check(state, &user, "", "groups", "", "", group).await?;
    }
    if !uid.is_empty() {
        check(state, &user, "authentication.k8s.io", "uids", "", "", &uid).await?;
    }
    for (key, values) in &extra {
        for value in values {
            check(
                state,
                &user,
                "authentication.k8s.io",
                "userextras",
                key,
                "",
                value,
            )
            .await?;
        }
    }
    let mut shown = groups;
    if shown.is_empty()
        && let Some((namespace, _)) = service_account
    {
        shown.push("system:serviceaccounts".to_owned());
        shown.push(format!("system:serviceaccounts:{namespace}"));
    }
    let (special, wanted_anonymous) = ("system:authenticated", wanted == "system:anonymous");
    let unauthenticated = shown.iter().any(|group| group == "system:unauthenticated");
    if wanted_anonymous {
        if !unauthenticated {
            shown.push("system:unauthenticated".to_owned());
        }
    } else if !unauthenticated && !shown.iter().any(|group| group == special) {
        shown.push(special.to_owned());
    }
    tracing::debug!(by = %user.username, "as" = %wanted, "impersonation");
    Ok(UserInfo {
        username: wanted,
        uid,
        groups: shown,
        extra,
    })
}

async fn check(
    state: &State,
    user: &UserInfo,
    group: &str,
    resource: &str,
    subresource: &str,
    namespace: &str,
    name: &str,
) -> Result<(), ApiError> {
    let question = Question::resource("impersonate", group, resource, subresource, namespace, name);
    if allowed(state, user, &question).await?.allowed {
        return Ok(());
    }
    let scope = if namespace.is_empty() {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace {namespace:?}")
    };
    Err(ApiError::forbidden(
        &GroupResource::new(group, resource),
        name,
        format!(
            "User {:?} cannot impersonate resource {resource:?} in API group {group:?} {scope}",
            user.username
        ),
    ))
}
