//! Commands that this member has sent to a leader, by the number that they bear in the log.
//!
//! Whatever becomes of the leader, a command that was written is applied here in the end: then it is known what it
//! came to (etcd `pkg/wait`, and its request ids). A number that nobody waits for costs one look at a counter.

use crate::store::Reply;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// Who waits, by number.
#[derive(Default)]
pub struct AwaitedCommands {
    count: AtomicUsize,
    waiting: Mutex<BTreeMap<u64, oneshot::Sender<Reply>>>,
}

/// A place among those who wait; it is given up when this is dropped.
pub struct Awaited<'a> {
    commands: &'a AwaitedCommands,
    number: u64,
    applied: oneshot::Receiver<Reply>,
}

impl AwaitedCommands {
    /// Waits for command `number`; to be called before it is sent. No two at once may have one number.
    pub fn expect(&self, number: u64) -> Awaited<'_> {
        let (waiting, applied) = oneshot::channel();
        let mut all = self.lock();
        all.insert(number, waiting);
        self.count.store(all.len(), Ordering::Release);
        drop(all);
        Awaited {
            commands: self,
            number,
            applied,
        }
    }

    /// Command `number` has been applied, and can be read.
    pub fn applied(&self, number: u64, reply: Reply) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        if let Some(waiting) = self.remove(number) {
            // One that has gone away needs no answer.
            let _ = waiting.send(reply);
        }
    }

    fn remove(&self, number: u64) -> Option<oneshot::Sender<Reply>> {
        let mut all = self.lock();
        let removed = all.remove(&number);
        self.count.store(all.len(), Ordering::Release);
        removed
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, oneshot::Sender<Reply>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Awaited<'_> {
    /// Returns when the command has been applied here, which may be never.
    pub async fn reply(&mut self) -> Reply {
        match (&mut self.applied).await {
            Ok(reply) => reply,
            // Somebody else waits under this number now.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        self.commands.remove(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::AwaitedCommands;
    use futures::FutureExt as _;
    use kvstore_core::Response;

    #[test]
    fn each_waits_for_its_own_command_until_it_goes_away() {
        let commands = AwaitedCommands::default();
        let (mut first, mut second) = (commands.expect(1), commands.expect(2));
        commands.applied(2, Ok(Response::Done));
        commands.applied(3, Ok(Response::Done));
        assert_eq!(first.reply().now_or_never(), None);
        assert_eq!(second.reply().now_or_never(), Some(Ok(Response::Done)));
        drop((first, second));
        assert!(commands.lock().is_empty());
    }
}
