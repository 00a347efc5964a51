//! The API server over Debian's etcd, as its clients see it: raw HTTPS, the kube crate and stock kubectl.

mod bad_input;
mod cluster;
mod identity;
mod kube_client;
mod kubectl;
mod listing;
mod pods;
mod replicas;
mod store_failures;
mod watching;
mod writing;
