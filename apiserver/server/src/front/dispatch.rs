//! From a request to the verb that answers it.

use super::call::Call;
use super::handler::Front;
use crate::http::{Response, negotiate};
use crate::verbs;
use apiserver_core::{ApiError, Resource, names};
use http::HeaderValue;
use http::header::WARNING;
use std::sync::Arc;

const ACCEPTABLE: [&str; 5] = [
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "application/json;stream=watch",
    "application/vnd.kubernetes.protobuf;stream=watch",
];

pub(super) async fn dispatch(front: &Front, mut call: Call) -> Result<Response, ApiError> {
    let state = &front.state;
    if !call.info.is_resource_request {
        return crate::discovery::answer(state, &call).await;
    }
    check_names(&call)?;
    let registry = state.registry();
    let resource = registry
        .lookup(&call.info.api_group, &call.info.api_version, &call.info.resource)
        .cloned()
        .ok_or_else(ApiError::path_not_found)?;
    if resource.namespaced
        && call.info.namespace.is_empty()
        && !matches!(call.info.verb.as_str(), "list" | "watch")
        && (call.info.verb == "create" || !call.info.name.is_empty())
    {
        return Err(ApiError::path_not_found());
    }
    if !resource.namespaced && !call.info.namespace.is_empty() && resource.gvr.resource != "namespaces" {
        return Err(ApiError::path_not_found());
    }
    let pretty = apiserver_core::request_info::query_value(call.query(), "pretty")
        .is_some_and(|value| apiserver_core::request_info::truthy(&value));
    let views = resource.is_stored() && call.info.subresource.is_empty();
    call.accepted =
        negotiate(&call.parts.headers, views, pretty).ok_or_else(|| ApiError::not_acceptable(&ACCEPTABLE))?;
    let response = if call.info.subresource.is_empty() {
        main_resource(front, &resource, &mut call).await
    } else {
        crate::subresources::answer(state, &resource, &mut call).await
    };
    response.map(|response| with_warnings(response, &call.warnings))
}

/// Names become parts of store keys: what can't be one part of a path is no name.
fn check_names(call: &Call) -> Result<(), ApiError> {
    for (what, text) in [("name", &call.info.name), ("namespace", &call.info.namespace)] {
        if let Some(why) = names::path_segment(text, false)
            .first()
            .filter(|_| !text.is_empty())
        {
            return Err(ApiError::bad_request(format!(
                "{what} parameter invalid: {text:?}: {why}"
            )));
        }
    }
    Ok(())
}

async fn main_resource(
    front: &Front,
    resource: &Arc<Resource>,
    call: &mut Call,
) -> Result<Response, ApiError> {
    let state = &front.state;
    let verb = call.info.verb.clone();
    if !resource.has_verb(&verb) {
        return Err(not_allowed(resource, &verb));
    }
    if !resource.is_stored() {
        return crate::reviews::answer(state, resource, call).await;
    }
    match verb.as_str() {
        "get" => verbs::get(state, resource, call).await,
        "list" => verbs::list(state, resource, call).await,
        "watch" => {
            let owned = call.take();
            verbs::watch(state, resource, owned).await
        }
        "create" => verbs::create(state, resource, call).await,
        "update" => verbs::update(state, resource, call).await,
        "patch" => verbs::patch(state, resource, call).await,
        "delete" => verbs::delete(state, resource, call).await,
        "deletecollection" => verbs::delete_collection(state, resource, call).await,
        _ => Err(not_allowed(resource, &verb)),
    }
}

pub(crate) fn not_allowed(resource: &Resource, verb: &str) -> ApiError {
    if verb.is_empty() {
        ApiError::path_method_not_allowed()
    } else {
        ApiError::method_not_allowed(&resource.group_resource(), verb)
    }
}

fn with_warnings(mut response: Response, warnings: &[String]) -> Response {
    for text in warnings {
        let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
        let quoted: String = quoted.chars().filter(|c| !c.is_control()).collect();
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
            response.headers_mut().append(WARNING, value);
        }
    }
    response
}
