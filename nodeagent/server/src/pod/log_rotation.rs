//! Keeps container logs from filling the disk: 10 MiB a file, five files a container (upstream's defaults).
//! `kubectl logs` reads the newest file, as upstream's does.

use super::manager::PodManager;
use crate::context::Context;
use nodeagent_core::ContainerState;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

const CHECK: Duration = Duration::from_secs(10);
const MAX_BYTES: u64 = 10 << 20;
const MAX_FILES: usize = 5;

/// Until dropped.
pub(crate) async fn rotate_logs(context: Arc<Context>, pods: Arc<PodManager>) {
    let mut ticks = interval(CHECK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for view in pods.views() {
            let directory = context.log_dir(&view.model);
            let containers = view.observed.containers.iter();
            for container in containers.filter(|c| c.state == ContainerState::Running) {
                let path = directory.join(format!("{}/{}.log", container.name, container.attempt));
                match context.host.rotate_file(&path, MAX_BYTES, MAX_FILES).await {
                    Ok(false) => continue,
                    Ok(true) => {}
                    Err(error) => {
                        tracing::debug!(path = %path.display(), %error, "log cannot be rotated");
                        continue;
                    }
                }
                if let Err(error) = context.runtime.reopen_log(&container.id).await {
                    tracing::warn!(container = %container.name, %error, "log cannot be reopened");
                }
            }
        }
    }
}
