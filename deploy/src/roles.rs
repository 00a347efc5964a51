//! The roles in the foreground: flags become configuration, signals become cancellation.

use crate::cli::{Agent, ApiClient, ApiServer, Kvstore, Server};
use anyhow::{Context as _, bail};
use support::telemetry;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
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
    runtime.block_on(async {
        let cancel = CancellationToken::new();
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let asked = cancel.clone();
        tokio::spawn(async move {
            tokio::select! {
                biased;
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("asked to stop");
            asked.cancel();
        });
        role(cancel).await
    })
}

pub async fn server(_options: Server, _cancel: CancellationToken) -> anyhow::Result<()> {
    bail!("this role is not part of the binary yet")
}

pub async fn kvstore(_options: Kvstore, _cancel: CancellationToken) -> anyhow::Result<()> {
    bail!("this role is not part of the binary yet")
}

pub async fn apiserver(_options: ApiServer, _cancel: CancellationToken) -> anyhow::Result<()> {
    bail!("this role is not part of the binary yet")
}

pub async fn scheduler(_options: ApiClient, _cancel: CancellationToken) -> anyhow::Result<()> {
    bail!("this role is not part of the binary yet")
}

pub async fn controllers(_options: ApiClient, _cancel: CancellationToken) -> anyhow::Result<()> {
    bail!("this role is not part of the binary yet")
}

pub async fn agent(_options: Agent, _cancel: CancellationToken) -> anyhow::Result<()> {
    bail!("this role is not part of the binary yet")
}
