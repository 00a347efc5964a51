//! One controller at work.

use super::executor::{ExecuteError, Executor, Written};
use super::fence::Fence;
use super::informers::Informers;
use super::watches::Watches;
use super::{Context, Controller};
use crate::object::Key;
use futures::future::join_all;
use kubeclient::{Processing, Queue};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use support::Env;

/// Retries of one key: upstream's first delay, but a last one short enough that a healed fault is noticed soon.
const RETRY_INITIAL: Duration = Duration::from_millis(5);
const RETRY_MAX: Duration = Duration::from_secs(30);

pub(crate) struct Runner {
    controller: Arc<dyn Controller>,
    queue: Queue<Key>,
    executor: Arc<Executor>,
    informers: Arc<Informers>,
    env: Env,
    /// Why the last plan of a key failed, told to its next plan.
    failures: Mutex<BTreeMap<Key, String>>,
}

impl Runner {
    pub(crate) fn new(
        controller: Arc<dyn Controller>,
        executor: Arc<Executor>,
        informers: Arc<Informers>,
        env: &Env,
    ) -> Self {
        let queue = Queue::new(RETRY_INITIAL, RETRY_MAX, env.random.fork());
        controller.watch(&mut Watches::new(&queue));
        Self {
            controller,
            queue,
            executor,
            informers,
            env: env.clone(),
            failures: Mutex::new(BTreeMap::new()),
        }
    }

    /// Works until dropped.
    pub(crate) async fn run(&self, fence: Fence) {
        let workers = (0..self.controller.workers()).map(|_| async {
            while let Some(work) = self.queue.next().await {
                self.work(work, &fence).await;
            }
        });
        join_all(workers).await;
    }

    async fn work(&self, work: Processing<Key>, fence: &Fence) {
        let key = work.key().clone();
        let context = Context {
            now: self.env.clock.now(),
            failure: self.failures().get(&key).cloned(),
            client: self.executor.client().clone(),
        };
        let name = self.controller.name();
        let plan = match self.controller.sync(&key, &context).await {
            Ok(plan) => plan,
            Err(error) => {
                tracing::debug!(controller = name, %key, error = &error as &dyn std::error::Error, "not planned");
                return work.failed();
            }
        };
        let mut written = Written::new();
        let mut outcome = Ok(());
        for action in &plan.actions {
            tracing::trace!(controller = name, %key, action = action.summary());
            outcome = self.executor.perform(action, fence, &mut written).await;
            if outcome.is_err() {
                break;
            }
        }
        self.informers.show(written).await;
        match outcome {
            Ok(()) => {
                self.failures().remove(&key);
                match plan.again_after {
                    Some(delay) => work.again_after(delay),
                    None => work.succeeded(),
                }
            }
            Err(ExecuteError::NamespaceTerminating) => {
                self.failures().remove(&key);
                work.succeeded();
            }
            Err(ExecuteError::Stale(reason)) => {
                tracing::debug!(controller = name, %key, reason, "planning again");
                work.failed();
            }
            Err(error) => {
                tracing::warn!(controller = name, %key, error = &error as &dyn std::error::Error, "plan failed");
                self.failures().insert(key, error.to_string());
                work.failed();
            }
        }
    }

    fn failures(&self) -> MutexGuard<'_, BTreeMap<Key, String>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
