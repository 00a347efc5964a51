//! GET of one object.

use super::object::{convert, parse};
use crate::front::Call;
use crate::http::{Encoding, Response, View, bytes_response};
use crate::state::{State, read_error, store_error};
use apiserver_core::resource_version::{ReadAt, of_get};
use apiserver_core::{ApiError, Resource};
use http::StatusCode;
use std::time::Duration;

/// How long a read waits for the revision it names; upstream's cacher.blockTimeout.
pub(super) const WAIT_FOR_REVISION: Duration = Duration::from_secs(3);

pub(crate) async fn get(state: &State, resource: &Resource, call: &Call) -> Result<Response, ApiError> {
    let wanted =
        apiserver_core::request_info::query_value(call.query(), "resourceVersion").unwrap_or_default();
    let (namespace, name) = (&call.info.namespace, &call.info.name);
    let missing = || ApiError::not_found(&resource.group_resource(), name);
    let at_least = match of_get(&wanted)? {
        ReadAt::MostRecent | ReadAt::Exact(_) => None,
        ReadAt::Any => Some(0),
        ReadAt::NotOlderThan(revision) => Some(i64::try_from(revision).unwrap_or(i64::MAX)),
    };
    let (json, value) = match at_least {
        None => {
            let (stored, _) = state
                .store
                .get(&resource.key(namespace, name))
                .await
                .map_err(|error| store_error(&error))?;
            let stored = stored.ok_or_else(missing)?;
            if is_plain(call, resource) {
                (
                    Some(crate::cache::with_resource_version(
                        &stored.value,
                        stored.mod_revision,
                    )),
                    None,
                )
            } else {
                (None, Some(parse(&stored)?))
            }
        }
        Some(revision) => {
            let cache = state.cache_of(resource);
            state
                .caches
                .ready(&cache)
                .await
                .map_err(|error| read_error(&error.into()))?;
            cache
                .wait_until(revision, WAIT_FOR_REVISION)
                .await
                .map_err(|error| read_error(&error.into()))?;
            let key = resource.key(namespace, name);
            let key = key.strip_prefix(&cache.prefix).unwrap_or(&key);
            let entry = cache.get(key).ok_or_else(missing)?;
            if is_plain(call, resource) {
                (Some(entry.json.clone()), None)
            } else {
                (None, Some(entry.value()))
            }
        }
    };
    if let Some(json) = json {
        return Ok(bytes_response(StatusCode::OK, Encoding::Json.media_type(), json));
    }
    let value = convert(value.unwrap_or_default(), resource);
    crate::front::object_response(call, resource, 200, &value)
}

/// The stored bytes are the answer.
pub(super) fn is_plain(call: &Call, resource: &Resource) -> bool {
    call.accepted.view == View::Object
        && call.accepted.encoding == Encoding::Json
        && !resource.needs_conversion()
}
