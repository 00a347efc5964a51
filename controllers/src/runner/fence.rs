//! The right to write.

use kubeclient::{Leadership, LeadershipLost};
use std::future::Future;

/// Lets writes through only while leadership is held.
#[derive(Clone)]
pub enum Fence {
    Leader(Leadership),
    /// No election: a single instance.
    Open,
}

impl Fence {
    /// # Errors
    /// When leadership is lost; the write may or may not have happened.
    pub async fn write<T>(&self, write: impl Future<Output = T>) -> Result<T, LeadershipLost> {
        match self {
            Self::Leader(leadership) => leadership.fenced(write).await,
            Self::Open => Ok(write.await),
        }
    }
}
