//! Users who write down values that nobody else writes, and remember which were acknowledged, and at which version.

use chaos_store::history::now;
use chaos_store::stage::Board;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use support::Random;
use tokio::time::{sleep, timeout};

/// A write that isn't answered by then is given up: it may have happened or not. The next goes elsewhere.
const CALL: Duration = Duration::from_secs(1);
const FIELD: &str = "value";

/// An acknowledged write.
#[derive(Debug, Clone)]
pub struct Written {
    pub writer: usize,
    pub called: Duration,
    pub returned: Duration,
    pub value: String,
    /// The version that the answer gave.
    pub version: i64,
}

/// All acknowledged writes of a run; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Records(Arc<Mutex<Vec<Written>>>);

impl Records {
    fn add(&self, written: Written) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(written);
    }

    pub fn take(&self) -> Vec<Written> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The ConfigMap of a writer.
pub fn map_of(writer: usize) -> String {
    format!("written-{writer}")
}

/// Where the values stand in it.
pub const POINTER: &str = "/data/value";

/// Writes until the world is quiet.
pub async fn write(writer: usize, client: Client, random: Random, board: Board, records: Records) {
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    let mut number = 0;
    while board.working() {
        number += 1;
        let (value, called) = (format!("{number} of writer {writer}"), now());
        if let Ok(Ok(map)) = timeout(CALL, put(&maps, writer, &value)).await {
            let version = map.metadata.resource_version.unwrap_or_default();
            records.add(Written {
                writer,
                called,
                returned: now(),
                value,
                version: version.parse().unwrap_or(0),
            });
        }
        sleep(Duration::from_millis(random.below(10..90))).await;
    }
}

async fn put(maps: &Api<ConfigMap>, writer: usize, value: &str) -> kube::Result<ConfigMap> {
    let (name, data) = (map_of(writer), json!({FIELD: value}));
    let patch = Patch::Merge(json!({"data": data}));
    match maps.patch(&name, &PatchParams::default(), &patch).await {
        Err(kube::Error::Api(status)) if status.code == 404 => {
            let map = ConfigMap {
                metadata: kube::api::ObjectMeta {
                    name: Some(name),
                    ..kube::api::ObjectMeta::default()
                },
                data: Some([(FIELD.to_owned(), value.to_owned())].into()),
                ..ConfigMap::default()
            };
            maps.create(&PostParams::default(), &map).await
        }
        patched => patched,
    }
}
