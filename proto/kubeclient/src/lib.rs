//! Kubernetes API access for components: a client over the network seam, informers, a work queue, leader
//! election and events.
//!
//! Invariants:
//! - Every byte goes through `Env::net`, every delay through tokio time, every random choice through
//!   `Env::random`: components built on this crate run unchanged inside a simulation.
//! - A dead server never wedges a client: connections are checked by HTTP/2 pings and replaced.
//! - No change of an object is lost between an [`Informer`] and its subscribers; intermediate states may be.

mod client;
mod credentials;
mod election;
mod events;
mod informer;
mod queue;
mod transport;

pub use client::{ClientConfig, client, replaceable_client};
pub use credentials::{ClientError, Credentials, CredentialsHandle};
pub use election::{LeaderElection, LeaderElectionConfig, Leadership, LeadershipLost};
pub use events::{EventKind, EventRecorder};
pub use informer::{Change, Changes, Informer, ObjectKey, Store, object_key};
pub use queue::{Processing, Queue};
