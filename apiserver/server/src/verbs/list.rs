//! LIST: from the watch cache, or from the store at a pinned revision.

use super::get::{WAIT_FOR_REVISION, is_plain};
use super::object::convert;
use super::selection::filter;
use super::tables::{table, table_options};
use crate::cache::{Entry, Filter, WatchCache};
use crate::front::Call;
use crate::http::{Encoding, Response, View, bytes_response};
use crate::state::{State, read_error, store_error};
use crate::store::StoreError;
use apiserver_core::continue_token::ContinueToken;
use apiserver_core::options::ListOptions;
use apiserver_core::resource_version::{ReadAt, of_list};
use apiserver_core::{ApiError, Resource};
use http::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;

/// Keys read at once from the store for a page with selectors, which may have to read many for few matches.
const STORE_PAGE: i64 = 500;

/// What a list answers.
pub(super) struct Listed {
    pub entries: Vec<Arc<Entry>>,
    pub revision: i64,
    pub continue_token: Option<String>,
    pub remaining: Option<i64>,
}

pub(crate) async fn list(state: &State, resource: &Resource, call: &Call) -> Result<Response, ApiError> {
    let options = ListOptions::from_query(call.query())?;
    let listed = list_entries(state, resource, &call.info.namespace, &call.info.name, &options).await?;
    render(call, resource, &listed)
}

pub(super) async fn list_entries(
    state: &State,
    resource: &Resource,
    namespace: &str,
    name: &str,
    options: &ListOptions,
) -> Result<Listed, ApiError> {
    let filter = filter(resource, namespace, name, options)?;
    let limit = usize::try_from(options.limit).unwrap_or(usize::MAX);
    let prefix = resource.key_prefix(namespace);
    if !options.continue_token.is_empty() {
        let token = ContinueToken::decode(&options.continue_token).map_err(ApiError::bad_request)?;
        // -1: the first page's revision is gone, and the client goes on with what is there now.
        let revision = token.resource_version.max(0);
        return from_store(
            state,
            resource,
            &filter,
            &prefix,
            &token.start_key,
            revision,
            limit,
        )
        .await;
    }
    let cache = state.cache_of(resource);
    match of_list(options)? {
        ReadAt::Exact(revision) => {
            let revision = i64::try_from(revision).unwrap_or(i64::MAX);
            return from_store(state, resource, &filter, &prefix, "", revision, limit).await;
        }
        ReadAt::MostRecent => state
            .caches
            .fresh(&cache)
            .await
            .map_err(|error| read_error(&error))?,
        ReadAt::Any => {
            state
                .caches
                .ready(&cache)
                .await
                .map_err(|error| read_error(&error.into()))?;
            // Any state will do, so all of it comes at once, from here.
            return Ok(from_cache(&cache, &filter, &prefix, 0));
        }
        ReadAt::NotOlderThan(revision) => {
            let revision = i64::try_from(revision).unwrap_or(i64::MAX);
            state
                .caches
                .ready(&cache)
                .await
                .map_err(|error| read_error(&error.into()))?;
            cache
                .wait_until(revision, WAIT_FOR_REVISION)
                .await
                .map_err(|error| read_error(&error.into()))?;
        }
    }
    Ok(from_cache(&cache, &filter, &prefix, limit))
}

fn from_cache(cache: &WatchCache, filter: &Filter, prefix: &str, limit: usize) -> Listed {
    let (mut entries, revision) = cache.list(filter);
    if limit == 0 || entries.len() <= limit {
        return Listed {
            entries,
            revision,
            continue_token: None,
            remaining: None,
        };
    }
    let remaining = entries.len() - limit;
    entries.truncate(limit);
    let start_key = entries
        .last()
        .map(|entry| after(&cache.prefix, prefix, &entry.key))
        .unwrap_or_default();
    Listed {
        entries,
        revision,
        continue_token: Some(
            ContinueToken {
                resource_version: revision,
                start_key,
            }
            .encode(),
        ),
        // Nobody knows how many of the rest match a selector without reading them; upstream doesn't say either.
        remaining: (!filter.selects()).then(|| i64::try_from(remaining).unwrap_or(i64::MAX)),
    }
}

/// The first key after `key`, below the listed prefix.
fn after(cache_prefix: &str, prefix: &str, key: &str) -> String {
    let full = format!("{cache_prefix}{key}\0");
    full.strip_prefix(prefix).unwrap_or(&full).to_owned()
}

#[allow(clippy::too_many_arguments)]
async fn from_store(
    state: &State,
    resource: &Resource,
    filter: &Filter,
    prefix: &str,
    start: &str,
    revision: i64,
    limit: usize,
) -> Result<Listed, ApiError> {
    let all = resource.key_prefix("");
    let fields_of = state.fields_of(resource);
    let end = crate::cache::prefix_end(prefix);
    let mut next = format!("{prefix}{start}").into_bytes();
    let mut pinned = revision;
    let mut entries = Vec::new();
    loop {
        let want = match (limit, filter.selects()) {
            (0, _) | (_, true) => STORE_PAGE,
            (limit, false) => i64::try_from(limit - entries.len())
                .unwrap_or(STORE_PAGE)
                .min(STORE_PAGE),
        };
        let page = state
            .store
            .list(&next, &end, want, pinned)
            .await
            .map_err(|error| list_error(&error, pinned, start))?;
        if pinned == 0 {
            pinned = page.revision;
        }
        let mut left = page.count - i64::try_from(page.items.len()).unwrap_or(0);
        let count = page.items.len();
        for (index, stored) in page.items.iter().enumerate() {
            next = [&stored.key[..], b"\0"].concat();
            let key = String::from_utf8_lossy(&stored.key);
            let key = key.strip_prefix(&all).unwrap_or(&key).to_owned();
            let Some(entry) = Entry::decode(key, &stored.value, stored.mod_revision, &fields_of) else {
                continue;
            };
            if filter.matches(&entry) {
                entries.push(Arc::new(entry));
            }
            if limit > 0 && entries.len() == limit {
                left += i64::try_from(count - index - 1).unwrap_or(0);
                break;
            }
        }
        let full = limit > 0 && entries.len() >= limit;
        if left <= 0 || count == 0 {
            return Ok(Listed {
                entries,
                revision: pinned,
                continue_token: None,
                remaining: None,
            });
        }
        if full {
            let start_key = String::from_utf8_lossy(&next);
            let start_key = start_key.strip_prefix(prefix).unwrap_or(&start_key).to_owned();
            return Ok(Listed {
                entries,
                revision: pinned,
                continue_token: Some(
                    ContinueToken {
                        resource_version: pinned,
                        start_key,
                    }
                    .encode(),
                ),
                remaining: (!filter.selects()).then_some(left),
            });
        }
    }
}

fn list_error(error: &StoreError, revision: i64, start: &str) -> ApiError {
    match error {
        // The client may go on with an inconsistent list.
        StoreError::Compacted if !start.is_empty() => {
            let token = ContinueToken {
                resource_version: -1,
                start_key: start.to_owned(),
            };
            ApiError::expired_continue(token.encode())
        }
        StoreError::Compacted => ApiError::expired_list(),
        StoreError::Future => ApiError::resource_version_too_large(u64::try_from(revision).unwrap_or(0), 0),
        other => store_error(other),
    }
}

fn render(call: &Call, resource: &Resource, listed: &Listed) -> Result<Response, ApiError> {
    let mut metadata = json!({"resourceVersion": listed.revision.to_string()});
    if let Some(token) = &listed.continue_token {
        metadata["continue"] = json!(token);
    }
    if let Some(remaining) = listed.remaining {
        metadata["remainingItemCount"] = json!(remaining);
    }
    if is_plain(call, resource) {
        let head = format!(
            "{{\"kind\":\"{}\",\"apiVersion\":\"{}\",\"metadata\":{metadata},\"items\":[",
            resource.list_kind,
            resource.api_version()
        );
        let size = head.len()
            + 3
            + listed
                .entries
                .iter()
                .map(|entry| entry.json.len() + 1)
                .sum::<usize>();
        let mut body = Vec::with_capacity(size);
        body.extend_from_slice(head.as_bytes());
        for (index, entry) in listed.entries.iter().enumerate() {
            if index > 0 {
                body.push(b',');
            }
            body.extend_from_slice(&entry.json);
        }
        body.extend_from_slice(b"]}\n");
        return Ok(bytes_response(StatusCode::OK, Encoding::Json.media_type(), body));
    }
    let items = listed
        .entries
        .iter()
        .map(|entry| convert(entry.value(), resource))
        .collect::<Vec<Value>>();
    let value = match call.accepted.view {
        View::Table(version) => table(resource, &items, metadata, table_options(call, version)?),
        View::PartialMetadata(version) => {
            let items: Vec<Value> = items
                .iter()
                .map(|item| crate::front::partial(item, version))
                .collect();
            json!({"kind": "PartialObjectMetadataList", "apiVersion": format!("meta.k8s.io/{version}"),
                "metadata": metadata, "items": items})
        }
        View::Object | View::Discovery(_) => json!({"kind": resource.list_kind,
            "apiVersion": resource.api_version(), "metadata": metadata, "items": items}),
    };
    Ok(crate::front::value_response(200, &value, call.accepted))
}
