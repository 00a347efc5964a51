//! The roles in the foreground: flags become configuration, signals become cancellation.

mod configuration;
mod together;

use crate::cli::{Agent, ApiClient, ApiServer, Controllers, Server};
use anyhow::Context as _;
use controllers::ControllerManager;
use kvstore_server::{Member, MemberConfig};
use scheduler_server::Scheduler;
use support::{Env, telemetry};
use together::Together;
use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;

/// Runs a role until it ends by itself or SIGTERM or SIGINT ask it to.
///
/// # Errors
/// The role's own.
pub fn run<F>(role: impl FnOnce(CancellationToken) -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    telemetry::init(telemetry::Format::Text);
    let runtime = Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?;
    runtime.block_on(async { role(support::asked_to_stop()?).await })
}

/// A whole control plane.
///
/// # Errors
/// That of the first role that fails.
pub async fn server(options: Server, cancel: CancellationToken) -> anyhow::Result<()> {
    let (client, controllers) = (options.api_client(), options.controllers());
    let mut together = Together::default();
    let (store, api) = (configuration::member(&options)?, options.apiserver());
    together.start("store", |stop| kvstore(store, stop));
    together.start("API server", |stop| apiserver(api, stop));
    together.start("scheduler", |stop| scheduler(client, stop));
    together.start("controllers", |stop| self::controllers(controllers, stop));
    together.run(cancel).await
}

/// A member of the store.
///
/// # Errors
/// When it can't start, or its disk fails.
async fn kvstore(config: MemberConfig, cancel: CancellationToken) -> anyhow::Result<()> {
    Ok(Member::new(config, Env::production())?.run(cancel).await?)
}

/// An API server.
///
/// # Errors
/// When it can't start.
pub async fn apiserver(options: ApiServer, cancel: CancellationToken) -> anyhow::Result<()> {
    let config = configuration::apiserver(&options)?;
    apiserver_server::ApiServer::new(config, Env::production())?
        .with_tolerations(options.tolerations.defaults())
        .run(cancel)
        .await
}

/// A scheduler.
///
/// # Errors
/// When its configuration can't be used.
pub async fn scheduler(options: ApiClient, cancel: CancellationToken) -> anyhow::Result<()> {
    let env = Env::production();
    let config = configuration::scheduler(&options, &env)?;
    Scheduler::new(config, env).run(cancel).await;
    Ok(())
}

/// All controllers.
///
/// # Errors
/// When their configuration can't be used.
pub async fn controllers(options: Controllers, cancel: CancellationToken) -> anyhow::Result<()> {
    let config = configuration::controllers(&options)?;
    ControllerManager::new(config, Env::production())?
        .run(cancel)
        .await;
    Ok(())
}

/// A node agent.
///
/// # Errors
/// When it can't start or its runtime fails for good.
pub async fn agent(options: Agent, cancel: CancellationToken) -> anyhow::Result<()> {
    let config = configuration::agent(&options)?;
    nodeagent_server::run_on_linux(config, Env::production(), cancel).await
}
