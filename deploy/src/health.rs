//! How a local cluster is, for people and for programs.

use crate::api;
use crate::cli::Output;
use crate::cluster::{CONTROL_PLANE, Cluster};
use crate::profile::Profile;
use serde::Serialize;
use std::process::ExitCode;

const STOPPED: u8 = 3;
const UNHEALTHY: u8 = 4;
const ABSENT: u8 = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Healthy,
    Unhealthy,
    Stopped,
    Absent,
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    profile: &'a str,
    state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<String>,
    components: Vec<Component>,
}

#[derive(Debug, Serialize)]
struct Component {
    name: String,
    address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<i32>,
    healthy: bool,
    /// Why it isn't.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// Prints the state and gives the exit code that stands for it.
///
/// # Errors
/// When the profile can't be read.
pub async fn status(name: &str, output: Output) -> anyhow::Result<ExitCode> {
    let report = match Profile::load(name)? {
        None => Report {
            profile: name,
            state: State::Absent,
            server: None,
            context: None,
            components: Vec::new(),
        },
        Some(_) => examine(name, &Cluster::open(name)?).await,
    };
    match output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&report)?),
        Output::Text => print(&report),
    }
    Ok(ExitCode::from(match report.state {
        State::Healthy => 0,
        State::Stopped => STOPPED,
        State::Unhealthy => UNHEALTHY,
        State::Absent => ABSENT,
    }))
}

/// In one word, for lists of clusters.
pub async fn word(cluster: &Cluster) -> &'static str {
    match examine(&cluster.profile.name, cluster).await.state {
        State::Healthy => "healthy",
        State::Unhealthy => "unhealthy",
        State::Stopped => "stopped",
        State::Absent => "absent",
    }
}

async fn examine<'a>(name: &'a str, cluster: &Cluster) -> Report<'a> {
    let profile = &cluster.profile;
    let client = cluster.client();
    let asked = match &client {
        Ok(client) if cluster.processes.find(CONTROL_PLANE).is_some() => api::ready(client).await,
        Ok(_) => Err(anyhow::anyhow!("not running")),
        Err(error) => Err(anyhow::anyhow!("{error:#}")),
    };
    let answers = asked.is_ok();
    let mut components = vec![component(
        cluster,
        CONTROL_PLANE,
        profile.control_address().to_string(),
        asked.map_err(|e| format!("{e:#}")),
    )];
    for node in &profile.nodes {
        let said = match &client {
            _ if cluster.processes.find(&node.name).is_none() => Err("not running".to_owned()),
            Ok(client) if answers => api::node_ready(client, &node.name)
                .await
                .unwrap_or_else(|error| Err(format!("{error:#}"))),
            _ => Err("unknown: the API server does not answer".to_owned()),
        };
        components.push(component(
            cluster,
            &node.name,
            profile.node_address(node).to_string(),
            said,
        ));
    }
    let state = if components.iter().all(|component| component.healthy) {
        State::Healthy
    } else if components.iter().all(|component| component.pid.is_none()) {
        State::Stopped
    } else {
        State::Unhealthy
    };
    Report {
        profile: name,
        state,
        server: Some(format!("https://{}", profile.api_address())),
        context: Some(profile.context()),
        components,
    }
}

fn component(cluster: &Cluster, name: &str, address: String, said: Result<(), String>) -> Component {
    Component {
        name: name.to_owned(),
        address,
        pid: cluster.processes.find(name).map(|identity| identity.pid),
        healthy: said.is_ok(),
        message: said.err(),
    }
}

fn print(report: &Report<'_>) {
    println!("cluster `{}`: {:?}", report.profile, report.state);
    if let (Some(server), Some(context)) = (&report.server, &report.context) {
        println!("API server {server}, kubectl context `{context}`");
    }
    for component in &report.components {
        let pid = component
            .pid
            .map_or_else(|| "-".to_owned(), |pid| pid.to_string());
        println!(
            "  {:<24} {:<15} pid {:<8} {}",
            component.name,
            component.address,
            pid,
            component.message.as_deref().unwrap_or("healthy")
        );
    }
}
