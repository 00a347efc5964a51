//! One scheduler and one controller manager act: a lease changes hands only when it was released, or had not been
//! renewed for as long as it says.
//!
//! Source: promise 3 of `ARCHITECTURE.md`, section 9; client-go `tools/leaderelection/leaderelection.go`,
//! `tryAcquireOrRenew`. A candidate counts from when it saw the last renewal, which is no earlier than the time written
//! in it, as long as all clocks agree.

use super::{Change, LEASES, number, text};
use chaos_store::Violation;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

const NAMES: [&str; 2] = ["kube-scheduler", "kube-controller-manager"];

pub(super) fn check(changes: &[Change]) -> Result<(), Violation> {
    for change in changes {
        let name = change
            .key
            .strip_prefix(LEASES)
            .and_then(|key| key.strip_prefix("kube-system/"));
        if !name.is_some_and(|name| NAMES.contains(&name)) {
            continue;
        }
        let (Some(before), Some(after)) = (&change.before, &change.after) else {
            continue;
        };
        let (old, new) = (holder(before), holder(after));
        if old.is_empty() || new.is_empty() || old == new {
            continue;
        }
        let silent = renewed_at(after).duration_since(renewed_at(before));
        let promised = duration(before);
        if silent < promised {
            return Err(Violation::safety(
                "a lease is taken over only when it has run out",
                format!(
                    "{} at revision {}: from {old} to {new} after {silent:?} of {promised:?}",
                    change.key, change.revision
                ),
            ));
        }
    }
    Ok(())
}

pub(crate) fn holder(lease: &Value) -> &str {
    text(lease, "/spec/holderIdentity")
}

fn renewed_at(lease: &Value) -> Timestamp {
    text(lease, "/spec/renewTime").parse().unwrap_or_default()
}

/// The exact one if the holder tells it; whole seconds are rounded up.
fn duration(lease: &Value) -> SignedDuration {
    let exact = text(lease, "/metadata/annotations/trireme~1lease-duration-ms");
    let exact = exact
        .split_once(' ')
        .filter(|(_, whose)| *whose == holder(lease))
        .and_then(|(millis, _)| millis.parse().ok());
    if let Some(millis) = exact {
        return SignedDuration::from_millis(millis);
    }
    SignedDuration::from_secs(number(lease, "/spec/leaseDurationSeconds"))
}
