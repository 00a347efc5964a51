//! Admission: the plugins of `apiserver_core::admission` over what this server's caches hold.

mod objects;

use crate::state::State;
use crate::verbs::Writer;
use apiserver_core::admission::{Context, Request};
use apiserver_core::{ApiError, Resource, names, tree};
use objects::{Looked, prepare};
use serde_json::Value;

pub(crate) use apiserver_core::admission::Operation;

/// Runs of the plugins, each with what the one before found missing in the caches.
const ATTEMPTS: usize = 3;

/// The mutating plugins.
pub(crate) async fn mutate(
    state: &State,
    resource: &Resource,
    writer: &mut Writer,
    operation: Operation,
    new: &mut Value,
    old: Option<&Value>,
) -> Result<(), ApiError> {
    prepare(state).await?;
    let mut objects = Looked::new(state);
    for attempt in 1.. {
        let mut candidate = new.clone();
        let (outcome, warnings) = {
            let mut suffix = suffix(state);
            let mut context = Context {
                objects: &objects,
                suffix: &mut suffix,
                tolerations: state.tolerations,
                warnings: Vec::new(),
            };
            let request = request(resource, writer, operation, new, old);
            let outcome = apiserver_core::admission::mutate(&request, &mut candidate, &mut context);
            (outcome, context.warnings)
        };
        // A refusal may come from a cache that is a moment behind: what wasn't there is asked from the store.
        if outcome.is_err() && attempt < ATTEMPTS && objects.fetch_missing().await? {
            continue;
        }
        outcome?;
        *new = candidate;
        writer.warnings.extend(warnings);
        return Ok(());
    }
    Ok(())
}

/// The validating plugins; `new` is absent for a deletion.
pub(crate) async fn validate(
    state: &State,
    resource: &Resource,
    writer: &mut Writer,
    operation: Operation,
    new: Option<&Value>,
    old: Option<&Value>,
) -> Result<(), ApiError> {
    prepare(state).await?;
    let mut objects = Looked::new(state);
    for attempt in 1.. {
        let (outcome, warnings) = {
            let mut suffix = suffix(state);
            let mut context = Context {
                objects: &objects,
                suffix: &mut suffix,
                tolerations: state.tolerations,
                warnings: Vec::new(),
            };
            let about = new.or(old).unwrap_or(&Value::Null);
            let request = request(resource, writer, operation, about, old);
            let outcome = apiserver_core::admission::validate(&request, new, &mut context);
            (outcome, context.warnings)
        };
        if outcome.is_err() && attempt < ATTEMPTS && objects.fetch_missing().await? {
            continue;
        }
        outcome?;
        writer.warnings.extend(warnings);
        return Ok(());
    }
    Ok(())
}

fn request<'a>(
    resource: &'a Resource,
    writer: &'a Writer,
    operation: Operation,
    object: &'a Value,
    old: Option<&'a Value>,
) -> Request<'a> {
    Request {
        operation,
        resource,
        subresource: &writer.subresource,
        namespace: tree::namespace(object),
        name: tree::name(object),
        user: writer.user.subject(),
        old,
    }
}

fn suffix(state: &State) -> impl FnMut() -> String + '_ {
    || {
        let mut random = [0_u8; 5];
        state.env.random.fill(&mut random);
        names::suffix(random)
    }
}
