//! Pods of this node: one worker task each, fed by the API server, the runtime and probes.

mod handlers;
mod images;
mod log_rotation;
mod manager;
mod prober;
mod sources;
mod start;
mod status_writer;
mod step;
mod steps;
mod volumes;
mod worker;

pub(crate) use log_rotation::rotate_logs;
pub(crate) use manager::PodManager;
pub(crate) use sources::pod_network;
