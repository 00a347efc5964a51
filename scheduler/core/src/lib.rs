//! The pure core of the scheduler: snapshot, filters, scores, queue, preemption.
//!
//! Plain functions over data: no clock, no randomness, no I/O. Plugins have upstream's names, order, weights and
//! texts (kube-scheduler 1.36); where upstream samples nodes, all are looked at.

mod cluster;
mod cycle;
mod diagnosis;
mod filters;
mod pod_info;
mod preemption;
mod queue;
mod resources;
mod scores;
mod selector;
mod taints;
mod volumes;

pub use cluster::{Cluster, NodeInfo};
pub use cycle::{NoFit, Nominated, schedule};
pub use diagnosis::{Diagnosis, Plugins, Reason};
pub use pod_info::PodInfo;
pub use preemption::{Budget, Preemption, preempt, waits_for_victims};
pub use queue::{Attempt, SchedulingQueue};
pub use resources::Amounts;
pub use selector::{Labels, Selector};
pub use volumes::{Claim, Class, Volume, VolumeAction, Volumes};
