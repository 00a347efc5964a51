//! Questions that are asked by creating an object which is never stored.
//!
//! Follows pkg/registry/{authorization,authentication} (Kubernetes 1.36).

use crate::authz::{Answer, Question, allowed};
use crate::front::{Call, not_allowed, value_response};
use crate::http::Response;
use crate::state::State;
use crate::user::UserInfo;
use apiserver_core::authorization::RuleSet;
use apiserver_core::options::{WriteKind, WriteOptions};
use apiserver_core::{ApiError, FieldError, FieldPath, Resource, tree};
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(crate) async fn answer(
    state: &State,
    resource: &Resource,
    call: &mut Call,
) -> Result<Response, ApiError> {
    match (resource.gvr.resource.as_str(), call.info.verb.as_str()) {
        ("bindings", "create") => return crate::subresources::bind_by_body(state, call).await,
        ("componentstatuses", "get" | "list") => return component_statuses(resource, call),
        (_, "create") => {}
        (_, verb) => return Err(not_allowed(resource, verb)),
    }
    let options = WriteOptions::from_query(call.query(), WriteKind::Create)?;
    let mut review = call.decode_object(&resource.gvk(), options.field_validation)?;
    let status = match resource.gvr.resource.as_str() {
        "selfsubjectaccessreviews" => access(state, &review, &call.user).await?,
        "subjectaccessreviews" => access(state, &review, &subject(&review)?).await?,
        "localsubjectaccessreviews" => {
            let namespace = tree::text(&review, &["spec", "resourceAttributes", "namespace"]);
            if namespace != call.info.namespace {
                let path = FieldPath::new("spec.resourceAttributes.namespace");
                let error = FieldError::invalid(
                    &path,
                    namespace,
                    format!("must match metadata.namespace: {}", call.info.namespace),
                );
                return Err(ApiError::invalid(
                    &resource.gvr.group,
                    &resource.kind,
                    "",
                    &[error],
                ));
            }
            access(state, &review, &subject(&review)?).await?
        }
        "selfsubjectrulesreviews" => rules(state, &review, &call.user)?,
        "selfsubjectreviews" => json!({"userInfo": user_json(&call.user)}),
        "tokenreviews" => token(state, &review).await?,
        _ => return Err(not_allowed(resource, &call.info.verb)),
    };
    if resource.gvr.resource == "selfsubjectreviews" {
        tree::set(&mut review, &["metadata", "creationTimestamp"], call.now_text());
    }
    tree::set(&mut review, &["status"], status);
    if !review["metadata"].is_object() {
        review["metadata"] = json!({});
    }
    Ok(value_response(201, &review, call.accepted))
}

async fn access(state: &State, review: &Value, user: &UserInfo) -> Result<Value, ApiError> {
    let attributes = tree::at(review, &["spec", "resourceAttributes"]);
    let plain = tree::at(review, &["spec", "nonResourceAttributes"]);
    let question = match (attributes, plain) {
        (Some(attributes), None) => {
            let text = |field: &str| tree::text(attributes, &[field]).to_owned();
            let field_equals = tree::list(attributes, &["fieldSelector", "requirements"])
                .iter()
                .filter(|requirement| requirement["operator"] == "In")
                .filter_map(|requirement| match tree::list(requirement, &["values"]) {
                    [value] => Some((
                        tree::text(requirement, &["key"]).to_owned(),
                        value.as_str()?.to_owned(),
                    )),
                    _ => None,
                })
                .collect();
            Question {
                verb: text("verb"),
                path: String::new(),
                group: text("group"),
                resource: text("resource"),
                subresource: text("subresource"),
                namespace: text("namespace"),
                name: text("name"),
                field_equals,
            }
        }
        (None, Some(plain)) => Question {
            verb: tree::text(plain, &["verb"]).to_owned(),
            path: tree::text(plain, &["path"]).to_owned(),
            ..Question::default()
        },
        _ => {
            let error = FieldError::invalid(
                &FieldPath::new("spec.resourceAttributes"),
                Value::Null,
                "exactly one of nonResourceAttributes or resourceAttributes must be specified",
            );
            return Err(ApiError::invalid(
                "authorization.k8s.io",
                "SubjectAccessReview",
                "",
                &[error],
            ));
        }
    };
    let Answer {
        allowed,
        denied,
        reason,
    } = allowed(state, user, &question).await?;
    let mut status = json!({"allowed": allowed});
    if denied {
        status["denied"] = json!(true);
    }
    if !reason.is_empty() {
        status["reason"] = json!(reason);
    }
    Ok(status)
}

/// The user that a review is about.
fn subject(review: &Value) -> Result<UserInfo, ApiError> {
    let username = tree::text(review, &["spec", "user"]).to_owned();
    let groups: Vec<String> = texts(tree::list(review, &["spec", "groups"]));
    if username.is_empty() && groups.is_empty() {
        let error = FieldError::invalid(
            &FieldPath::new("spec.user"),
            "",
            "at least one of user or group must be specified",
        );
        return Err(ApiError::invalid(
            "authorization.k8s.io",
            "SubjectAccessReview",
            "",
            &[error],
        ));
    }
    let extra: BTreeMap<String, Vec<String>> = tree::map(review, &["spec", "extra"])
        .into_iter()
        .flatten()
        .map(|(key, values)| (key.clone(), texts(values.as_array().map_or(&[], Vec::as_slice))))
        .collect();
    Ok(UserInfo {
        username,
        uid: tree::text(review, &["spec", "uid"]).to_owned(),
        groups,
        extra,
    })
}

fn texts(values: &[Value]) -> Vec<String> {
    values
        .iter()
        .filter_map(|value| value.as_str().map(str::to_owned))
        .collect()
}

fn rules(state: &State, review: &Value, user: &UserInfo) -> Result<Value, ApiError> {
    let namespace = tree::text(review, &["spec", "namespace"]);
    if namespace.is_empty() {
        return Err(ApiError::bad_request("no namespace on request"));
    }
    let mut set = RuleSet::of(&state.authorizer.rules_for(user.subject(), namespace));
    if user.in_group("system:masters") {
        set.resource_rules
            .insert(0, json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}));
        set.non_resource_rules
            .insert(0, json!({"verbs": ["*"], "nonResourceURLs": ["*"]}));
    }
    Ok(
        json!({"resourceRules": set.resource_rules, "nonResourceRules": set.non_resource_rules, "incomplete": false}),
    )
}

fn user_json(user: &UserInfo) -> Value {
    let mut value = json!({"username": user.username, "groups": user.groups});
    if !user.uid.is_empty() {
        value["uid"] = json!(user.uid);
    }
    if !user.extra.is_empty() {
        value["extra"] = json!(user.extra);
    }
    value
}

async fn token(state: &State, review: &Value) -> Result<Value, ApiError> {
    let mut audiences = texts(tree::list(review, &["spec", "audiences"]));
    let asked = !audiences.is_empty();
    if !asked {
        audiences.push(state.tokens.issuer().to_owned());
    }
    let token = tree::text(review, &["spec", "token"]);
    if token.is_empty() {
        return Err(ApiError::bad_request(
            "token is required for TokenReview in authentication",
        ));
    }
    match crate::authn::authenticate_token(state, token, &audiences).await? {
        Some((mut user, common)) => {
            user.groups.push("system:authenticated".to_owned());
            Ok(json!({"authenticated": true, "user": user_json(&user), "audiences": common}))
        }
        None => Ok(json!({"user": {}, "error": "invalid bearer token"})),
    }
}

/// Deprecated upstream; the components have no address here that an API server would know.
fn component_statuses(resource: &Resource, call: &Call) -> Result<Response, ApiError> {
    if call.info.verb == "get" {
        return Err(ApiError::not_found(&resource.group_resource(), &call.info.name));
    }
    let list = json!({"kind": "ComponentStatusList", "apiVersion": "v1", "metadata": {}, "items": []});
    Ok(value_response(200, &list, call.accepted))
}
