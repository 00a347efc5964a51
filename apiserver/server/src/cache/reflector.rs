//! The one writer of a watch cache: lists once, then follows the store.

use super::{Entry, FieldsOf, WatchCache};
use crate::store::{StoreClient, StoreError, StoreEvent, StoreWatch, WatchMessage};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use support::{Backoff, Env};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Objects a page of the first fill.
const PAGE: i64 = 2000;
/// An idle cache asks this often how far its watch is, so that bookmarks move and clients never fall behind
/// the compaction.
const IDLE_PROGRESS: Duration = Duration::from_secs(30);
/// A store that was asked how far it is, and sends nothing for so long, is asked no more: another member is watched.
const SILENCE: Duration = Duration::from_secs(4);

/// Keeps `cache` filled until cancelled.
pub(super) async fn reflect(
    cache: Arc<WatchCache>,
    store: Arc<StoreClient>,
    fields_of: FieldsOf,
    env: Env,
    cancel: CancellationToken,
) {
    let work = async {
        let mut backoff = Backoff::new(
            Duration::from_millis(50),
            Duration::from_secs(2),
            env.random.clone(),
        );
        loop {
            let error = match fill(&cache, &store, &fields_of).await {
                Ok(()) => {
                    backoff.reset();
                    follow(&cache, &store, &fields_of, &env).await
                }
                Err(error) => error,
            };
            tracing::warn!(prefix = %cache.prefix, %error, "watch cache starts over");
            tokio::time::sleep(backoff.delay()).await;
        }
    };
    tokio::select! {
        biased;
        () = cancel.cancelled() => {}
        () = work => {}
    }
    cache.close();
}

/// The first key after all keys with this prefix.
pub(crate) fn prefix_end(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    // Prefixes end with '/', which is below 0xff.
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

async fn fill(cache: &WatchCache, store: &StoreClient, fields_of: &FieldsOf) -> Result<(), StoreError> {
    let end = prefix_end(&cache.prefix);
    let mut start = cache.prefix.as_bytes().to_vec();
    let mut pinned = 0;
    let mut objects = BTreeMap::new();
    loop {
        let page = store.list(&start, &end, PAGE, pinned).await?;
        if pinned == 0 {
            pinned = page.revision;
        }
        let more = page.count > i64::try_from(page.items.len()).unwrap_or(i64::MAX);
        if let Some(last) = page.items.last() {
            start = [&last.key[..], b"\0"].concat();
        }
        for stored in &page.items {
            if let Some(key) = below(&cache.prefix, &stored.key)
                && let Some(entry) = Entry::decode(key.clone(), &stored.value, stored.mod_revision, fields_of)
            {
                objects.insert(key, Arc::new(entry));
            }
        }
        if !more || page.items.is_empty() {
            break;
        }
    }
    cache.fill(objects, pinned);
    Ok(())
}

/// Follows the store until the history after the cache's revision is lost.
async fn follow(cache: &WatchCache, store: &StoreClient, fields_of: &FieldsOf, env: &Env) -> StoreError {
    let end = prefix_end(&cache.prefix);
    let mut backoff = Backoff::new(
        Duration::from_millis(50),
        Duration::from_secs(2),
        env.random.clone(),
    );
    loop {
        let resumed_at = cache.revision();
        let skipped = i64::from(env.sabotage.is("cache-skips-at-resumption"));
        let next = resumed_at + 1 + skipped;
        let failure = match StoreWatch::open(store, cache.prefix.as_bytes(), &end, next).await {
            Ok(watch) => {
                // Known for good once it has been answered; until then asked at every watch.
                let exact_progress = store.supports_progress().await;
                run(cache, store, watch, fields_of, exact_progress).await
            }
            Err(error) => error,
        };
        if matches!(failure, StoreError::Compacted) {
            return failure;
        }
        if cache.revision() > resumed_at {
            backoff.reset();
        }
        tracing::debug!(prefix = %cache.prefix, error = %failure, "store watch broke, resuming");
        tokio::time::sleep(backoff.delay()).await;
    }
}

async fn run(
    cache: &WatchCache,
    store: &StoreClient,
    mut watch: StoreWatch,
    fields_of: &FieldsOf,
    exact_progress: bool,
) -> StoreError {
    // When it was asked for progress that it hasn't answered.
    let mut asked: Option<Instant> = None;
    loop {
        let message = tokio::select! {
            biased;
            message = watch.next(store) => message,
            () = cache.progress_wanted.notified(), if exact_progress => {
                watch.request_progress();
                asked.get_or_insert_with(Instant::now);
                continue;
            }
            () = tokio::time::sleep(IDLE_PROGRESS), if exact_progress => {
                watch.request_progress();
                asked.get_or_insert_with(Instant::now);
                continue;
            }
            () = tokio::time::sleep_until(asked.unwrap_or_else(Instant::now) + SILENCE), if asked.is_some() => {
                watch.abandon(store).await;
                return StoreError::Unavailable("the store doesn't say how far its watch is".to_owned());
            }
        };
        asked = None;
        match message {
            Err(error) => return error,
            Ok(WatchMessage::Progress { revision }) => cache.progress(revision),
            Ok(WatchMessage::Events { events, revision }) => {
                let changes = events
                    .into_iter()
                    .filter_map(|event| change(cache, event, fields_of))
                    .collect();
                cache.apply(changes, revision);
            }
        }
    }
}

fn change(
    cache: &WatchCache,
    event: StoreEvent,
    fields_of: &FieldsOf,
) -> Option<(String, i64, Option<Entry>)> {
    match event {
        StoreEvent::Put { stored } => {
            let key = below(&cache.prefix, &stored.key)?;
            let entry = Entry::decode(key.clone(), &stored.value, stored.mod_revision, fields_of)?;
            Some((key, stored.mod_revision, Some(entry)))
        }
        StoreEvent::Delete { key, revision } => Some((below(&cache.prefix, &key)?, revision, None)),
    }
}

fn below(prefix: &str, key: &[u8]) -> Option<String> {
    let key = std::str::from_utf8(key).ok()?;
    key.strip_prefix(prefix).map(str::to_owned)
}
