//! What is known of the API servers, and in which order a new connection tries them.

use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::watch;

/// How a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    Ready,
    /// It wants no new clients, or refuses them. Those that it has may stay: it may be about to end in good order.
    Unready,
    /// It takes connections, if that, and says nothing.
    Gone,
}

/// All servers; probers and connections write what they see.
pub struct Backends {
    servers: Vec<Server>,
    /// Rises with every connection, so that they are spread.
    turn: AtomicUsize,
}

struct Server {
    address: String,
    health: watch::Sender<Health>,
}

/// Waits for a server to fall silent after this was made.
pub struct Silence(watch::Receiver<Health>);

impl Backends {
    /// They count as ready until they are known not to be.
    pub fn new(addresses: Vec<String>) -> Self {
        let server = |address| Server {
            address,
            health: watch::Sender::new(Health::Ready),
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

    /// A server has said how it is.
    pub fn answered(&self, number: usize, ready: bool) {
        self.set(number, if ready { Health::Ready } else { Health::Unready });
    }

    /// A server did not take a client. One that was gone stays so: only an answer says otherwise.
    pub fn refused(&self, number: usize) {
        let before = *self.servers[number].health.borrow();
        self.set(number, before.max(Health::Unready));
    }

    /// A server has said nothing for too long.
    pub fn silent(&self, number: usize) {
        self.set(number, Health::Gone);
    }

    pub fn silence(&self, number: usize) -> Silence {
        Silence(self.servers[number].health.subscribe())
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

impl Silence {
    pub async fn begins(&mut self) {
        // The sender lives as long as the relay that waits.
        while self.0.changed().await.is_ok() {
            if *self.0.borrow_and_update() == Health::Gone {
                return;
            }
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
    fn who_refuses_comes_after_the_ready_and_who_is_silent_last() {
        let backends = three();
        backends.refused(0);
        backends.silent(2);
        assert_eq!(backends.order(), [1, 0, 2]);
        backends.refused(2);
        assert_eq!(backends.order()[2], 2);
        backends.answered(2, true);
        assert_eq!(backends.order()[0], 2);
    }
}
