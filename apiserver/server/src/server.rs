//! The running server: listeners in front, background work behind, one clean stop.

use crate::authn::TokenKeys;
use crate::config::ApiServerConfig;
use crate::front::Front;
use crate::health::Health;
use crate::http::serve;
use crate::state::State;
use crate::store::run_compaction;
use anyhow::Context as _;
use apiserver_core::admission::DefaultTolerations;
use futures::future::BoxFuture;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use support::tls::ServerTls;
use support::{Env, Listener};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// An API server. Replicas share nothing but the store.
pub struct ApiServer {
    config: ApiServerConfig,
    env: Env,
    tls: Option<ServerTls>,
    tokens: TokenKeys,
    tolerations: DefaultTolerations,
}

impl ApiServer {
    /// Checks keys and certificates; nothing is opened yet.
    ///
    /// # Errors
    /// When a key or certificate can't be used, or an address is missing.
    pub fn new(config: ApiServerConfig, env: Env) -> anyhow::Result<Self> {
        anyhow::ensure!(!config.listen.is_empty(), "no address to listen on");
        anyhow::ensure!(!config.store.endpoints.is_empty(), "no store endpoint");
        let serving = config.serving.as_ref();
        let tls = serving
            .map(|identity| ServerTls::new(identity, Some(&config.client_ca_pem), false))
            .transpose()
            .context("serving certificate or client CA")?;
        let tokens = TokenKeys::new(&config.service_account).context("service account signing key")?;
        Ok(Self {
            config,
            env,
            tls,
            tokens,
            tolerations: DefaultTolerations::default(),
        })
    }

    /// With other tolerations for pods that don't say how long they stay on a failing node. All replicas of a cluster
    /// should have the same.
    #[must_use]
    pub fn with_tolerations(self, tolerations: DefaultTolerations) -> Self {
        Self { tolerations, ..self }
    }

    /// Handle to replace the serving certificate while running; `None` when plain TCP is served.
    pub fn tls(&self) -> Option<ServerTls> {
        self.tls.clone()
    }

    /// Listens and serves until cancelled. Boxed, so that the machine code of it all is made in this crate, and not
    /// again in every program and test that runs one.
    ///
    /// # Errors
    /// When an address can't be listened on.
    pub fn run(self, cancel: CancellationToken) -> BoxFuture<'static, anyhow::Result<()>> {
        Box::pin(async move {
            let bound = self.bind().await?;
            bound.run(cancel).await
        })
    }

    /// Opens the listeners. The addresses are known from here on.
    ///
    /// # Errors
    /// When an address can't be listened on.
    pub async fn bind(self) -> anyhow::Result<BoundApiServer> {
        let mut listeners = Vec::new();
        for address in &self.config.listen {
            let listener = self
                .env
                .net
                .listen(address)
                .await
                .with_context(|| format!("listening on {address}"))?;
            listeners.push(listener);
        }
        let mut config = self.config;
        if config.advertise_port.is_none()
            && let Some(address) = listeners.first().and_then(|listener| listener.local_addr().ok())
        {
            config.advertise_port = Some(address.port());
        }
        Ok(BoundApiServer {
            config,
            env: self.env,
            tls: self.tls,
            tokens: self.tokens,
            tolerations: self.tolerations,
            listeners,
        })
    }
}

/// An API server whose listeners are open.
pub struct BoundApiServer {
    config: ApiServerConfig,
    env: Env,
    tls: Option<ServerTls>,
    tokens: TokenKeys,
    tolerations: DefaultTolerations,
    listeners: Vec<Box<dyn Listener>>,
}

impl BoundApiServer {
    /// The addresses listened on.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners
            .iter()
            .filter_map(|listener| listener.local_addr().ok())
            .collect()
    }

    /// Serves until cancelled; boxed as [`ApiServer::run`].
    ///
    /// # Errors
    /// None at present; failures while serving are retried and logged.
    pub fn run(self, cancel: CancellationToken) -> BoxFuture<'static, anyhow::Result<()>> {
        Box::pin(self.serve(cancel))
    }

    async fn serve(self, cancel: CancellationToken) -> anyhow::Result<()> {
        // Watches and background work end when the listeners stop accepting.
        let work = CancellationToken::new();
        let state = Arc::new(State::new(
            self.config,
            self.env,
            self.tokens,
            self.tolerations,
            work.clone(),
        ));
        let health = Arc::new(Health::new(Arc::clone(&state.store)));
        let front = Arc::new(Front::new(Arc::clone(&state), Arc::clone(&health)));
        let tasks = TaskTracker::new();
        let stop = CancellationToken::new();
        for listener in self.listeners {
            let address = listener
                .local_addr()
                .map(|address| address.to_string())
                .unwrap_or_default();
            tracing::info!(%address, "API server listens");
            tasks.spawn(serve(
                listener,
                self.tls.clone(),
                Arc::clone(&front),
                stop.clone(),
            ));
        }
        {
            let (store, work) = (Arc::clone(&state.store), work.clone());
            tasks.spawn(async move { run_compaction(&store, work).await });
        }
        crate::authz::follow_all(&state, &tasks, &work);
        tasks.spawn(crate::startup::run(
            Arc::clone(&state),
            Arc::clone(&health),
            work.clone(),
        ));
        cancel.cancelled().await;
        tracing::info!("API server stops");
        health.stopping.store(true, Ordering::Relaxed);
        crate::startup::leave(&state).await;
        stop.cancel();
        work.cancel();
        tasks.close();
        tasks.wait().await;
        state.caches.stopped().await;
        Ok(())
    }
}
