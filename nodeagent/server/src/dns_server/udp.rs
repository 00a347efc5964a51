//! Questions in one datagram.

use super::Shared;
use super::upstream::Transport;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::UdpSocket;
use tokio::sync::Semaphore;

/// Questions under way at once. Only forwarded ones last; when so many wait for silent resolvers, further questions are
/// dropped, and clients ask again.
const MAX_QUESTIONS: usize = 512;
/// Larger than any question.
const BUFFER: usize = 4096;

/// Simulated networks carry TCP alone: this one is always real.
pub(super) async fn bind(address: SocketAddr) -> std::io::Result<UdpSocket> {
    UdpSocket::bind(address).await
}

pub(super) async fn serve(socket: UdpSocket, shared: Arc<Shared>) {
    let socket = Arc::new(socket);
    let permits = Arc::new(Semaphore::new(MAX_QUESTIONS));
    let mut buffer = vec![0; BUFFER];
    loop {
        let (length, client) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                // A client that is gone already shows up here as an error of the next read.
                tracing::debug!(%error, "DNS read failed");
                tokio::task::yield_now().await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
            continue;
        };
        let query = buffer[..length].to_vec();
        let (socket, shared) = (Arc::clone(&socket), Arc::clone(&shared));
        tokio::spawn(async move {
            if let Some(answer) = shared.answer(&query, Transport::Udp).await {
                // The client asks again if this is lost.
                let _ = socket.send_to(&answer, client).await;
            }
            drop(permit);
        });
    }
}
