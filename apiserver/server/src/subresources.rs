//! Sub-resources: views of an object's part, and things that are done by posting to an object.

mod binding;
mod eviction;
mod scale;
mod token;

use crate::front::{Call, not_allowed};
use crate::http::Response;
use crate::state::State;
use crate::verbs;
use apiserver_core::{ApiError, Resource};

pub(crate) use binding::bind_by_body;

pub(crate) async fn answer(
    state: &State,
    resource: &Resource,
    call: &mut Call,
) -> Result<Response, ApiError> {
    let subresource = resource
        .subresource(&call.info.subresource)
        .ok_or_else(ApiError::path_not_found)?;
    let verb = call.info.verb.clone();
    if !subresource.verbs.contains(&verb) {
        return Err(not_allowed(resource, &verb));
    }
    match (call.info.subresource.as_str(), verb.as_str()) {
        ("scale", "get") => scale::get(state, resource, call).await,
        ("scale", "update" | "patch") => scale::change(state, resource, call).await,
        ("binding", "create") => binding::create(state, resource, call).await,
        ("eviction", "create") => eviction::create(state, resource, call).await,
        ("token", "create") => token::create(state, resource, call).await,
        // The other ones show the object itself, and the strategy says which part may change.
        (_, "get") if subresource.kind.kind == resource.kind => verbs::get(state, resource, call).await,
        (_, "update") if subresource.kind.kind == resource.kind => verbs::update(state, resource, call).await,
        (_, "patch") if subresource.kind.kind == resource.kind => verbs::patch(state, resource, call).await,
        _ => Err(not_allowed(resource, &verb)),
    }
}
