//! The real binary on this machine, driven as a user drives it: `trireme` and stock `kubectl`.
//!
//! Needs root, and what `cargo xtask setup` installs; without them these tests fail, they never skip.

mod first_minutes;
mod leader_loss;
mod node_loss;
mod registry;
mod restart;
mod roles;
mod several_nodes;
mod world;
