//! TokenRequest: signed, bound, expiring tokens of a service account.
//!
//! Follows pkg/registry/core/serviceaccount/storage/token.go (Kubernetes 1.36).

use crate::admission::{self, Operation};
use crate::authn::{Claims, ObjectRef, PrivateClaims};
use crate::front::{Call, value_response};
use crate::http::Response;
use crate::state::State;
use crate::verbs::{Writer, fetch};
use apiserver_core::options::{WriteKind, WriteOptions};
use apiserver_core::{ApiError, FieldError, FieldPath, GroupVersionKind, Resource, deletion, tree};
use serde_json::{Value, json};

const DEFAULT_SECONDS: i64 = 3600;
const MIN_SECONDS: i64 = 600;
const MAX_SECONDS: i64 = 1 << 32;
/// Tokens of pods asked for by node agents for this long are warned about when used later than that, but live
/// a year, for clients that don't reread their file (upstream: WarnOnlyBoundTokenExpirationPeriod).
const WARN_ONLY_SECONDS: i64 = 3607;
const EXTENDED_SECONDS: i64 = 365 * 24 * 3600;

pub(super) async fn create(
    state: &State,
    accounts: &Resource,
    call: &mut Call,
) -> Result<Response, ApiError> {
    let options = WriteOptions::from_query(call.query(), WriteKind::Create)?;
    let kind = GroupVersionKind::new("authentication.k8s.io", "v1", "TokenRequest");
    let mut request = call.decode_object(&kind, options.field_validation)?;
    let (namespace, name) = (call.info.namespace.clone(), call.info.name.clone());
    let account = fetch(state, accounts, &namespace, &name).await?;
    tree::set(&mut request, &["metadata", "name"], name.as_str());
    tree::set(&mut request, &["metadata", "namespace"], namespace.as_str());
    // A node gets tokens for its own pods only.
    let mut writer = Writer::of(call, &options);
    admission::validate(
        state,
        accounts,
        &mut writer,
        Operation::Create,
        Some(&request),
        None,
    )
    .await?;
    let seconds = tree::int(&request, &["spec", "expirationSeconds"]).unwrap_or(DEFAULT_SECONDS);
    let path = FieldPath::new("spec.expirationSeconds");
    let mut errors = Vec::new();
    if seconds < MIN_SECONDS {
        errors.push(FieldError::invalid(
            &path,
            seconds,
            "may not specify a duration less than 10 minutes",
        ));
    }
    if seconds > MAX_SECONDS {
        errors.push(FieldError::invalid(
            &path,
            seconds,
            "may not specify a duration larger than 2^32 seconds",
        ));
    }
    if !errors.is_empty() {
        return Err(ApiError::invalid(
            "authentication.k8s.io",
            "TokenRequest",
            &name,
            &errors,
        ));
    }
    let mut audiences: Vec<String> = tree::list(&request, &["spec", "audiences"])
        .iter()
        .filter_map(|audience| audience.as_str().map(str::to_owned))
        .collect();
    if audiences.is_empty() {
        audiences.push(state.tokens.issuer().to_owned());
    }
    let mut private = PrivateClaims {
        namespace: namespace.clone(),
        serviceaccount: ObjectRef {
            name: name.clone(),
            uid: tree::uid(&account).to_owned(),
        },
        ..PrivateClaims::default()
    };
    bind(state, &request, &namespace, &name, &mut private).await?;
    let now = state.now().as_second();
    let for_us = audiences.iter().any(|audience| audience == state.tokens.issuer());
    let lives = if seconds == WARN_ONLY_SECONDS && private.pod.is_some() && for_us {
        private.warnafter = Some(now + seconds);
        EXTENDED_SECONDS
    } else {
        seconds
    };
    let claims = Claims {
        aud: audiences.clone(),
        exp: now + lives,
        iat: now,
        iss: state.tokens.issuer().to_owned(),
        jti: Some(state.env.random.uuid()),
        private,
        nbf: now,
        sub: format!("system:serviceaccount:{namespace}:{name}"),
    };
    let token = state.tokens.sign(&claims).map_err(ApiError::internal)?;
    let expires = jiff::Timestamp::from_second(now + seconds).map_err(ApiError::internal)?;
    tree::set(&mut request, &["metadata", "creationTimestamp"], call.now_text());
    tree::set(&mut request, &["spec", "expirationSeconds"], seconds);
    tree::set(&mut request, &["spec", "audiences"], audiences);
    tree::set(
        &mut request,
        &["status"],
        json!({"token": token, "expirationTimestamp": deletion::rfc3339(expires)}),
    );
    Ok(value_response(201, &request, call.accepted))
}

/// What the token lives and dies with.
async fn bind(
    state: &State,
    request: &Value,
    namespace: &str,
    account: &str,
    private: &mut PrivateClaims,
) -> Result<(), ApiError> {
    let Some(bound) = tree::at(request, &["spec", "boundObjectRef"]) else {
        return Ok(());
    };
    let (kind, name, uid) = (
        tree::text(bound, &["kind"]),
        tree::text(bound, &["name"]),
        tree::text(bound, &["uid"]),
    );
    let (plural, within) = match (tree::text(bound, &["apiVersion"]), kind) {
        ("v1", "Pod") => ("pods", namespace),
        ("v1", "Secret") => ("secrets", namespace),
        ("v1", "Node") => ("nodes", ""),
        (version, kind) => {
            return Err(ApiError::bad_request(format!(
                "cannot bind token to object of type {version}, Kind={kind}"
            )));
        }
    };
    let registry = state.registry();
    let resource = registry
        .lookup("", "v1", plural)
        .ok_or_else(ApiError::path_not_found)?;
    let object = fetch(state, resource, within, name).await?;
    if !uid.is_empty() && uid != tree::uid(&object) {
        return Err(ApiError::conflict(
            &resource.group_resource(),
            name,
            format!(
                "the UID in the bound object reference ({uid}) does not match the UID in record ({}). The object \
                     might have been deleted and then recreated",
                tree::uid(&object)
            ),
        ));
    }
    let reference = ObjectRef {
        name: name.to_owned(),
        uid: tree::uid(&object).to_owned(),
    };
    match plural {
        "pods" => {
            if tree::text(&object, &["spec", "serviceAccountName"]) != account {
                return Err(ApiError::bad_request(format!(
                    "cannot bind token for serviceaccount {account:?} to pod running with different serviceaccount name"
                )));
            }
            let node = tree::text(&object, &["spec", "nodeName"]);
            if let (false, Some(nodes)) = (node.is_empty(), registry.lookup("", "v1", "nodes"))
                && let Ok(found) = fetch(state, nodes, "", node).await
            {
                private.node = Some(ObjectRef {
                    name: node.to_owned(),
                    uid: tree::uid(&found).to_owned(),
                });
            }
            private.pod = Some(reference);
        }
        "secrets" => private.secret = Some(reference),
        _ => private.node = Some(reference),
    }
    Ok(())
}
