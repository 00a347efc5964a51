//! The Lease object of an election: what it says, and the next one to write.

use super::LeaderElectionConfig;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use std::time::Duration;
use tokio::time::Instant;

/// Annotation: the exact duration in milliseconds and whose it is, as in `1500 HOLDER`. One that isn't the holder's, or
/// contradicts the seconds of the Lease, was left behind by a holder before and says nothing.
const EXACT_DURATION: &str = "trireme/lease-duration-ms";

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
        let holder = spec
            .and_then(|spec| spec.holder_identity.as_deref())
            .unwrap_or_default();
        let duration = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        let exact = exact_duration(lease, holder).filter(|exact| whole_seconds(*exact) == seconds);
        Self {
            holder,
            duration: exact.unwrap_or(duration),
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
    let exact = format!("{} {identity}", config.lease_duration.as_millis());
    let annotations = lease.metadata.annotations.get_or_insert_default();
    annotations.insert(EXACT_DURATION.to_owned(), exact);
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
    // The wire keeps microseconds: what is read again must be what was written.
    let now = Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now);
    spec.lease_duration_seconds = Some(whole_seconds(duration));
    spec.renew_time = Some(MicroTime(now));
}

/// Microseconds since 1970, which is what the wire keeps of it.
pub(super) fn renewed_at(lease: &Lease) -> Option<i64> {
    let time = lease.spec.as_ref()?.renew_time.as_ref()?;
    Some(time.0.as_microsecond())
}

/// Rounded up: a candidate that waits longer does no harm.
fn whole_seconds(duration: Duration) -> i32 {
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    i32::try_from(seconds).unwrap_or(i32::MAX).max(1)
}

fn exact_duration(lease: &Lease, holder: &str) -> Option<Duration> {
    let text = lease.metadata.annotations.as_ref()?.get(EXACT_DURATION)?;
    let (milliseconds, whose) = text.split_once(' ')?;
    (whose == holder).then_some(Duration::from_millis(milliseconds.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::{LeaseRecord, renewed, taken};
    use crate::election::LeaderElectionConfig;
    use jiff::Timestamp;
    use std::time::Duration;

    #[test]
    fn candidates_of_our_kind_wait_exactly_as_long_as_the_holder_says() {
        let config = LeaderElectionConfig::new("kube-scheduler", "a");
        let lease = taken(None, &config, "a_1", Timestamp::UNIX_EPOCH);
        let lease = renewed(&lease, &config, Timestamp::UNIX_EPOCH);
        assert_eq!(LeaseRecord::of(&lease).duration, config.lease_duration);
        // The others are told of whole seconds, never too few.
        let spec = lease.spec.as_ref().expect("a spec");
        assert_eq!(spec.lease_duration_seconds, Some(2));
    }

    #[test]
    fn an_exact_duration_that_is_not_the_holders_says_nothing() {
        let config = LeaderElectionConfig::new("kube-scheduler", "a");
        let ours = taken(None, &config, "a_1", Timestamp::UNIX_EPOCH);
        let two_seconds = Duration::from_secs(2);

        let mut other = ours.clone();
        other.spec.as_mut().expect("a spec").holder_identity = Some("b".into());
        assert_eq!(LeaseRecord::of(&other).duration, two_seconds);

        let mut longer = ours.clone();
        longer.spec.as_mut().expect("a spec").lease_duration_seconds = Some(15);
        assert_eq!(LeaseRecord::of(&longer).duration, Duration::from_secs(15));

        let mut broken = ours;
        let annotations = broken.metadata.annotations.as_mut().expect("annotations");
        annotations.insert(super::EXACT_DURATION.to_owned(), "soon".to_owned());
        assert_eq!(LeaseRecord::of(&broken).duration, two_seconds);
    }
}
