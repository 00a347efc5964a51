//! A copy of a resource, kept current by list and watch.

mod changes;
mod store;

pub use changes::{Change, Changes};
pub use store::{ObjectKey, Store, object_key};

use futures::{Stream, StreamExt as _};
use kube::Api;
use kube::runtime::watcher::{self, Event};
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;
use support::{Backoff, Env};
use tokio_util::task::AbortOnDropHandle;

/// Watches fail together when a server goes away; the first retry is quick because the next server is there
/// at once, the last is short because staleness costs more than a refused connection.
const RETRY_INITIAL: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// Fills a [`Store`] in the background for as long as it, or a clone of it, lives.
///
/// `Informer<PartialObjectMeta<K>>` asks the API for metadata alone. Objects are kept without their managed fields, which nobody but the API server reads.
pub struct Informer<K> {
    store: Store<K>,
    _task: Arc<AbortOnDropHandle<()>>,
}

impl<K> Clone for Informer<K> {
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            _task: Arc::clone(&self._task),
        }
    }
}

impl<K> Informer<K>
where
    K: kube::Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    /// Follows what `api` and `config` select. Starts at once; must be called inside a tokio runtime.
    pub fn new(api: Api<K>, config: watcher::Config, env: &Env) -> Self {
        Self::over(watcher::watcher(api, config), env)
    }

    /// Follows everything that `api` shows, in one list without pages: our API servers answer it from memory.
    pub fn all(api: Api<K>, env: &Env) -> Self {
        Self::new(api, everything(), env)
    }

    fn over(
        stream: impl Stream<Item = Result<Event<K>, watcher::Error>> + Send + 'static,
        env: &Env,
    ) -> Self {
        let store = Store::empty();
        let backoff = Backoff::new(RETRY_INITIAL, RETRY_MAX, env.random.fork());
        let task = tokio::spawn(follow(stream, store.clone(), backoff));
        Self {
            store,
            _task: Arc::new(AbortOnDropHandle::new(task)),
        }
    }

    pub fn store(&self) -> &Store<K> {
        &self.store
    }

    /// Waits for the first complete list.
    pub async fn synced(&self) {
        self.store.synced().await;
    }

    /// Every object of now and every change from now on; see [`Changes`].
    pub fn subscribe(&self) -> Changes<K> {
        self.store.subscribe()
    }
}

fn everything() -> watcher::Config {
    watcher::Config {
        page_size: None,
        ..watcher::Config::default()
    }
}

async fn follow<K>(
    stream: impl Stream<Item = Result<Event<K>, watcher::Error>>,
    store: Store<K>,
    mut backoff: Backoff,
) where
    K: kube::Resource,
{
    let mut stream = std::pin::pin!(stream);
    let mut listed = Vec::new();
    while let Some(event) = stream.next().await {
        match event {
            // Says only that a list is about to be asked for: one that is refused each time must not look like a success.
            Ok(Event::Init) => listed.clear(),
            Ok(event) => {
                backoff.reset();
                match event {
                    Event::Init => {}
                    Event::InitApply(object) => listed.push(object),
                    Event::InitDone => store.replace(std::mem::take(&mut listed)),
                    Event::Apply(object) => store.apply(object),
                    Event::Delete(object) => store.delete(&object),
                }
            }
            Err(error) => {
                let kind = std::any::type_name::<K>();
                tracing::debug!(
                    kind,
                    error = &error as &dyn std::error::Error,
                    "watch interrupted"
                );
                // The stream goes on from where it was when it's polled again.
                tokio::time::sleep(backoff.delay()).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{RETRY_INITIAL, RETRY_MAX, Store, follow};
    use futures::StreamExt as _;
    use k8s_openapi::api::core::v1::Pod;
    use kube::runtime::watcher::{Error, Event};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;
    use support::{Backoff, Random};

    /// Found with real processes: three control planes that nobody had given rights yet kept each other from starting with
    /// lists that were refused, twenty a second and resource.
    #[tokio::test(start_paused = true)]
    async fn lists_that_are_refused_are_asked_for_less_and_less_often() {
        let lists = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&lists);
        let refused = futures::stream::repeat_with(move || {
            if counted.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
                Ok(Event::<Pod>::Init)
            } else {
                Err(Error::NoResourceVersion)
            }
        });
        let backoff = Backoff::new(RETRY_INITIAL, RETRY_MAX, Random::seeded(1));
        let following = follow(refused.boxed(), Store::empty(), backoff);
        let minute = tokio::time::timeout(Duration::from_secs(60), following).await;
        assert!(minute.is_err());
        let lists = lists.load(Ordering::Relaxed) / 2;
        assert!((25..60).contains(&lists), "{lists} lists in a minute");
    }
}
