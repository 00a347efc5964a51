//! Watching: one hub a member, one task a client stream.

pub(crate) mod event;
mod hub;
mod stream;

pub use event::Published;
pub use hub::WatchHub;
pub use stream::{StreamOptions, serve};
