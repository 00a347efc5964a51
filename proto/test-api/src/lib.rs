//! An API server in memory, for tests of components that act on what they watch.
//!
//! The perturbations are Sieve's (OSDI 2022): a client sees events late, misses intermediate states, and crashes
//! between two of its writes; beside them answers get lost, and a client is cut off for a while. One seed decides
//! everything; time is tokio's, paused, so that no test waits for real. A [`Server`] shows the same objects to clients
//! behind sockets, in real time.
//!
//! Invariants:
//! - Kept from the real server: unique names, preconditions on uid and resourceVersion, a status that only its own
//!   sub-resource writes, generations, finalizers, pods that go only when their node agent says so, namespaces that
//!   take nothing in once they are terminating; a list shows every write before it.
//! - A watch tells every event once, in order, or ends with 410 (Gone).
//! - Every write is shown to the judges before anybody is told of it.
//!
//! It knows no component. What it doesn't do: defaulting, validation, authorization, versions of a resource.

mod faults;
mod kinds;
mod objects;
mod process;
mod request;
mod server;
mod watching;
mod world;

pub use faults::Faults;
pub use kinds::Kind;
pub use objects::{Api, Objects, Place, Write, ready};
pub use process::{Process, keep_alive};
pub use server::Server;
pub use world::{World, seeds};
