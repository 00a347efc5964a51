//! Users of the cluster: each asks for things, and says on the blackboard what it wants to be true in the end.

mod applier;
mod counter;
mod deployments;
mod stateful;
mod watcher;

pub(crate) use applier::APPLIED;
pub use applier::apply;
pub(crate) use counter::COUNTER;
pub use counter::count;
pub use deployments::{deploy, leave_alone};
pub use stateful::keep_ordinals;
pub use watcher::{Session, Sessions, watch_everything};

use anyhow::Context as _;
use chaos_store::stage::{Board, Stage};
use kubeclient::ClientConfig;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use support::{Env, Random};
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// A call that isn't answered by then is made again.
const CALL: Duration = Duration::from_secs(4);
const RETRY: Duration = Duration::from_millis(200);
/// How often someone who thinks looks whether the world has become quiet.
const LOOK: Duration = Duration::from_millis(200);

/// What a user wants of one workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) replicas: i32,
    pub(crate) image: String,
}

/// Kind and name → what its user wants; `None`: that it is gone.
pub(crate) type Wishes = BTreeMap<(&'static str, String), Option<Wanted>>;

/// The blackboard of all users.
#[derive(Debug, Clone, Default)]
pub struct Wishlist(Arc<Mutex<Wishes>>);

impl Wishlist {
    pub(crate) fn set(&self, kind: &'static str, name: &str, wanted: Option<Wanted>) {
        let mut wishes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        wishes.insert((kind, name.to_owned()), wanted);
    }

    pub(crate) fn all(&self) -> Wishes {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Who a user is, before it enters the world.
pub struct Identity {
    pub name: String,
    pub env: Env,
    pub config: ClientConfig,
    pub random: Random,
    pub board: Board,
    pub wishes: Wishlist,
}

impl Identity {
    /// Clients can be made only inside the world, simulated or not.
    pub fn enter(self) -> User {
        User {
            name: self.name,
            client: kubeclient::client(&self.env, &self.config).expect("a client of named servers"),
            random: self.random,
            board: self.board,
            wishes: self.wishes,
        }
    }
}

/// A user at work.
pub struct User {
    pub(crate) name: String,
    pub(crate) client: kube::Client,
    pub(crate) random: Random,
    pub(crate) board: Board,
    pub(crate) wishes: Wishlist,
}

impl User {
    /// Waits `from` to `to` milliseconds, or until the world is quiet: the last word is said at once.
    async fn think(&self, from: u64, to: u64) {
        let until = Instant::now() + Duration::from_millis(self.random.below(from..to));
        while self.board.working() && Instant::now() < until {
            sleep_until(until.min(Instant::now() + LOOK)).await;
        }
    }

    /// Tries until it is done, or nobody looks any more. What is asked must bear being asked twice: an answer
    /// may be lost.
    async fn insist(&self, what: &str, ask: impl AsyncFn() -> anyhow::Result<()>) {
        while self.board.stage() < Stage::Done {
            let asked = timeout(CALL, ask()).await.context("no answer").flatten();
            match asked {
                Ok(()) => return,
                Err(error) => tracing::debug!(user = self.name, what, ?error, "asked in vain"),
            }
            sleep(RETRY).await;
        }
    }
}

/// Only that it is so counts, not that this call made it so.
fn unless(outcome: Result<(), kube::Error>, codes: &[u16]) -> anyhow::Result<()> {
    match outcome {
        Err(kube::Error::Api(status)) if codes.contains(&status.code) => Ok(()),
        outcome => Ok(outcome?),
    }
}
