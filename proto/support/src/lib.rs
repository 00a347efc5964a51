//! The small shared kit of every component: seams, TLS identity, gRPC plumbing, telemetry, backoff.
//!
//! Invariants:
//! - No component opens a socket, reads a wall clock or draws randomness except through [`Env`]:
//!   in production it is [`Env::production`], under turmoil the simulated world hands in its own.
//! - Monotonic time is `tokio::time::Instant`, which the simulation pauses and steps.
//! - This crate knows no component and no Kubernetes.

mod backoff;
mod clock;
mod env;
mod grpc;
mod net;
mod random;
mod sabotage;
#[cfg(feature = "simulation")]
pub mod sim;
mod stopping;
pub mod telemetry;
pub mod tls;

pub use backoff::Backoff;
pub use clock::{SystemClock, WallClock};
pub use env::Env;
pub use grpc::{ConnectInfo, Incoming, Security, grpc_channel, incoming, incoming_with};
pub use net::{BoxedIo, Io, Listener, Network, TokioNetwork};
pub use random::Random;
pub use sabotage::Sabotage;
pub use stopping::asked_to_stop;
