//! Watchers of pods and ConfigMaps, one on each API server, as informers watch: list, watch on, list again only
//! when the past is gone. What they were told is held against the store's own history.

use super::User;
use chaos_store::stage::Stage;
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, ListParams, WatchEvent, WatchParams};
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// A watch that has told nothing for so long is begun again.
const SILENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(300);

/// What one watch was told.
#[derive(Debug, Clone)]
pub struct Session {
    pub api: &'static str,
    /// The folder of the store that the resource is kept in.
    pub folder: &'static str,
    /// Everything after this version was asked for.
    pub from: i64,
    /// Version, name, and whether the object was deleted; in order.
    pub told: Vec<(i64, String, bool)>,
    /// Everything up to here was said to have been told.
    pub bookmark: i64,
}

/// All watches of a world.
#[derive(Debug, Clone, Default)]
pub struct Sessions(Arc<Mutex<Vec<Session>>>);

impl Sessions {
    fn begin(&self, session: Session) -> usize {
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.push(session);
        sessions.len() - 1
    }

    fn change(&self, number: usize, change: impl FnOnce(&mut Session)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner)[number]);
    }

    pub fn take(&self) -> Vec<Session> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Watches through this API server until the world is done.
pub async fn watch_everything(user: User, api: &'static str, sessions: Sessions) {
    let pods: Api<Pod> = Api::default_namespaced(user.client.clone());
    let maps: Api<ConfigMap> = Api::default_namespaced(user.client.clone());
    tokio::join!(
        watch(&user, pods, api, "/registry/pods/default/", &sessions),
        watch(&user, maps, api, "/registry/configmaps/default/", &sessions),
    );
}

fn version(text: Option<&String>) -> i64 {
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

async fn watch<K>(user: &User, objects: Api<K>, api: &'static str, folder: &'static str, sessions: &Sessions)
where
    K: kube::Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let mut from = 0;
    while user.board.stage() < Stage::Done {
        if from == 0 {
            let listed = timeout(SILENCE, objects.list(&ListParams::default())).await;
            match listed {
                Ok(Ok(list)) => from = version(list.metadata.resource_version.as_ref()),
                Ok(Err(_)) | Err(_) => {
                    sleep(PAUSE).await;
                    continue;
                }
            }
        }
        from = listen(user, &objects, (api, folder), from, sessions).await;
        sleep(PAUSE).await;
    }
}

/// One watch; gives the version to go on from, 0 when that is gone.
async fn listen<K>(
    user: &User,
    objects: &Api<K>,
    (api, folder): (&'static str, &'static str),
    from: i64,
    sessions: &Sessions,
) -> i64
where
    K: kube::Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let session = sessions.begin(Session {
        api,
        folder,
        from,
        told: Vec::new(),
        bookmark: from,
    });
    let opened = timeout(SILENCE, objects.watch(&WatchParams::default(), &from.to_string())).await;
    let Ok(Ok(stream)) = opened else { return from };
    let mut stream = stream.boxed_local();
    let mut last = from;
    while user.board.stage() < Stage::Done {
        let Ok(Ok(Some(event))) = timeout(SILENCE, stream.try_next()).await else {
            return last;
        };
        let (object, deleted) = match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => (object, false),
            WatchEvent::Deleted(object) => (object, true),
            WatchEvent::Bookmark(bookmark) => {
                last = last.max(version(Some(&bookmark.metadata.resource_version)));
                sessions.change(session, |session| session.bookmark = session.bookmark.max(last));
                continue;
            }
            WatchEvent::Error(status) => {
                return if status.code == 410 { 0 } else { last };
            }
        };
        let at = version(object.meta().resource_version.as_ref());
        let name = object.meta().name.clone().unwrap_or_default();
        last = last.max(at);
        sessions.change(session, |session| session.told.push((at, name, deleted)));
    }
    last
}
