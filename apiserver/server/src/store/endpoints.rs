//! The store's members: calls stick to one until it fails, then move on.

use super::StoreError;
use super::error::is_transient;
use crate::config::StoreConfig;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use support::{Backoff, Env};
use tokio::time::Instant;
use tonic::transport::Channel;

/// One attempt at one member; an election takes about a second.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
/// All attempts of one call together.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);

struct Endpoint {
    address: String,
    channel: Channel,
}

pub(crate) struct Endpoints {
    members: Vec<Endpoint>,
    current: AtomicUsize,
    env: Env,
}

impl Endpoints {
    pub(super) fn new(config: &StoreConfig, env: &Env) -> Self {
        let members = config
            .endpoints
            .iter()
            .map(|address| Endpoint {
                address: address.clone(),
                channel: support::grpc_channel(env, address, config.tls.clone()),
            })
            .collect();
        Self {
            members,
            current: AtomicUsize::new(0),
            env: env.clone(),
        }
    }

    /// The channel that calls use now, with its index for [`Endpoints::abandon`].
    pub(super) fn channel(&self) -> (usize, Channel) {
        let index = self.current.load(Ordering::Relaxed) % self.members.len();
        (index, self.members[index].channel.clone())
    }

    /// Moves on to the next member, unless another call already did.
    pub(super) fn abandon(&self, index: usize) {
        let next = (index + 1) % self.members.len();
        let moved = self
            .current
            .compare_exchange(index, next, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok();
        if moved && self.members.len() > 1 {
            let (from, to) = (&self.members[index].address, &self.members[next].address);
            tracing::info!(%from, %to, "store failover");
        }
    }

    /// Runs `call` until it succeeds, fails for good, or time is up. The flag says that an earlier attempt may
    /// have been applied.
    pub(super) async fn attempt<T, F, Fut>(&self, call: F) -> Result<(T, bool), StoreError>
    where
        F: Fn(Channel) -> Fut,
        Fut: Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    {
        let deadline = Instant::now() + CALL_TIMEOUT;
        let mut backoff = Backoff::new(
            Duration::from_millis(20),
            Duration::from_millis(500),
            self.env.random.clone(),
        );
        let mut retried = false;
        loop {
            let (index, channel) = self.channel();
            let failure = match tokio::time::timeout(ATTEMPT_TIMEOUT, call(channel)).await {
                Ok(Ok(response)) => return Ok((response.into_inner(), retried)),
                Ok(Err(status)) if is_transient(&status) => status.message().to_owned(),
                Ok(Err(status)) => return Err(status.into()),
                Err(_) => "no answer in time".to_owned(),
            };
            retried = true;
            self.abandon(index);
            let delay = backoff.delay();
            if Instant::now() + delay >= deadline {
                return Err(StoreError::Unavailable(failure));
            }
            tokio::time::sleep(delay).await;
        }
    }
}
