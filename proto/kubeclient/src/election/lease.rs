//! The Lease object of an election: what it says, and the next one to write.

use super::LeaderElectionConfig;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use std::time::Duration;
use tokio::time::Instant;

/// What a lease says about its holder.
pub(super) struct LeaseRecord<'a> {
    /// Empty when released.
    pub(super) holder: &'a str,
    duration: Duration,
}

impl<'a> LeaseRecord<'a> {
    pub(super) fn of(lease: &'a Lease) -> Self {
        let spec = lease.spec.as_ref();
        let seconds = spec.and_then(|spec| spec.lease_duration_seconds).unwrap_or(0);
        Self {
            holder: spec
                .and_then(|spec| spec.holder_identity.as_deref())
                .unwrap_or_default(),
            duration: Duration::from_secs(u64::try_from(seconds).unwrap_or(0)),
        }
    }

    /// When `candidate` may take the lease, which it has seen unchanged since `observed_at`.
    pub(super) fn free_at(&self, observed_at: Instant, candidate: &str) -> Instant {
        if self.holder.is_empty() || self.holder == candidate {
            return observed_at;
        }
        observed_at + self.duration
    }
}

pub(super) fn taken(
    current: Option<&Lease>,
    config: &LeaderElectionConfig,
    identity: &str,
    now: Timestamp,
) -> Lease {
    let mut lease = current.cloned().unwrap_or_else(|| Lease {
        metadata: ObjectMeta {
            namespace: Some(config.namespace.clone()),
            name: Some(config.name.clone()),
            ..ObjectMeta::default()
        },
        spec: None,
    });
    let spec = lease.spec.get_or_insert_default();
    if spec.holder_identity.as_deref() != Some(identity) {
        // The first holder is no transition; every other one is.
        let transitions = current.map_or(0, |_| spec.lease_transitions.unwrap_or(0).saturating_add(1));
        spec.lease_transitions = Some(transitions);
        spec.acquire_time = Some(MicroTime(now));
    }
    spec.holder_identity = Some(identity.to_owned());
    stamp(spec, config.lease_duration, now);
    lease
}

pub(super) fn renewed(lease: &Lease, config: &LeaderElectionConfig, now: Timestamp) -> Lease {
    let mut lease = lease.clone();
    stamp(lease.spec.get_or_insert_default(), config.lease_duration, now);
    lease
}

/// As client-go releases: no holder, and a duration that is over at once.
pub(super) fn released(lease: &Lease, now: Timestamp) -> Lease {
    let mut lease = lease.clone();
    let spec = lease.spec.get_or_insert_default();
    spec.holder_identity = Some(String::new());
    stamp(spec, Duration::from_secs(1), now);
    lease
}

fn stamp(spec: &mut LeaseSpec, duration: Duration, now: Timestamp) {
    // Rounded up: a candidate that waits longer does no harm.
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    spec.lease_duration_seconds = Some(i32::try_from(seconds).unwrap_or(i32::MAX).max(1));
    spec.renew_time = Some(MicroTime(now));
}
