//! Who looks at a cluster from outside: records what the store holds, revision by revision, and asks at the end
//! whether everything came to what its users want.

use crate::users::{Wanted, Wishlist};
use anyhow::{Context as _, ensure};
use chaos_store::Violation;
use chaos_store::client::Client;
use chaos_store::history::{History, now};
use chaos_store::observer::{Report, look};
use chaos_store::stage::{Board, Stage};
use chaos_store::workload::recorder;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod};
use kube::api::{Api, ListParams};
use kubeclient::ClientConfig;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use support::Env;
use tokio::time::{Instant, sleep, timeout};

const LOOK: Duration = Duration::from_millis(400);
const CALL: Duration = Duration::from_secs(5);
/// A condition that isn't met by then is not met: longer than any fail-over and any back-off that faults of
/// this length can lead to.
const BOUND: Duration = Duration::from_secs(150);

/// Where a cluster can be asked.
#[derive(Debug, Clone)]
pub struct Entrances {
    /// The members of the store, as `Env::net` knows them.
    pub stores: Vec<&'static str>,
    /// Every API server, with what makes an administrator who asks only this one.
    pub apis: Vec<(&'static str, ClientConfig)>,
}

/// What the observer needs.
#[derive(Clone)]
pub struct Observer {
    pub env: Env,
    pub entrances: Entrances,
    pub nodes: Vec<&'static str>,
    pub history: History,
    pub board: Board,
    pub report: Report,
    pub wishes: Wishlist,
}

impl Observer {
    /// Observes until all conditions are met, or one is not.
    pub async fn observe(self) {
        let members: &'static [&'static str] = self.entrances.stores.clone().leak();
        for member in members {
            let name = format!("recorder-of-{member}");
            let client = Client::new(name, self.env.clone(), &[*member], self.history.clone());
            tokio::spawn(recorder(client, self.board.clone()));
        }
        let looking = tokio::spawn(look(
            self.env.clone(),
            members,
            self.board.clone(),
            self.report.clone(),
        ));
        let mut judged = self.judge().await;
        if judged.is_ok() {
            // What the recorders have not heard yet would look as if it had never been.
            judged = self.until_recorded().await;
        }
        self.report.with(|findings| findings.violation = judged.err());
        self.board.enter(Stage::Done);
        looking.abort();
    }

    async fn judge(&self) -> Result<(), Violation> {
        self.eventually("every node becomes ready", async || self.nodes_ready().await)
            .await?;
        self.board.come_up();
        while self.board.stage() < Stage::Quiet {
            sleep(LOOK).await;
        }
        let since = now();
        for (api, config) in &self.entrances.apis {
            let condition = format!("{api} shows what every user wants");
            self.eventually(&condition, async || self.wishes_at(config).await)
                .await?;
            let condition = format!("{api} shows nothing that should be gone, and no pod that is not well");
            self.eventually(&condition, async || self.no_leftovers_at(config).await)
                .await?;
        }
        self.report
            .with(|findings| findings.healed_in = now().saturating_sub(since));
        Ok(())
    }

    /// Until every recorder has heard of everything that happened before this call.
    async fn until_recorded(&self) -> Result<(), Violation> {
        self.eventually(
            "a watcher on every member of the store is told of everything",
            async || {
                let maps: Api<ConfigMap> = Api::all(self.first_client()?);
                let listed = maps.list(&ListParams::default()).await?;
                let version = listed
                    .metadata
                    .resource_version
                    .context("a list without version")?;
                let last: i64 = version.parse()?;
                for member in &self.entrances.stores {
                    let reached = self.board.recorded_of(member);
                    ensure!(
                        reached >= last,
                        "{member} has told of {reached}, the last revision is {last}"
                    );
                }
                Ok(())
            },
        )
        .await
    }

    async fn eventually(
        &self,
        condition: &str,
        look: impl AsyncFn() -> anyhow::Result<()>,
    ) -> Result<(), Violation> {
        let began = Instant::now();
        loop {
            let looked = timeout(CALL, look()).await.context("no answer").flatten();
            let complaint = match looked {
                Ok(()) => return Ok(()),
                Err(complaint) => complaint,
            };
            if began.elapsed() > BOUND {
                return Err(Violation::liveness(
                    condition,
                    format!("not within {BOUND:?}: {complaint:#}"),
                ));
            }
            sleep(LOOK).await;
        }
    }

    fn client(&self, api: &ClientConfig) -> anyhow::Result<kube::Client> {
        Ok(kubeclient::client(&self.env, api)?)
    }

    fn first_client(&self) -> anyhow::Result<kube::Client> {
        let (_, config) = self
            .entrances
            .apis
            .first()
            .context("a cluster has an API server")?;
        self.client(config)
    }

    async fn nodes_ready(&self) -> anyhow::Result<()> {
        let nodes: Api<Node> = Api::all(self.first_client()?);
        let nodes = nodes.list(&ListParams::default()).await?.items;
        for name in &self.nodes {
            let node = nodes
                .iter()
                .find(|node| node.metadata.name.as_deref() == Some(name));
            let node = node.with_context(|| format!("{name} is not registered"))?;
            let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
            let ready = conditions
                .into_iter()
                .flatten()
                .any(|condition| condition.type_ == "Ready" && condition.status == "True");
            ensure!(ready, "{name} is not ready");
        }
        Ok(())
    }

    async fn wishes_at(&self, api: &ClientConfig) -> anyhow::Result<()> {
        let deployments: Api<Deployment> = Api::default_namespaced(self.client(api)?);
        let sets: Api<StatefulSet> = Api::default_namespaced(self.client(api)?);
        for ((kind, name), wanted) in self.wishes.all() {
            let found = if kind == "Deployment" {
                deployments
                    .get_opt(&name)
                    .await?
                    .map(|found| deployment_counts(&found))
            } else {
                sets.get_opt(&name).await?.map(|found| stateful_counts(&found))
            };
            match (wanted, found) {
                (None, None) => {}
                (None, Some(_)) => anyhow::bail!("{kind} {name} is still there"),
                (Some(_), None) => anyhow::bail!("{kind} {name} is not there"),
                (Some(wanted), Some(found)) => {
                    let right = found.current
                        && found.image == wanted.image
                        && [found.replicas, found.updated, found.available] == [wanted.replicas; 3];
                    ensure!(right, "{kind} {name}: wanted {wanted:?}, is {found:?}");
                }
            }
        }
        Ok(())
    }

    /// Exactly the pods that are wanted, each running on a node, no two with one address; no ReplicaSet
    /// without its Deployment.
    async fn no_leftovers_at(&self, api: &ClientConfig) -> anyhow::Result<()> {
        let pods: Api<Pod> = Api::default_namespaced(self.client(api)?);
        let sets: Api<ReplicaSet> = Api::default_namespaced(self.client(api)?);
        let mut wanted: BTreeMap<String, i32> = BTreeMap::new();
        let wishes = self.wishes.all();
        for ((_, name), wish) in &wishes {
            wanted.insert(
                name.clone(),
                wish.as_ref().map_or(0, |wish: &Wanted| wish.replicas),
            );
        }
        let mut addresses = BTreeSet::new();
        let mut found: BTreeMap<String, i32> = BTreeMap::new();
        for pod in pods.list(&ListParams::default()).await?.items {
            let name = pod.metadata.name.clone().unwrap_or_default();
            let app = pod.metadata.labels.and_then(|labels| labels.get("app").cloned());
            ensure!(
                pod.metadata.deletion_timestamp.is_none(),
                "{name} is still being deleted"
            );
            let status = pod.status.context("a pod without status")?;
            ensure!(
                status.phase.as_deref() == Some("Running"),
                "{name} is {:?}",
                status.phase
            );
            let address = status.pod_ip.context("a running pod without address")?;
            ensure!(addresses.insert(address.clone()), "{address} belongs to two pods");
            *found.entry(app.unwrap_or_default()).or_default() += 1;
        }
        for (app, wanted) in wanted {
            let found = found.remove(&app).unwrap_or(0);
            ensure!(found == wanted, "{found} pods of {app}, wanted are {wanted}");
        }
        ensure!(found.is_empty(), "pods of nobody: {found:?}");
        for set in sets.list(&ListParams::default()).await?.items {
            let owner = set.metadata.owner_references.unwrap_or_default();
            let owner = owner.first().map(|owner| owner.name.clone()).unwrap_or_default();
            let there = matches!(wishes.get(&("Deployment", owner.clone())), Some(Some(_)));
            ensure!(there, "a ReplicaSet of {owner:?}, which is gone");
        }
        Ok(())
    }
}

/// How far a workload is.
#[derive(Debug)]
struct Counts {
    /// Its controller has seen the newest wish.
    current: bool,
    image: String,
    replicas: i32,
    updated: i32,
    available: i32,
}

fn image(template: Option<&k8s_openapi::api::core::v1::PodTemplateSpec>) -> String {
    let spec = template.and_then(|template| template.spec.as_ref());
    let container = spec.and_then(|spec| spec.containers.first());
    container
        .and_then(|container| container.image.clone())
        .unwrap_or_default()
}

fn deployment_counts(found: &Deployment) -> Counts {
    let status = found.status.clone().unwrap_or_default();
    Counts {
        current: status.observed_generation == found.metadata.generation,
        image: image(found.spec.as_ref().map(|spec| &spec.template)),
        replicas: status.replicas.unwrap_or(0),
        updated: status.updated_replicas.unwrap_or(0),
        available: status.available_replicas.unwrap_or(0),
    }
}

fn stateful_counts(found: &StatefulSet) -> Counts {
    let status = found.status.clone().unwrap_or_default();
    let updated = if status.update_revision == status.current_revision {
        status.replicas
    } else {
        status.updated_replicas.unwrap_or(0)
    };
    Counts {
        current: status.observed_generation == found.metadata.generation,
        image: image(found.spec.as_ref().map(|spec| &spec.template)),
        replicas: status.replicas,
        updated,
        available: status.available_replicas.unwrap_or(0),
    }
}
