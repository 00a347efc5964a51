//! Small pieces of work for scheduler and controllers, at short intervals: that they are done says that somebody acts.
//!
//! A beat is a pod, which the scheduler binds, and a ReplicaSet of one gated pod, which the controllers make and nobody
//! binds.

use super::NAMESPACE;
use chaos_store::history::now;
use chaos_store::stage::Board;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, DeleteParams, PostParams};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{sleep, timeout};

const CALL: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(150);
/// So many beats stay; those before are removed.
const KEPT: usize = 8;

/// Work that was asked for, and acknowledged.
#[derive(Debug, Clone)]
pub struct Beat {
    pub name: String,
    pub called: Duration,
}

/// What was asked for, of each kind; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Beats(Arc<Mutex<Asked>>);

/// All that was asked for.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    pub pods: Vec<Beat>,
    pub sets: Vec<Beat>,
}

impl Beats {
    pub fn take(&self) -> Asked {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, note: impl FnOnce(&mut Asked)) {
        note(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Beats until the world is quiet; whether the answers come is others' business.
pub async fn beat(client: Client, board: Board, beats: Beats) {
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    let sets: Api<ReplicaSet> = Api::namespaced(client, NAMESPACE);
    let mut kept: Vec<String> = Vec::new();
    let mut number = 0;
    while board.working() {
        number += 1;
        let (name, called) = (format!("beat-{number}"), now());
        let beat = Beat {
            name: name.clone(),
            called,
        };
        let post = PostParams::default();
        let (pod, set) = (pod(&name), set(&name));
        let (pod, set) = tokio::join!(
            timeout(CALL, pods.create(&post, &pod)),
            timeout(CALL, sets.create(&post, &set))
        );
        beats.note(|asked| {
            if matches!(pod, Ok(Ok(_))) {
                asked.pods.push(beat.clone());
            }
            if matches!(set, Ok(Ok(_))) {
                asked.sets.push(beat);
            }
        });
        kept.push(name);
        if kept.len() > KEPT {
            let oldest = kept.remove(0);
            let at_once = DeleteParams::default().grace_period(0);
            let background = DeleteParams::background();
            // What stays behind bothers nobody.
            let _ = tokio::join!(
                timeout(CALL, pods.delete(&oldest, &at_once)),
                timeout(CALL, sets.delete(&oldest, &background))
            );
        }
        sleep(PAUSE).await;
    }
}

fn spec(gates: &Value) -> Value {
    json!({"automountServiceAccountToken": false, "schedulingGates": gates,
        "containers": [{"name": "beat", "image": "beat:1"}]})
}

fn pod(name: &str) -> Pod {
    serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec(&json!([]))})).expect("a Pod")
}

fn set(name: &str) -> ReplicaSet {
    let labels = json!({"set": name});
    serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels}, "spec": spec(&json!([{"name": "chaos/stay"}]))}},
    }))
    .expect("a ReplicaSet")
}
