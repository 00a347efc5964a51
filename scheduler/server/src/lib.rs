//! The scheduler: informers in, bindings out, one leader among several candidates.
//!
//! Invariants:
//! - One task owns the picture of the cluster and decides; writes run beside it and report back to it.
//! - Every write is fenced by the lease: a scheduler that lost it writes nothing more.
//! - A new leader lists everything afresh before its first decision, so that it counts every binding of the old one, and
//!   the end of every pod that it counted.

mod binding;
mod groups;
mod leading;
mod pod_status;
mod preempting;
mod scheduler;
mod watches;

pub use scheduler::{Scheduler, SchedulerConfig};
