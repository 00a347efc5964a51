//! Objects that have to be there, whatever they look like.

use super::built_in;
use crate::cache::Filter;
use crate::state::{State, read_error};
use crate::verbs::{Ownership, Writer, create_object};
use apiserver_core::{ApiError, Reason, Resource, tree};
use futures::TryStreamExt as _;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Writes under way at once: the store commits them together.
const CONCURRENT: usize = 16;

pub(super) async fn ensure(
    state: &State,
    group: &str,
    resource: &str,
    object: Value,
) -> Result<(), ApiError> {
    ensure_all(state, group, resource, vec![object]).await
}

pub(super) async fn ensure_all(
    state: &State,
    group: &str,
    resource: &str,
    objects: Vec<Value>,
) -> Result<(), ApiError> {
    let resource = built_in(state, group, resource)?;
    let cache = state.cache_of(&resource);
    state
        .caches
        .fresh(&cache)
        .await
        .map_err(|error| read_error(&error))?;
    let (entries, _) = cache.list(&Filter::default());
    let present: BTreeSet<(&str, &str)> = entries
        .iter()
        .map(|entry| (entry.namespace.as_str(), entry.name.as_str()))
        .collect();
    let missing = objects
        .into_iter()
        .filter(|object| !present.contains(&(tree::namespace(object), tree::name(object))))
        .collect();
    create_all(state, &resource, missing).await
}

/// Creates what nobody else has created meanwhile.
pub(super) async fn create_all(
    state: &State,
    resource: &Resource,
    objects: Vec<Value>,
) -> Result<(), ApiError> {
    futures::stream::iter(objects.into_iter().map(Ok))
        .try_for_each_concurrent(CONCURRENT, |mut object| async move {
            object["kind"] = json!(resource.kind);
            object["apiVersion"] = json!(resource.api_version());
            let namespace = tree::namespace(&object).to_owned();
            let mut writer = Writer::loopback(state.now());
            match create_object(
                state,
                resource,
                &mut writer,
                &namespace,
                object,
                Ownership::Update,
            )
            .await
            {
                Err(error) if error.reason != Reason::AlreadyExists => Err(error),
                _ => Ok(()),
            }
        })
        .await
}
