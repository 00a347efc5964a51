//! The real sink: `nft -f -` in the network namespace that this process runs in.

use super::RulesetSink;
use async_trait::async_trait;
use std::process::Stdio;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// Runs Debian's `nft`; the kernel applies a transaction whole or not at all.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nft;

#[async_trait]
impl RulesetSink for Nft {
    async fn apply(&self, transaction: &str) -> Result<(), String> {
        let mut child = Command::new("nft")
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("nft could not be started: {error}"))?;
        let mut input = child.stdin.take().ok_or("nft has no standard input")?;
        let written = input.write_all(transaction.as_bytes()).await;
        drop(input);
        let output = child
            .wait_with_output()
            .await
            .map_err(|error| format!("nft: {error}"))?;
        if output.status.success() {
            return written.map_err(|error| format!("nft did not read its input: {error}"));
        }
        let text = String::from_utf8_lossy(&output.stderr);
        // The first lines name the statement; the rest repeats the input.
        Err(text.lines().take(4).collect::<Vec<_>>().join("; "))
    }
}
