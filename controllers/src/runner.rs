//! The one shell of all controllers: caches, queues, execution of plans, leadership.
//!
//! Invariants:
//! - One key of one controller is planned by one worker at a time, and only once the caches show everything that
//!   its last plan wrote: a plan never repeats a creation because the cache was behind.
//! - Caches and queues run before leadership (warm standby); plans are made and executed only under it, and every
//!   write is fenced by it.
//! - The first plan of a leader is made from caches that show everything the leaders before it wrote: each kind is
//!   listed once more, after the lease was taken.
//! - A conflict isn't an error: the plan was stale and is made again.

mod cache;
mod executor;
mod fence;
mod informers;
mod watches;
mod worker;

pub use cache::Cache;
pub use executor::Executor;
pub use fence::Fence;
pub use informers::Informers;
pub use watches::Watches;
pub(crate) use worker::Runner;

use crate::action::Plan;
use crate::object::Key;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;

/// What a plan may read besides the caches.
pub struct Context {
    pub now: Timestamp,
    /// Why the last attempt to execute a plan for this key failed, if it did.
    pub failure: Option<String>,
    pub client: kube::Client,
}

/// A sync that couldn't even be planned.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    #[error("request failed")]
    Request(#[from] kube::Error),
    #[error("{0}")]
    Other(String),
}

/// One controller: what it watches, and its plan for a key.
pub trait Controller: Send + Sync + 'static {
    /// Upstream's name, as in `--controllers`.
    fn name(&self) -> &'static str;

    /// Maps changes of objects to keys of this controller.
    fn watch(&self, watches: &mut Watches<'_>);

    /// Reads the caches and plans. Most controllers implement only this.
    fn plan(&self, _key: &Key, _context: &Context) -> Plan {
        Plan::nothing()
    }

    /// As [`Controller::plan`], for controllers that must also ask the server.
    fn sync<'a>(&'a self, key: &'a Key, context: &'a Context) -> BoxFuture<'a, Result<Plan, SyncError>> {
        futures::future::ready(Ok(self.plan(key, context))).boxed()
    }

    /// Keys in work at once.
    fn workers(&self) -> usize {
        DEFAULT_WORKERS
    }
}

/// Upstream mostly has 5; a worker here also waits for the caches to catch up with its writes.
const DEFAULT_WORKERS: usize = 16;
