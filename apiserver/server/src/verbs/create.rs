//! POST: a new object.

use super::object::{convert, parse, set_resource_version, to_storage};
use super::write::{Ownership, Writer};
use crate::admission::{self, Operation};
use crate::front::{Call, object_response};
use crate::http::Response;
use crate::services;
use crate::state::{State, store_error};
use crate::store::{Put, Stored};
use apiserver_core::options::{WriteKind, WriteOptions};
use apiserver_core::{ApiError, Resource, metadata, tree};
use serde_json::Value;

/// Tries for a generated name that is free; upstream's RetryGenerateName.
const NAME_ATTEMPTS: usize = 8;

pub(crate) async fn create(
    state: &State,
    resource: &Resource,
    call: &mut Call,
) -> Result<Response, ApiError> {
    let options = WriteOptions::from_query(call.query(), WriteKind::Create)?;
    let object = call.decode_object(&resource.gvk(), options.field_validation)?;
    let mut writer = Writer::of(call, &options);
    let namespace = call.info.namespace.clone();
    let created = create_object(
        state,
        resource,
        &mut writer,
        &namespace,
        object,
        Ownership::Update,
    )
    .await?;
    call.warnings.append(&mut writer.warnings);
    object_response(call, resource, 201, &created)
}

/// The create pipeline.
pub(crate) async fn create_object(
    state: &State,
    resource: &Resource,
    writer: &mut Writer,
    namespace: &str,
    object: Value,
    ownership: Ownership,
) -> Result<Value, ApiError> {
    let generated = tree::name(&object).is_empty();
    let now = writer.now_text();
    for _ in 0..NAME_ATTEMPTS {
        // Of each attempt: one that was thought to have failed may turn out to have made an object.
        let uid = state.env.random.uuid();
        let mut random = [0_u8; 5];
        state.env.random.fill(&mut random);
        let creation = metadata::Creation {
            uid: &uid,
            now: &now,
            random,
            namespace,
        };
        let mut new = object.clone();
        metadata::begin_create(&mut new, resource, &creation)?;
        resource.strategy.default(&mut new);
        resource.strategy.prepare_for_create(&mut new);
        if resource.gvr.resource == "certificatesigningrequests" {
            name_requester(&mut new, writer);
        }
        if ownership == Ownership::Update {
            crate::ownership::update(&mut new, None, resource, writer);
        }
        admission::mutate(state, resource, writer, Operation::Create, &mut new, None).await?;
        let name = tree::name(&new).to_owned();
        let key = resource.key(namespace, &name);
        let reserved = services::reserve(state, resource, writer, &mut new, None).await?;
        if let Err(error) = check(state, resource, writer, &new).await {
            reserved.release(state).await;
            return Err(error);
        }
        let mut warnings = resource.strategy.warnings(&new, None);
        warnings.extend(crate::unenforced::warning(resource, &new));
        if writer.dry_run {
            writer.warnings.extend(warnings);
            return match state.store.get(&key).await.map_err(|error| store_error(&error))? {
                (Some(_), _) => Err(ApiError::already_exists(&resource.group_resource(), &name)),
                (None, _) => Ok(new),
            };
        }
        let lease = match resource.gvr.resource.as_str() {
            "events" if !resource.custom => state
                .event_leases
                .lease(&state.store)
                .await
                .map_err(|error| store_error(&error))?,
            _ => 0,
        };
        let bytes = to_storage(&new, resource);
        let written = state
            .store
            .put(&key, &bytes, 0, lease)
            .await
            .map_err(|error| store_error(&error));
        match written {
            Ok(Put::Done { revision }) => {
                set_resource_version(&mut new, revision);
                writer.warnings.extend(warnings);
                return Ok(new);
            }
            Ok(Put::Conflict(found)) => {
                if let Some(ours) = found.and_then(|stored| ours(&stored, &uid)) {
                    writer.warnings.extend(warnings);
                    return Ok(convert(ours, resource));
                }
                reserved.release(state).await;
                if !generated {
                    return Err(ApiError::already_exists(&resource.group_resource(), &name));
                }
            }
            Err(error) => {
                reserved.release(state).await;
                return Err(error);
            }
        }
    }
    Err(ApiError::generate_name_conflict(
        &resource.group_resource(),
        tree::text(&object, &["metadata", "generateName"]),
    ))
}

/// What stands in the way of a create, if that create has made it: its answer was lost, and somebody has changed the
/// object before it was tried again. Nobody else could know this UID.
fn ours(found: &Stored, uid: &str) -> Option<Value> {
    parse(found)
        .ok()
        .filter(|object| tree::text(object, &["metadata", "uid"]) == uid)
}

/// Everything that may still refuse the finished object.
async fn check(state: &State, resource: &Resource, writer: &mut Writer, new: &Value) -> Result<(), ApiError> {
    metadata::validate_create(new, resource)?;
    crate::escalation::check(state, resource, writer, new, None).await?;
    admission::validate(state, resource, writer, Operation::Create, Some(new), None).await?;
    crate::quota::charge(state, resource, writer, new, None).await
}

/// Who asks for a certificate is what the server knows, not what the request says.
/// Source: `pkg/registry/certificates/certificates/strategy.go`, `PrepareForCreate` (1.36).
fn name_requester(request: &mut Value, writer: &Writer) {
    let user = &writer.user;
    tree::set(request, &["spec", "username"], user.username.clone());
    if !user.uid.is_empty() {
        tree::set(request, &["spec", "uid"], user.uid.clone());
    }
    tree::set(request, &["spec", "groups"], user.groups.clone());
    if !user.extra.is_empty() {
        tree::set(request, &["spec", "extra"], serde_json::json!(user.extra));
    }
}

#[cfg(test)]
mod tests {
    use super::ours;
    use crate::store::Stored;
    use serde_json::json;

    /// Found with real processes: an answer was lost, the pod was bound meanwhile, and the same UID was given to a second
    /// pod under another generated name.
    #[test]
    fn what_a_lost_answer_has_made_is_known_by_its_uid() {
        let stored = Stored {
            key: "/registry/pods/default/web-1".into(),
            value: json!({"metadata": {"name": "web-1", "uid": "u1"}, "spec": {"nodeName": "n"}})
                .to_string()
                .into(),
            mod_revision: 9,
            lease: 0,
        };
        let found = ours(&stored, "u1").expect("it is ours");
        assert_eq!(found["metadata"]["resourceVersion"], "9");
        assert_eq!(ours(&stored, "u2"), None);
    }
}
