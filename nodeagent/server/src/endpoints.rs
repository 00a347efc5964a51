//! The HTTPS endpoints of the node.

use crate::context::Context;
use crate::pod::PodManager;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

pub(crate) async fn serve(
    _context: Arc<Context>,
    manager: Arc<PodManager>,
    cancel: CancellationToken,
) -> anyhow::Result<()> {
    let _ = manager.find("", "");
    cancel.cancelled().await;
    Ok(())
}
