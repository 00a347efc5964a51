//! Two candidates and the rest of the cluster.

use controllers::{Config, ControllerManager};
use kubeclient::{ClientConfig, Credentials};
use serde_json::{Value, json};
use std::ops::Range;
use std::time::Duration;
use support::Random;
use test_api::{Api, Faults, World, keep_alive};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

pub struct Scene {
    pub world: World,
    healed: CancellationToken,
    tasks: Vec<AbortOnDropHandle<()>>,
}

impl Scene {
    /// Two candidates that run these controllers.
    pub fn start(world: &World, controllers: &'static [&'static str]) -> Self {
        Self::start_with(world, controllers, Faults::drawn)
    }

    /// As [`Scene::start`], with these faults in each of their lives.
    pub fn start_with(
        world: &World,
        controllers: &'static [&'static str],
        faults: fn(&Random) -> Faults,
    ) -> Self {
        let mut scene = Self {
            world: world.clone(),
            healed: CancellationToken::new(),
            tasks: Vec::new(),
        };
        for name in ["first", "second"] {
            let (world, healed) = (world.clone(), scene.healed.clone());
            scene.also(keep_alive(world, name, faults, healed, move |client, env| {
                let config = config(name, controllers);
                ControllerManager::with_client(config, env, client).run(CancellationToken::new())
            }));
        }
        scene
    }

    /// Lets somebody else act beside the candidates, until the end of the story.
    pub fn also(&mut self, actor: impl Future<Output = ()> + Send + 'static) {
        self.tasks.push(AbortOnDropHandle::new(tokio::spawn(actor)));
    }

    /// Time for things to go wrong.
    pub async fn trouble(&self, milliseconds: Range<u64>) {
        sleep(Duration::from_millis(self.world.random.below(milliseconds))).await;
    }

    /// No more faults; waits until the end is reached.
    pub async fn heals(&self, done: impl FnMut(&Api) -> Result<(), String>) {
        self.healed.cancel();
        self.world.settles(done).await;
    }
}

fn config(identity: &str, controllers: &[&str]) -> Config {
    let nowhere = ClientConfig {
        servers: Vec::new(),
        ca_pem: None,
        credentials: Credentials::Anonymous,
        user_agent: String::new(),
    };
    let mut config = Config::new(nowhere, identity);
    config.controllers = controllers.iter().map(|&name| name.to_owned()).collect();
    config.cluster_cidr = Some("10.0.0.0/20".to_owned());
    config.root_ca_pem = Some("PEM".to_owned());
    config
}

/// Scheduler and node agents: new pods start, those of Jobs end, those that are deleted go.
pub async fn agents(world: World) {
    loop {
        sleep(Duration::from_millis(world.random.below(20..400))).await;
        for pod in world.api.list("pods") {
            if world.chance(2) {
                attend(&world, &pod);
            }
        }
    }
}

fn attend(world: &World, pod: &Value) {
    let (namespace, name) = (
        text(&pod["metadata"]["namespace"]),
        text(&pod["metadata"]["name"]),
    );
    let of_job = pod["metadata"]["ownerReferences"][0]["kind"] == "Job";
    if !pod["metadata"]["deletionTimestamp"].is_null() {
        if pod["metadata"]["deletionGracePeriodSeconds"] != 0 {
            world.api.confirm(namespace, name);
        }
    } else if pod["status"]["phase"] == "Pending" {
        let node = pod["spec"]["nodeName"].as_str().unwrap_or("n1");
        let mut running = running(world);
        running["spec"]["nodeName"] = json!(node);
        world.api.change("pods", namespace, name, running);
    } else if of_job && pod["status"]["phase"] == "Running" {
        world
            .api
            .change("pods", namespace, name, json!({"status": {"phase": "Succeeded"}}));
    }
}

/// The state of a pod that runs and is ready, at an address of its own.
pub fn running(world: &World) -> Value {
    let now = world.env().clock.now().to_string();
    let address = format!(
        "10.9.{}.{}",
        world.random.below(0..250),
        world.random.below(0..250)
    );
    json!({"status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}],
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": now}]}})
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Whether it is so, or what isn't.
pub fn so(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}
