//! Leases never end before their time, and nothing is attached to one that has ended.
//!
//! Source: etcd's promise that a lease lives for at least the time to live that its holder was told
//! (<https://etcd.io/docs/v3.6/learning/api/#lease-api>). Whoever answered a grant or a renewal did so after the
//! call: from the call on, the lease has its whole time.

use super::linearizability::{Maker, Makers};
use crate::chronicle::Chronicle;
use crate::history::{Answer, Operation, Outcome, Request};
use crate::outcome::Violation;
use std::collections::BTreeMap;
use std::time::Duration;

/// What is known of a lease.
#[derive(Default)]
struct Promise {
    /// Until then it may not end by itself.
    until: Duration,
    /// By whom that was promised.
    by: String,
    /// The first call that asked for its end.
    revoke_called: Option<Duration>,
    /// The revision at which it ended, if that was seen.
    ended: Option<i64>,
}

/// # Errors
/// The first lease that ended early, or was used after its end.
pub fn check(operations: &[Operation], chronicle: &Chronicle, makers: &Makers) -> Result<(), Violation> {
    let mut leases: BTreeMap<i64, Promise> = BTreeMap::new();
    for operation in operations {
        if let Request::Revoke(id) = &operation.request
            && !matches!(operation.outcome, Outcome::Refused(_))
        {
            let lease = leases.entry(*id).or_default();
            let first = lease
                .revoke_called
                .map_or(operation.called, |at| at.min(operation.called));
            lease.revoke_called = Some(first);
        }
    }
    // In the order in which the promises were made known, so that each end is held against those before it.
    for (revision, maker) in makers {
        let Maker::LeaseEnd(id) = maker else { continue };
        let seen = chronicle.pages[revision].seen;
        let lease = leases.entry(*id).or_default();
        lease.ended = Some(*revision);
        if lease.revoke_called.is_some_and(|called| called <= seen) {
            continue;
        }
        for operation in operations {
            let ttl = match (&operation.request, &operation.outcome) {
                (
                    Request::Grant(grant),
                    Outcome::Answered {
                        answer: Answer::Granted(ttl),
                        ..
                    },
                ) if grant.id == *id => *ttl,
                (
                    Request::KeepAlive(renewed),
                    Outcome::Answered {
                        answer: Answer::Renewed(ttl),
                        ..
                    },
                ) if renewed == id => *ttl,
                _ => continue,
            };
            let until = operation.called + Duration::from_secs(u64::try_from(ttl).unwrap_or(0));
            if ttl > 0 && until > lease.until {
                lease.until = until;
                lease.by = format!(
                    "{:?} at {} ({:?} to {:?})",
                    operation.request, operation.member, operation.called, operation.returned
                );
            }
        }
        if seen < lease.until {
            return Err(Violation::safety(
                "a lease lives as long as its holder was told",
                format!(
                    "lease {id} had ended at {seen:?} (revision {revision}), but until {:?} was promised by {}",
                    lease.until, lease.by
                ),
            ));
        }
    }
    attached_after_the_end(operations, &leases)
}

fn attached_after_the_end(
    operations: &[Operation],
    leases: &BTreeMap<i64, Promise>,
) -> Result<(), Violation> {
    for operation in operations {
        if let (Request::Put(put), Outcome::Answered { revision, .. }) =
            (&operation.request, &operation.outcome)
            && let Some(ended) = leases.get(&put.lease).and_then(|lease| lease.ended)
            && *revision > ended
        {
            return Err(Violation::safety(
                "nothing is attached to a lease that has ended",
                format!("lease {} ended at revision {ended}: {operation:?}", put.lease),
            ));
        }
    }
    Ok(())
}
