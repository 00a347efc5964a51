//! The store's members: calls stick to one until it fails, then go to one that lives.
//!
//! - A member that owes an answer is asked whether it is there at all: a slow answer is waited for, a member that is gone
//!   without a word is not.
//! - After a failure the next member is the first that says it has a leader. While one is elected all refuse, and the one
//!   that failed may be as good as any: who went to the next in the list could come to the very one that is gone.

use super::StoreError;
use super::error::is_transient;
use crate::config::StoreConfig;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use proto::etcdserverpb::StatusRequest;
use proto::etcdserverpb::maintenance_client::MaintenanceClient;
use std::future::Future;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use support::{Backoff, Env};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tonic::transport::Channel;
use tonic::{Response, Status};

/// One attempt at one member; an election takes about a second.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
/// A member that owes an answer for so long is asked whether it is there.
const SUSPICION: Duration = Duration::from_secs(1);
/// It tells that without asking others, however much it has to do.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);
/// How long a member with a leader is looked for, and how often each is asked: about an election.
const CHOICE: Duration = Duration::from_secs(1);
const CHOICE_PAUSE: Duration = Duration::from_millis(50);
/// All attempts of one call together.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);

struct Endpoint {
    address: String,
    channel: Channel,
}

pub(crate) struct Endpoints {
    members: Vec<Endpoint>,
    current: AtomicUsize,
    /// Rises with every choice of a member.
    choices: AtomicU64,
    /// Held while one is chosen, so that calls that fail together choose once.
    choosing: Mutex<()>,
    env: Env,
}

/// The member that a call went to, and by which choice.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chosen {
    index: usize,
    choice: u64,
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
            choices: AtomicU64::new(0),
            choosing: Mutex::new(()),
            env: env.clone(),
        }
    }

    /// The channel that calls use now, with what [`Endpoints::reconsider`] and [`Endpoints::leave`] want to know.
    pub(super) fn channel(&self) -> (Chosen, Channel) {
        let choice = self.choices.load(Ordering::Acquire);
        let index = self.current.load(Ordering::Acquire) % self.members.len();
        (Chosen { index, choice }, self.members[index].channel.clone())
    }

    /// After a member refused: it may go on being the one, if it has a leader.
    pub(super) async fn reconsider(&self, chosen: Chosen) {
        self.choose(chosen, 0).await;
    }

    /// After a member gave no answer, or refused again: another one, if any lives.
    pub(super) async fn leave(&self, chosen: Chosen) {
        self.choose(chosen, 1).await;
    }

    /// Chooses anew, unless another call already did; the first `skipped` members, from the failed one on, are left out.
    async fn choose(&self, failed: Chosen, skipped: usize) {
        let count = self.members.len();
        if count < 2 {
            return;
        }
        let _choosing = self.choosing.lock().await;
        if self.choices.load(Ordering::Acquire) != failed.choice {
            return;
        }
        let candidates = (skipped..count).map(|step| (failed.index + step) % count);
        let asked: FuturesUnordered<_> = candidates
            .map(|index| self.until_it_has_a_leader(index))
            .collect();
        let found = timeout(CHOICE, asked.into_future()).await;
        let found = found.ok().and_then(|(first, _)| first);
        let next = found.unwrap_or((failed.index + 1) % count);
        self.current.store(next, Ordering::Release);
        self.choices.fetch_add(1, Ordering::Release);
        if next != failed.index {
            let (from, to) = (&self.members[failed.index].address, &self.members[next].address);
            tracing::info!(%from, %to, "store failover");
        }
    }

    /// Gives the index back.
    async fn until_it_has_a_leader(&self, index: usize) -> usize {
        let mut member = MaintenanceClient::new(self.members[index].channel.clone());
        loop {
            let status = member.status(StatusRequest {}).await;
            if status.is_ok_and(|status| status.into_inner().leader != 0) {
                return index;
            }
            sleep(CHOICE_PAUSE).await;
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
        // The member that has refused this call already.
        let mut refused = None;
        let mut retried = false;
        loop {
            let (chosen, channel) = self.channel();
            let failure = match await_answer(call(channel.clone()), channel).await {
                Some(Ok(response)) => return Ok((response.into_inner(), retried)),
                Some(Err(status)) if is_transient(&status) => Some(status.message().to_owned()),
                Some(Err(status)) => return Err(status.into()),
                None => None,
            };
            retried = true;
            if failure.is_some() && refused.replace(chosen.index) != Some(chosen.index) {
                self.reconsider(chosen).await;
            } else {
                self.leave(chosen).await;
            }
            let delay = backoff.delay();
            if Instant::now() + delay >= deadline {
                let failure = failure.unwrap_or_else(|| "no answer in time".to_owned());
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
    #[tokio::test(start_paused = true)]
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
