//! A running hash over everything that crosses the simulated network.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Lines kept for the report of a failure; older ones are dropped.
const KEPT_LINES: usize = 2_000;

/// What happened, as a hash: two runs of one seed must end with equal summaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceSummary {
    pub hash: u64,
    pub events: u64,
}

/// Shared by all hosts of a world; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Trace(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    // DefaultHasher::new() has fixed keys: equal input gives equal output in every process.
    hasher: DefaultHasher,
    events: u64,
    recent: VecDeque<Line>,
}

/// One event; written out only when someone asks.
#[derive(Debug)]
struct Line {
    at: Duration,
    host: Arc<str>,
    kind: &'static str,
    length: usize,
    digest: u64,
}

impl Trace {
    /// Adds an event: simulated time, host, kind, and the bytes it carried. Logged, too, as `network` at level `trace`.
    pub fn record(&self, host: &Arc<str>, kind: &'static str, bytes: &[u8]) {
        let at = turmoil::sim_elapsed().unwrap_or(Duration::ZERO);
        tracing::trace!(target: "network", connection = %host, kind, length = bytes.len());
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (at, &**host, kind, bytes).hash(&mut state.hasher);
        state.events += 1;
        if state.recent.len() == KEPT_LINES {
            state.recent.pop_front();
        }
        let digest = state.hasher.finish();
        state.recent.push_back(Line {
            at,
            host: Arc::clone(host),
            kind,
            length: bytes.len(),
            digest,
        });
    }

    pub fn summary(&self) -> TraceSummary {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        TraceSummary {
            hash: state.hasher.finish(),
            events: state.events,
        }
    }

    /// The last events, oldest first.
    pub fn recent(&self) -> Vec<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .recent
            .iter()
            .map(|line| {
                let Line {
                    at,
                    host,
                    kind,
                    length,
                    digest,
                } = line;
                format!("{at:?} {host} {kind} {length} {digest:016x}")
            })
            .collect()
    }
}
