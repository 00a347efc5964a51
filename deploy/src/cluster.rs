//! The life of a local cluster: up, start, stop, delete, growing and shrinking.
//!
//! - Every verb is idempotent and takes the profile's lock.
//! - Nothing is rolled back after a failure: what was made stays as evidence, and the same command
//!   continues from there.
//! - A process that ends while it is waited for ends the waiting, with its last log lines.

use crate::cli::Up;
use crate::pki::{Holder, Pki};
use crate::process::{self, Launch, Processes};
use crate::profile::{self, Node, Profile};
use crate::steps::Steps;
use crate::{api, files, image, join, kubeconfig, leftovers, network, preflight};
use anyhow::{Context as _, bail};
use jiff::Timestamp;
use std::path::{Path, PathBuf};
use std::time::Duration;
use support::Env;

/// Name of the process that is the whole control plane.
pub const CONTROL_PLANE: &str = "control-plane";
/// A first start on a slow, busy machine.
const START_PATIENCE: Duration = Duration::from_secs(90);
/// Time to hand over leases, finish requests and sync.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// Time that containers get to end when their cluster stops.
const CONTAINER_PATIENCE: Duration = Duration::from_secs(5);
/// Tokens made for the nodes of this very machine.
const LOCAL_TOKEN_HOURS: u32 = 1;

/// A profile with what is needed to work on it.
pub struct Cluster {
    pub profile: Profile,
    pub processes: Processes,
    env: Env,
}

impl Cluster {
    fn new(profile: Profile) -> Self {
        Self {
            processes: Processes::new(&profile.run_folder(), &profile.logs()),
            profile,
            env: Env::production(),
        }
    }

    /// # Errors
    /// When there is no such profile.
    pub fn open(name: &str) -> anyhow::Result<Self> {
        let profile = Profile::load(name)?
            .with_context(|| format!("no cluster `{name}`; `trireme profile list` lists them"))?;
        Ok(Self::new(profile))
    }

    /// A client with the administrator's rights.
    ///
    /// # Errors
    /// When the keys can't be read.
    pub fn client(&self) -> anyhow::Result<kube::Client> {
        api::admin(&self.env, &self.profile)
    }

    /// The socket of a node's container runtime.
    pub fn runtime_socket(&self, node: &Node) -> PathBuf {
        self.profile.node_run_folder(node).join("containerd.sock")
    }

    /// Imports an image archive into every node.
    ///
    /// # Errors
    /// When it can't be read or a runtime refuses it.
    pub fn load_image(&self, archive: &Path) -> anyhow::Result<()> {
        let bytes = crate::read_archive(archive)?;
        for node in &self.profile.nodes {
            image::import(&self.runtime_socket(node), &bytes)
                .with_context(|| format!("node {}", node.name))?;
        }
        Ok(())
    }

    async fn launch(&self) -> anyhow::Result<()> {
        let steps = Steps::begin(&format!("cluster `{}`:", self.profile.name));
        steps
            .step("making keys and certificates", async { self.ensure_keys() })
            .await?;
        steps
            .step("making the network", async { network::make(&self.profile) })
            .await?;
        steps
            .step(
                "waiting for the API server to be ready",
                self.start_control_plane(),
            )
            .await?;
        let client = self.client()?;
        steps
            .step("writing the kubeconfig", async { self.write_kubeconfig() })
            .await?;
        steps
            .step("letting nodes join", self.start_agents(&client))
            .await?;
        steps.step("loading images", self.load_builtin_images()).await?;
        for node in &self.profile.nodes {
            let what = format!("waiting for node {} to be ready", node.name);
            steps.step(&what, self.wait_for_node(&client, node)).await?;
        }
        steps.finish(&format!(
            "cluster `{}` is ready; kubectl uses it as context `{}`",
            self.profile.name,
            self.profile.context()
        ));
        Ok(())
    }

    fn ensure_keys(&self) -> anyhow::Result<()> {
        let addresses = [self.profile.control_address().into()];
        Pki::new(&self.profile.pki()).ensure(&addresses, &self.env.random, Timestamp::now())
    }

    async fn start_control_plane(&self) -> anyhow::Result<()> {
        let profile = &self.profile;
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let program = std::env::current_exe().context("finding this program")?;
        self.processes.start(&Launch {
            name: CONTROL_PLANE,
            namespace: &profile.lan_namespace(),
            program: &program,
            args: [
                "server",
                "--address",
                &profile.control_address().to_string(),
                "--data",
                &text(profile.store()),
                "--pki",
                &text(profile.pki()),
            ]
            .map(str::to_owned)
            .to_vec(),
        })?;
        let client = self.client()?;
        api::wait_for(START_PATIENCE, || async {
            self.must_run(CONTROL_PLANE)?;
            Ok(api::ready(&client).await.map_err(|error| format!("{error:#}")))
        })
        .await
        .with_context(|| format!("control plane{}", self.processes.last_words(CONTROL_PLANE)))
    }

    fn write_kubeconfig(&self) -> anyhow::Result<()> {
        let pki = Pki::new(&self.profile.pki());
        let entry = kubeconfig::Entry {
            name: &self.profile.context(),
            server: &self.profile.api_address(),
            ca_pem: &pki.ca()?,
            identity: &pki.identity(Holder::Admin)?,
        };
        kubeconfig::add(&kubeconfig::path()?, &entry)
    }

    async fn start_agents(&self, client: &kube::Client) -> anyhow::Result<()> {
        join::allow(client).await?;
        let mut token = None;
        for node in &self.profile.nodes {
            if self.processes.find(&node.name).is_some() {
                continue;
            }
            let file = self.profile.node_folder(node).join("join-token");
            if !self
                .profile
                .node_folder(node)
                .join("pki/kubelet-client.pem")
                .exists()
            {
                let token = match &token {
                    Some(token) => token,
                    None => token.insert(self.token(client, LOCAL_TOKEN_HOURS).await?),
                };
                files::private_folder(&self.profile.node_folder(node))?;
                files::write(&file, token.as_bytes(), files::SECRET)?;
            }
            self.start_agent(node, &file)?;
        }
        Ok(())
    }

    fn start_agent(&self, node: &Node, token_file: &Path) -> anyhow::Result<()> {
        let profile = &self.profile;
        let program = std::env::current_exe().context("finding this program")?;
        let mut args = vec![
            "agent".to_owned(),
            "--name".to_owned(),
            node.name.clone(),
            "--address".to_owned(),
            profile.node_address(node).to_string(),
            "--server".to_owned(),
            profile.api_address(),
            "--ca".to_owned(),
            profile.pki().join("ca.crt").to_string_lossy().into_owned(),
            "--token-file".to_owned(),
            token_file.to_string_lossy().into_owned(),
            "--data".to_owned(),
            profile.node_folder(node).to_string_lossy().into_owned(),
            "--run".to_owned(),
            profile.node_run_folder(node).to_string_lossy().into_owned(),
        ];
        for mirror in &profile.registry_mirrors {
            args.extend(["--registry-mirror".to_owned(), mirror.clone()]);
        }
        self.processes.start(&Launch {
            name: &node.name,
            namespace: &profile.node_namespace(node),
            program: &program,
            args,
        })?;
        Ok(())
    }

    /// A token with which nodes can join.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn token(&self, client: &kube::Client, hours: u32) -> anyhow::Result<String> {
        join::create_token(client, &self.env.random, Timestamp::now(), hours).await
    }

    async fn load_builtin_images(&self) -> anyhow::Result<()> {
        let archive = image::builtin()?;
        for node in &self.profile.nodes {
            let socket = self.runtime_socket(node);
            api::wait_for(START_PATIENCE, || async {
                self.must_run(&node.name)?;
                // Answers once the runtime serves.
                Ok(image::list(&socket).map_err(|error| format!("{error:#}")))
            })
            .await
            .with_context(|| {
                format!(
                    "container runtime of {}{}",
                    node.name,
                    self.processes.last_words(&node.name)
                )
            })?;
            let present = image::list(&socket)?;
            if !image::builtin_names()
                .iter()
                .all(|name| present.iter().any(|p| p == name))
            {
                image::import(&socket, &archive).with_context(|| format!("node {}", node.name))?;
            }
        }
        Ok(())
    }

    async fn wait_for_node(&self, client: &kube::Client, node: &Node) -> anyhow::Result<()> {
        api::wait_for(START_PATIENCE, || async {
            self.must_run(CONTROL_PLANE)?;
            self.must_run(&node.name)?;
            // A server that doesn't answer for a moment is one more reason to wait.
            Ok(api::node_ready(client, &node.name)
                .await
                .unwrap_or_else(|error| Err(format!("{error:#}"))))
        })
        .await
        .with_context(|| format!("node {}{}", node.name, self.processes.last_words(&node.name)))
    }

    fn must_run(&self, name: &str) -> anyhow::Result<()> {
        if self.processes.find(name).is_none() {
            bail!("{name} has ended{}", self.processes.last_words(name));
        }
        Ok(())
    }

    async fn halt(&self) -> anyhow::Result<()> {
        let steps = Steps::begin(&format!("stopping cluster `{}`:", self.profile.name));
        for node in &self.profile.nodes {
            steps
                .step(&format!("stopping node {}", node.name), self.halt_node(node))
                .await?;
        }
        steps
            .step("stopping the control plane", async {
                self.processes.stop(CONTROL_PLANE, STOP_PATIENCE).await?;
                process::end(
                    &process::inhabitants(&self.profile.lan_namespace()),
                    CONTAINER_PATIENCE,
                )
                .await
            })
            .await?;
        steps
            .step("removing the network", async { network::remove(&self.profile) })
            .await
    }

    async fn halt_node(&self, node: &Node) -> anyhow::Result<()> {
        // The agent first: it would take the end of its containers for a failure.
        self.processes.stop(&node.name, STOP_PATIENCE).await?;
        process::end(
            &process::inhabitants(&self.profile.node_namespace(node)),
            CONTAINER_PATIENCE,
        )
        .await
    }

    fn forget_node(&self, node: &Node) -> anyhow::Result<()> {
        network::remove_node(&self.profile, node)?;
        for folder in [self.profile.node_run_folder(node), self.profile.node_folder(node)] {
            leftovers::unmount_below(&folder)?;
            files::remove_folder(&folder)?;
        }
        leftovers::remove_cgroups(&format!("trireme-{}", node.name));
        Ok(())
    }
}

/// Makes the cluster when there is none, grows it when more nodes are asked for, starts what isn't running.
///
/// # Errors
/// What failed, with the component's last words.
pub async fn up(options: &Up) -> anyhow::Result<()> {
    preflight::check()?;
    let name = &options.selected.profile;
    let _guard = profile::lock(name)?;
    let mut profile = match Profile::load(name)? {
        Some(profile) => profile,
        None => Profile::create(name, options.nodes.unwrap_or(1))?,
    };
    profile.grow(options.nodes.unwrap_or(0))?;
    if !options.registry_mirrors.is_empty() {
        // Agents read it when they start; running ones keep what they have.
        profile.registry_mirrors.clone_from(&options.registry_mirrors);
    }
    profile.save()?;
    Cluster::new(profile).launch().await
}

/// Starts what isn't running of an existing cluster.
///
/// # Errors
/// As [`up`]; or when there is no such cluster.
pub async fn start(name: &str) -> anyhow::Result<()> {
    preflight::check()?;
    let _guard = profile::lock(name)?;
    Cluster::open(name)?.launch().await
}

/// Ends every process of the cluster and removes its network.
///
/// # Errors
/// When there is no such cluster, or a process can't be ended.
pub async fn stop(name: &str) -> anyhow::Result<()> {
    preflight::root()?;
    let _guard = profile::lock(name)?;
    Cluster::open(name)?.halt().await
}

/// Stops the cluster and removes all of its state, its kubeconfig context included.
///
/// # Errors
/// As [`stop`].
pub async fn delete(name: &str) -> anyhow::Result<()> {
    preflight::root()?;
    let _guard = profile::lock(name)?;
    let Some(profile) = Profile::load(name)? else {
        println!("there is no cluster `{name}`");
        return Ok(());
    };
    let cluster = Cluster::new(profile);
    cluster.halt().await?;
    for node in &cluster.profile.nodes {
        cluster.forget_node(node)?;
    }
    kubeconfig::remove(&kubeconfig::path()?, &cluster.profile.context())?;
    for folder in [cluster.profile.run_folder(), cluster.profile.folder()] {
        leftovers::unmount_below(&folder)?;
        files::remove_folder(&folder)?;
    }
    println!("cluster `{name}` is gone");
    Ok(())
}

/// Adds one node to the cluster and waits until it is ready.
///
/// # Errors
/// As [`up`].
pub async fn add_node(name: &str) -> anyhow::Result<()> {
    preflight::check()?;
    let _guard = profile::lock(name)?;
    let mut cluster = Cluster::open(name)?;
    cluster.profile.add_node()?;
    cluster.profile.save()?;
    cluster.launch().await
}

/// Takes a node out of the cluster and removes its state.
///
/// # Errors
/// When there is no such node or the API server refuses.
pub async fn remove_node(profile_name: &str, node_name: &str) -> anyhow::Result<()> {
    preflight::root()?;
    let _guard = profile::lock(profile_name)?;
    let mut cluster = Cluster::open(profile_name)?;
    let node = cluster.profile.node(node_name)?.clone();
    cluster.halt_node(&node).await?;
    api::forget_node(&cluster.client()?, &node.name).await?;
    cluster.forget_node(&node)?;
    cluster.profile.nodes.retain(|other| other.name != node.name);
    cluster.profile.save()?;
    println!("node {node_name} is gone");
    Ok(())
}
