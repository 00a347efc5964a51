//! The HTTPS endpoints of the node, with kubelet's paths: logs, exec, attach, port forwarding, statistics.
//!
//! Who may use them: holders of a client certificate of the cluster's authority that the configuration
//! names, which are the API servers. Everyone else gets 401 or 403, whatever the path.

mod logs;
mod port_forward;
mod remote_command;
mod response;
mod router;
mod statistics;
mod upgrade;

use crate::context::Context;
use crate::node::{Certificates, Purpose};
use crate::pod::PodManager;
use anyhow::Context as _;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use std::convert::Infallible;
use std::sync::Arc;
use support::tls::ServerTls;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// What handlers work with.
pub(crate) struct Endpoints {
    pub context: Arc<Context>,
    pub pods: Arc<PodManager>,
}

/// Until cancelled.
pub(crate) async fn serve(
    context: Arc<Context>,
    pods: Arc<PodManager>,
    cancel: CancellationToken,
) -> anyhow::Result<()> {
    let listen = context.config.listen.clone();
    let listener = context
        .env
        .net
        .listen(&listen)
        .await
        .with_context(|| format!("listening on {listen}"))?;
    let mut tasks = JoinSet::new();
    let tls = match context.config.ca_pem.clone() {
        None => None,
        Some(ca_pem) => {
            let certificates = Certificates::new(&context.config, &context.env, Purpose::Serving);
            let kept = certificates.load();
            let identity = match &kept {
                Some(identity) => identity.clone(),
                None => certificates.self_signed()?,
            };
            let tls = ServerTls::new(&identity, Some(&ca_pem), false)?;
            let (client, replaced) = (context.client.clone(), tls.clone());
            tasks.spawn(async move {
                let replace = |identity: &support::tls::Identity| {
                    if let Err(error) = replaced.replace(identity) {
                        tracing::error!(%error, "the new serving certificate cannot be used");
                    }
                };
                certificates.rotate(&client, kept, replace).await;
            });
            Some(tls)
        }
    };
    let mut incoming = support::incoming(listener, tls);
    let endpoints = Arc::new(Endpoints { context, pods });
    loop {
        let accepted = tokio::select! {
            biased;
            () = cancel.cancelled() => return Ok(()),
            accepted = incoming.recv() => accepted,
            Some(_) = tasks.join_next(), if !tasks.is_empty() => continue,
        };
        match accepted {
            Some(Ok(stream)) => {
                tasks.spawn(connection(Arc::clone(&endpoints), stream));
            }
            Some(Err(error)) => tracing::warn!(%error, "accept failed"),
            None => anyhow::bail!("the listener on {listen} ended"),
        }
    }
}

async fn connection(endpoints: Arc<Endpoints>, stream: support::Incoming) {
    let info = stream.info().clone();
    let service = service_fn(move |request| {
        let (endpoints, identity) = (Arc::clone(&endpoints), info.identity.clone());
        async move { Ok::<_, Infallible>(router::answer(endpoints, request, identity.as_deref()).await) }
    });
    let server = auto::Builder::new(TokioExecutor::new());
    let served = server.serve_connection_with_upgrades(TokioIo::new(stream), service);
    if let Err(error) = served.await {
        tracing::debug!(%error, "connection ended");
    }
}
