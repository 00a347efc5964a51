//! APIServices of groups that this server serves itself are available, always.
//!
//! Follows kube-aggregator/pkg/controllers/status/local (Kubernetes 1.36).

use super::built_in;
use crate::cache::Filter;
use crate::state::{State, read_error};
use crate::verbs::{Next, Ownership, Writer, change_object};
use apiserver_core::{ApiError, tree};
use serde_json::{Value, json};

pub(super) async fn mark_available(state: &State) -> Result<(), ApiError> {
    let services = built_in(state, "apiregistration.k8s.io", "apiservices")?;
    let cache = state.cache_of(&services);
    state
        .caches
        .fresh(&cache)
        .await
        .map_err(|error| read_error(&error))?;
    for entry in cache.list(&Filter::default()).0 {
        let mut writer = Writer::loopback(state.now());
        let now = writer.now_text();
        if available(&entry.value(), &now).is_none() {
            continue;
        }
        writer.subresource = "status".to_owned();
        let mut change = |current: Option<&Value>| {
            let current =
                current.ok_or_else(|| ApiError::not_found(&services.group_resource(), &entry.name))?;
            let object = available(current, &now).unwrap_or_else(|| current.clone());
            Ok(Next {
                object,
                ownership: Ownership::Update,
            })
        };
        change_object(state, &services, &mut writer, "", &entry.name, &mut change).await?;
    }
    Ok(())
}

/// The APIService with its condition; `None` when it has it or is served elsewhere.
fn available(service: &Value, now: &str) -> Option<Value> {
    let has = tree::list(service, &["status", "conditions"])
        .iter()
        .any(|condition| condition["type"] == "Available");
    if has || tree::at(service, &["spec", "service"]).is_some() {
        return None;
    }
    let mut new = service.clone();
    let condition = json!({"type": "Available", "status": "True", "lastTransitionTime": now, "reason": "Local",
        "message": "Local APIServices are always available"});
    tree::set(&mut new, &["status", "conditions"], json!([condition]));
    Some(new)
}
