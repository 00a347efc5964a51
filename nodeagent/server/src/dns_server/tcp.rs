//! Questions over a connection, each with its length in front.

use super::Shared;
use super::upstream::Transport;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use support::{BoxedIo, Listener};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Connections at once; further ones wait in the kernel's backlog.
const MAX_CONNECTIONS: usize = 128;
/// A client without a question for this long is gone.
const IDLE: Duration = Duration::from_secs(10);

pub(super) async fn serve(listener: Box<dyn Listener>, shared: Arc<Shared>) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, client)) => {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    if let Err(error) = converse(stream, &shared).await {
                        tracing::debug!(%client, %error, "DNS connection ended");
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "DNS accept failed");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn converse(mut stream: BoxedIo, shared: &Shared) -> io::Result<()> {
    loop {
        let query = match timeout(IDLE, read_message(&mut stream)).await {
            Ok(Ok(query)) => query,
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Ok(Err(error)) => return Err(error),
            Err(_) => return Ok(()),
        };
        let Some(answer) = shared.answer(&query, Transport::Tcp).await else {
            return Ok(());
        };
        timeout(IDLE, write_message(&mut stream, &answer)).await??;
    }
}

pub(super) async fn read_message(stream: &mut BoxedIo) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

pub(super) async fn write_message(stream: &mut BoxedIo, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    let mut framed = Vec::with_capacity(message.len() + 2);
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(message);
    stream.write_all(&framed).await?;
    stream.flush().await
}
