//! What is known of the API servers, and in which order a new connection tries them.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::watch;

/// Probes without an answer until a server counts as gone: one may be lost to a busy moment.
const MISSES: u32 = 2;

/// How a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    Ready,
    /// It answers, or did lately, but wants no new clients.
    Unready,
    /// It answers nothing.
    Gone,
}

/// All servers; one prober each writes, connections read.
pub struct Backends {
    servers: Vec<Server>,
    /// Rises with every connection, so that they are spread.
    turn: AtomicUsize,
}

struct Server {
    address: String,
    health: watch::Sender<Health>,
    misses: Mutex<u32>,
}

impl Backends {
    /// They count as ready until they are known not to be.
    pub fn new(addresses: Vec<String>) -> Self {
        let server = |address| Server {
            address,
            health: watch::Sender::new(Health::Ready),
            misses: Mutex::new(0),
        };
        Self {
            servers: addresses.into_iter().map(server).collect(),
            turn: AtomicUsize::new(0),
        }
    }

    pub fn len(&self) -> usize {
        self.servers.len()
    }

    /// `host:port` of a server.
    pub fn address(&self, number: usize) -> &str {
        &self.servers[number].address
    }

    /// Every server once: the ready ones first, each time another of them; the gone ones last, for nobody may be left
    /// without any.
    pub fn order(&self) -> Vec<usize> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut order: Vec<usize> = (0..self.len()).map(|step| (turn + step) % self.len()).collect();
        order.sort_by_key(|number| *self.servers[*number].health.borrow());
        order
    }

    /// A server has answered a probe.
    pub fn answered(&self, number: usize, ready: bool) {
        *self.misses(number) = 0;
        self.set(number, if ready { Health::Ready } else { Health::Unready });
    }

    /// A server has refused or not answered a probe.
    pub fn missed(&self, number: usize) {
        let mut misses = self.misses(number);
        *misses += 1;
        let gone = *misses >= MISSES;
        drop(misses);
        self.set(number, if gone { Health::Gone } else { Health::Unready });
    }

    /// Waits until a server is gone.
    pub async fn gone(&self, number: usize) {
        let mut health = self.servers[number].health.subscribe();
        // The sender lives as long as this.
        let _ = health.wait_for(|health| *health == Health::Gone).await;
    }

    fn misses(&self, number: usize) -> std::sync::MutexGuard<'_, u32> {
        let misses = &self.servers[number].misses;
        misses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, number: usize, health: Health) {
        let server = &self.servers[number];
        let changed = server.health.send_if_modified(|before| {
            let changed = *before != health;
            *before = health;
            changed
        });
        if changed {
            tracing::info!(server = server.address, ?health, "API server");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Backends;

    fn three() -> Backends {
        Backends::new(["a", "b", "c"].map(str::to_owned).to_vec())
    }

    #[test]
    fn connections_are_spread_over_ready_servers() {
        let backends = three();
        let first: Vec<usize> = (0..4).map(|_| backends.order()[0]).collect();
        assert_eq!(first, [0, 1, 2, 0]);
        backends.answered(1, false);
        let orders: Vec<Vec<usize>> = (0..3).map(|_| backends.order()).collect();
        assert!(orders.iter().all(|order| order[2] == 1), "{orders:?}");
    }

    #[test]
    fn one_miss_keeps_new_clients_away_and_two_make_a_server_gone() {
        let backends = three();
        backends.missed(0);
        backends.answered(1, false);
        backends.missed(2);
        backends.missed(2);
        assert_eq!(backends.order(), [0, 1, 2]);
        backends.answered(2, true);
        assert_eq!(backends.order()[0], 2);
    }
}
