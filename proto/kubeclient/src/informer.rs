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
use tokio::sync::watch;
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
    lists: Arc<Lists>,
    _task: Arc<AbortOnDropHandle<()>>,
}

/// Complete lists by number: how many were asked for, and the last that is done.
#[derive(Default)]
struct Lists {
    wanted: watch::Sender<u64>,
    done: watch::Sender<u64>,
}

impl<K> Clone for Informer<K> {
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            lists: Arc::clone(&self.lists),
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
        Self::over(move || watcher::watcher(api.clone(), config.clone()), env)
    }

    /// Follows everything that `api` shows, in one list without pages: our API servers answer it from memory.
    pub fn all(api: Api<K>, env: &Env) -> Self {
        Self::new(api, everything(), env)
    }

    fn over<S>(start: impl Fn() -> S + Send + 'static, env: &Env) -> Self
    where
        S: Stream<Item = Result<Event<K>, watcher::Error>> + Send + 'static,
    {
        let store = Store::empty();
        let lists = Arc::new(Lists::default());
        let backoff = Backoff::new(RETRY_INITIAL, RETRY_MAX, env.random.fork());
        let task = tokio::spawn(follow(start, store.clone(), Arc::clone(&lists), backoff));
        Self {
            store,
            lists,
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

    /// Waits for a complete list that is asked for after this call. From then on the copy shows everything that was
    /// written before the call: whoever begins to act on a warm copy waits for this first. Objects that didn't change
    /// stay as they are, and tell their subscribers nothing.
    pub async fn refreshed(&self) {
        let mut mine = 0;
        self.lists.wanted.send_modify(|wanted| {
            *wanted += 1;
            mine = *wanted;
        });
        let mut done = self.lists.done.subscribe();
        // The sender lives in `self`, so waiting can't fail.
        let _ = done.wait_for(|done| *done >= mine).await;
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

/// Lists and watches for ever; begins anew, with a list, when one is asked for.
async fn follow<K, S>(start: impl Fn() -> S, store: Store<K>, lists: Arc<Lists>, mut backoff: Backoff)
where
    K: kube::Resource,
    S: Stream<Item = Result<Event<K>, watcher::Error>>,
{
    let mut wanted = lists.wanted.subscribe();
    loop {
        // Read before the list is asked for, so that the list is newer than every wish it fulfils.
        let number = *wanted.borrow_and_update();
        let mut stream = std::pin::pin!(start());
        let mut listed = Vec::new();
        let mut complete = false;
        loop {
            let event = tokio::select! {
                biased;
                // A list under way is taken in first: many wishes can't keep the copy from ever being complete.
                Ok(()) = wanted.changed(), if complete => break,
                event = stream.next() => event,
            };
            match event {
                // Says only that a list is about to be asked for: one that is refused each time must not look like a success.
                Some(Ok(Event::Init)) => listed.clear(),
                Some(Ok(event)) => {
                    backoff.reset();
                    match event {
                        Event::Init => {}
                        Event::InitApply(object) => listed.push(object),
                        Event::InitDone => {
                            store.replace(std::mem::take(&mut listed));
                            complete = true;
                            lists.done.send_replace(number);
                        }
                        Event::Apply(object) => store.apply(object),
                        Event::Delete(object) => store.delete(&object),
                    }
                }
                Some(Err(error)) => {
                    let kind = std::any::type_name::<K>();
                    tracing::debug!(
                        kind,
                        error = &error as &dyn std::error::Error,
                        "watch interrupted"
                    );
                    // The stream goes on from where it was when it's polled again.
                    tokio::time::sleep(backoff.delay()).await;
                }
                None => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Event, Informer, Lists, RETRY_INITIAL, RETRY_MAX, Store, follow};
    use futures::stream::{self, StreamExt as _};
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::runtime::watcher::Error;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;
    use support::{Backoff, Env, Random};

    /// A watch that shows what its list shows, and nothing that happens later.
    fn blind(number: u64) -> Vec<Event<ConfigMap>> {
        let mut map = ConfigMap::default();
        map.metadata.name = Some(format!("map-{number}"));
        vec![Event::Init, Event::InitApply(map), Event::InitDone]
    }

    #[tokio::test]
    async fn a_refreshed_copy_shows_a_list_that_was_asked_for_afterwards() {
        let env = Env {
            random: Random::seeded(1),
            ..Env::production()
        };
        let lists = AtomicU64::new(0);
        let start = move || {
            let events = blind(lists.fetch_add(1, Ordering::Relaxed));
            stream::iter(events.into_iter().map(Ok)).chain(stream::pending())
        };
        let informer = Informer::over(start, &env);
        informer.synced().await;
        assert!(informer.store().get("map-0").is_some());
        informer.refreshed().await;
        assert!(informer.store().get("map-0").is_none());
        assert!(informer.store().get("map-1").is_some());
    }

    /// Found with real processes: three control planes that nobody had given rights yet kept each other from starting with
    /// lists that were refused, twenty a second and resource.
    #[tokio::test(start_paused = true)]
    async fn lists_that_are_refused_are_asked_for_less_and_less_often() {
        let asked = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&asked);
        let refused = move || {
            let counted = Arc::clone(&counted);
            stream::repeat_with(move || {
                if counted.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
                    Ok(Event::<ConfigMap>::Init)
                } else {
                    Err(Error::NoResourceVersion)
                }
            })
            .boxed()
        };
        let backoff = Backoff::new(RETRY_INITIAL, RETRY_MAX, Random::seeded(1));
        let following = follow(refused, Store::empty(), Arc::new(Lists::default()), backoff);
        let minute = tokio::time::timeout(Duration::from_secs(60), following).await;
        assert!(minute.is_err());
        let lists = asked.load(Ordering::Relaxed) / 2;
        assert!((25..60).contains(&lists), "{lists} lists in a minute");
    }
}
