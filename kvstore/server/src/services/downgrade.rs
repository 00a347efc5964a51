//! Maintenance.Downgrade: what etcd's operators ask before they go back to an older version.
//!
//! Questions are answered as etcd 3.6 does (`server/etcdserver/version`): the only target is the minor version
//! before the cluster's. Nothing can be begun, because no etcd reads a member's folder: the way back is a
//! snapshot, which any etcd can restore. So there is never anything to cancel either, which etcd answers like
//! success.

use super::{Shared, cluster_version};
use crate::status;
use proto::etcdserverpb::downgrade_request::DowngradeAction;
use proto::etcdserverpb::{DowngradeRequest, DowngradeResponse};
use tonic::Status;

/// # Errors
/// `InvalidArgument` when the target is no version, or not the one before; `FailedPrecondition` when it is to
/// be done; `Unavailable` without a quorum.
pub async fn answer(shared: &Shared, request: &DowngradeRequest) -> Result<DowngradeResponse, Status> {
    let action = DowngradeAction::try_from(request.action).map_err(|_| status::unknown_method())?;
    if action != DowngradeAction::Cancel {
        let target = minor_version(&request.version).ok_or_else(status::bad_downgrade_format)?;
        shared.barrier.wait().await?;
        if Some(target) != target_allowed() {
            return Err(status::bad_downgrade_target());
        }
    }
    if action == DowngradeAction::Enable {
        return Err(status::no_way_back());
    }
    Ok(DowngradeResponse {
        header: Some(shared.consensus.header(0)),
        version: cluster_version().to_owned(),
    })
}

/// The minor version before the cluster's.
fn target_allowed() -> Option<(u64, u64)> {
    let (major, minor) = minor_version(cluster_version())?;
    Some((major, minor.checked_sub(1)?))
}

/// Major and minor of a semantic version, whose patch may be missing.
fn minor_version(text: &str) -> Option<(u64, u64)> {
    let numbers = text.split(['-', '+']).next()?;
    let parts: Vec<u64> = numbers
        .split('.')
        .map(|part| part.parse().ok())
        .collect::<Option<_>>()?;
    match parts[..] {
        [major, minor] | [major, minor, _] => Some((major, minor)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::minor_version;

    #[test]
    fn versions_may_leave_out_the_patch_and_nothing_else() {
        assert_eq!(minor_version("3.5"), Some((3, 5)));
        assert_eq!(minor_version("3.5.24"), Some((3, 5)));
        assert_eq!(minor_version("3.5.0-rc.1+build"), Some((3, 5)));
        for wrong in ["", "3", "v3.5", "3.5.0.1", "3..5", "three"] {
            assert_eq!(minor_version(wrong), None, "{wrong}");
        }
    }
}
