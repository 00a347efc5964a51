//! The Kubernetes API server: HTTP in front, an etcd v3 store behind, one pipeline between.

mod admission;
mod authn;
mod authz;
mod cache;
mod config;
mod discovery;
mod escalation;
mod front;
mod health;
mod http;
mod metrics;
mod openapi;
mod ownership;
mod patching;
mod quota;
mod reviews;
mod server;
mod services;
mod startup;
mod state;
mod store;
mod streaming;
mod subresources;
mod user;
mod verbs;

pub use config::{
    ApiServerConfig, FrontLimits, KubeletConfig, ServiceAccountConfig, StaticUser, StoreConfig,
};
pub use server::{ApiServer, BoundApiServer};
