//! Leases on which Events hang, so that they go away by themselves.
//!
//! One lease serves many events: it is granted a little longer than asked and reused for a minute or a
//! thousand keys (upstream: storage/etcd3/lease_manager.go).

use super::{StoreClient, StoreError};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// `--event-ttl` of upstream.
const EVENT_TTL: Duration = Duration::from_secs(3600);
const REUSE_FOR: Duration = Duration::from_secs(60);
/// Expiry deletes all keys of a lease in one revision; more would make a huge watch batch.
const REUSE_KEYS: usize = 1000;

#[derive(Default)]
pub(crate) struct EventLeases {
    current: Mutex<Option<Granted>>,
}

struct Granted {
    lease: i64,
    reusable_until: Instant,
    keys: usize,
}

impl EventLeases {
    /// A lease that lives at least the events' time to live from now.
    pub(crate) async fn lease(&self, store: &StoreClient) -> Result<i64, StoreError> {
        let mut current = self.current.lock().await;
        if let Some(granted) = current.as_mut()
            && granted.keys < REUSE_KEYS
            && Instant::now() < granted.reusable_until
        {
            granted.keys += 1;
            return Ok(granted.lease);
        }
        let lease = store.grant_lease(EVENT_TTL + REUSE_FOR).await?;
        *current = Some(Granted {
            lease,
            reusable_until: Instant::now() + REUSE_FOR,
            keys: 1,
        });
        Ok(lease)
    }
}
