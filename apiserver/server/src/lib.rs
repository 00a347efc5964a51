//! The Kubernetes API server: HTTP in front, an etcd v3 store behind, one pipeline between.
//!
//! A request goes down these layers, each of which knows only the next:
//! - `http`: connections, bodies, content negotiation. `front`: the order in which every request is treated
//!   (`authn`, in-flight limits, `authz`), and dispatch of the resulting [`front::Call`].
//! - `verbs`: get, list, watch, create, update, patch, delete, the same for every resource; `subresources`,
//!   `reviews` and `streaming` for what isn't an object. `admission`, `ownership`, `services`, `quota` and
//!   `escalation` are the steps of a write.
//! - `cache`: one watch cache a resource. `store`: the etcd v3 client.
//!
//! What the objects mean is `apiserver_core`; nothing here decides it. `startup` keeps what the server itself
//! needs in the store. Replicas share nothing but that store.

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
mod unenforced;
mod user;
mod verbs;

pub use apiserver_core::admission::DefaultTolerations;
pub use config::{
    ApiServerConfig, FrontLimits, KubeletConfig, ServiceAccountConfig, StaticUser, StoreConfig,
};
pub use server::{ApiServer, BoundApiServer};
