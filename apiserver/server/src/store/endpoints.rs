//! The store's members: calls stick to one until it fails, then move on.
//!
//! A member that owes an answer is asked whether it is there at all: a slow answer is waited for, a member that is gone without
//! a word is not.

use super::StoreError;
use super::error::is_transient;
use crate::config::StoreConfig;
use proto::etcdserverpb::StatusRequest;
use proto::etcdserverpb::maintenance_client::MaintenanceClient;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use support::{Backoff, Env};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tonic::transport::Channel;
use tonic::{Response, Status};

/// One attempt at one member; an election takes about a second.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
/// A member that owes an answer for so long is asked whether it is there.
const SUSPICION: Duration = Duration::from_millis(700);
/// It tells that without asking others, however much it has to do.
const SIGN_OF_LIFE: Duration = Duration::from_millis(700);
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
        Fut: Future<Output = Result<Response<T>, Status>>,
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
            let failure = match await_answer(call(channel.clone()), channel).await {
                Some(Ok(response)) => return Ok((response.into_inner(), retried)),
                Some(Err(status)) if is_transient(&status) => status.message().to_owned(),
                Some(Err(status)) => return Err(status.into()),
                None => "no answer in time".to_owned(),
            };
            retried = true;
            self.abandon(index);
            let delay = backoff.delay();
            if Instant::now() + delay >= deadline {
                return Err(StoreError::Unavailable(failure));
            }
            sleep(delay).await;
        }
    }
}

/// `None`: the time is up, or the member gives no sign of life.
async fn await_answer<T>(
    call: impl Future<Output = Result<Response<T>, Status>>,
    channel: Channel,
) -> Option<Result<Response<T>, Status>> {
    let deadline = Instant::now() + ATTEMPT_TIMEOUT;
    let mut call = std::pin::pin!(call);
    loop {
        tokio::select! {
            biased;
            answer = &mut call => return Some(answer),
            () = sleep(SUSPICION) => {}
        }
        tokio::select! {
            biased;
            answer = &mut call => return Some(answer),
            () = sleep_until(deadline) => return None,
            lives = gives_sign_of_life(channel.clone()) => if !lives {
                return None;
            }
        }
    }
}

async fn gives_sign_of_life(channel: Channel) -> bool {
    let mut member = MaintenanceClient::new(channel);
    match timeout(SIGN_OF_LIFE, member.status(StatusRequest {})).await {
        Ok(Ok(_)) => true,
        // A refusal is a sign, too; a broken connection is not.
        Ok(Err(status)) => !is_transient(&status),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{ATTEMPT_TIMEOUT, await_answer};
    use async_trait::async_trait;
    use std::io;
    use std::sync::Arc;
    use support::{BoxedIo, Env, Listener, Network};
    use tokio::time::Instant;

    /// A network in which nothing is ever answered, as behind a cut cable.
    struct Cut;

    #[async_trait]
    impl Network for Cut {
        async fn connect(&self, _: &str) -> io::Result<BoxedIo> {
            std::future::pending().await
        }

        async fn listen(&self, _: &str) -> io::Result<Box<dyn Listener>> {
            std::future::pending().await
        }
    }

    /// Found with real processes: a member behind a cut cable was waited for until the attempt's end.
    #[tokio::test]
    async fn a_member_that_gives_no_sign_of_life_is_not_waited_for_to_the_end() {
        let env = Env {
            net: Arc::new(Cut),
            ..Env::production()
        };
        let (began, channel) = (Instant::now(), support::grpc_channel(&env, "store:2379", None));
        let answer = await_answer(std::future::pending::<Result<tonic::Response<()>, _>>(), channel).await;
        assert!(answer.is_none());
        assert!(began.elapsed() < ATTEMPT_TIMEOUT / 2, "{:?}", began.elapsed());
    }
}
