//! Watching: one hub a member, one task a client stream.

mod hub;
mod stream;

pub use hub::{Published, WatchHub};
pub use stream::{StreamOptions, serve};
