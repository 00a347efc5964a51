//! Requests under way are bounded, in lanes: a flood of one kind doesn't keep the others out.
//!
//! A coarse form of upstream's priority levels (apiserver/pkg/util/flowcontrol): those who keep the cluster alive
//! (nodes, scheduler, controllers, leader elections) have places that workloads and people can't take, and
//! system:masters are never refused. Beyond the places of its lane a request gets 429.

use crate::config::FrontLimits;
use crate::user::UserInfo;
use apiserver_core::{ApiError, RequestInfo};
use tokio::sync::{Semaphore, SemaphorePermit};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lane {
    Exempt,
    System,
    Workload,
}

struct Places {
    reads: Semaphore,
    writes: Semaphore,
}

impl Places {
    fn new(limits: &FrontLimits) -> Self {
        Self {
            reads: Semaphore::new(limits.max_reads),
            writes: Semaphore::new(limits.max_writes),
        }
    }
}

pub(super) struct Lanes {
    system: Places,
    workload: Places,
}

impl Lanes {
    pub(super) fn new(limits: &FrontLimits) -> Self {
        Self {
            system: Places::new(limits),
            workload: Places::new(limits),
        }
    }

    /// A place for the request, held while it runs; `None` for those who need none.
    ///
    /// # Errors
    /// 429 when the lane is full.
    pub(super) fn enter(
        &self,
        user: &UserInfo,
        info: &RequestInfo,
    ) -> Result<Option<SemaphorePermit<'_>>, ApiError> {
        let places = match lane_of(user, info) {
            Lane::Exempt => return Ok(None),
            Lane::System => &self.system,
            Lane::Workload => &self.workload,
        };
        let reading = matches!(info.verb.as_str(), "get" | "list" | "head" | "options");
        let places = if reading { &places.reads } else { &places.writes };
        let full = |_| ApiError::too_many_requests("Too many requests, please try again later.", 1);
        places.try_acquire().map(Some).map_err(full)
    }
}

fn lane_of(user: &UserInfo, info: &RequestInfo) -> Lane {
    if user.in_group("system:masters") || !info.is_resource_request && info.verb == "get" {
        return Lane::Exempt;
    }
    let system = user.in_group("system:nodes")
        || user.in_group("system:serviceaccounts:kube-system")
        || user.username.starts_with("system:kube-")
        || (info.api_group == "coordination.k8s.io" && info.namespace == "kube-system");
    if system { Lane::System } else { Lane::Workload }
}

#[cfg(test)]
mod tests {
    use super::Lanes;
    use crate::config::FrontLimits;
    use crate::user::UserInfo;
    use apiserver_core::RequestInfo;

    #[test]
    fn a_flood_of_workloads_leaves_places_for_nodes() {
        let limits = FrontLimits {
            max_writes: 1,
            ..FrontLimits::default()
        };
        let lanes = Lanes::new(&limits);
        let write = RequestInfo::read("POST", "/api/v1/namespaces/default/pods", "").expect("a request");
        let read = RequestInfo::read("GET", "/api/v1/namespaces/default/pods", "").expect("a request");
        let of = |group: &str| UserInfo {
            username: "x".to_owned(),
            groups: vec![group.to_owned()],
            ..UserInfo::default()
        };
        let held = lanes.enter(&of("people"), &write).expect("the first place");
        assert!(held.is_some());
        let refused = lanes.enter(&of("people"), &write).expect_err("full");
        assert_eq!(refused.code, 429);
        assert!(lanes.enter(&of("people"), &read).is_ok());
        assert!(lanes.enter(&of("system:nodes"), &write).is_ok());
        assert!(matches!(lanes.enter(&of("system:masters"), &write), Ok(None)));
        drop(held);
        assert!(lanes.enter(&of("people"), &write).is_ok());
    }
}
