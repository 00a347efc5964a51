//! The node's own resolvers, for everything that isn't the cluster's.

use super::tcp::{read_message, write_message};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use support::Env;
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout};

/// How long one resolver may take. Clients give up after 5 s, and there may be a second one to ask.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How long a silent resolver is left alone.
const PAUSE: Duration = Duration::from_secs(5);
/// The largest datagram that resolvers send.
const BUFFER: usize = 4096;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Udp,
    Tcp,
}

pub(super) struct Upstream {
    servers: Vec<Server>,
    env: Env,
}

struct Server {
    address: SocketAddr,
    silent_until: Mutex<Option<Instant>>,
}

impl Upstream {
    pub(super) fn new(addresses: Vec<SocketAddr>, env: &Env) -> Self {
        let servers = addresses.into_iter().map(|address| Server {
            address,
            silent_until: Mutex::new(None),
        });
        Self {
            servers: servers.collect(),
            env: env.clone(),
        }
    }

    /// The first answer of the resolvers that answer, as it came; `None` when none does.
    pub(super) async fn ask(&self, query: &[u8], transport: Transport) -> Option<Vec<u8>> {
        for server in self.servers.iter().filter(|server| !server.is_silent()) {
            let exchange = async {
                match transport {
                    Transport::Udp => self.over_udp(server.address, query).await,
                    Transport::Tcp => self.over_tcp(server.address, query).await,
                }
            };
            let failure = match timeout(TIMEOUT, exchange).await {
                Ok(Ok(answer)) => return Some(answer),
                Ok(Err(error)) => error,
                Err(_) => io::ErrorKind::TimedOut.into(),
            };
            tracing::debug!(server = %server.address, error = %failure, "resolver doesn't answer");
            server.fell_silent();
        }
        None
    }

    /// From a port of its own and with a fresh id, so that nobody can guess what answer is waited for.
    async fn over_udp(&self, server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
        let [high, low, ..] = query else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let own_id = [*high, *low];
        let mut fresh_id = [0; 2];
        self.env.random.fill(&mut fresh_id);
        let local: SocketAddr = match server {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(local).await?;
        socket.connect(server).await?;
        let mut sent = query.to_vec();
        sent[..2].copy_from_slice(&fresh_id);
        socket.send(&sent).await?;
        let mut buffer = vec![0; BUFFER];
        loop {
            let length = socket.recv(&mut buffer).await?;
            if length > 2 && buffer[..2] == fresh_id {
                buffer.truncate(length);
                buffer[..2].copy_from_slice(&own_id);
                return Ok(buffer);
            }
        }
    }

    async fn over_tcp(&self, server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
        let mut stream = self.env.net.connect(&server.to_string()).await?;
        write_message(&mut stream, query).await?;
        read_message(&mut stream).await
    }
}

impl Server {
    fn is_silent(&self) -> bool {
        self.silent_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some_and(|until| Instant::now() < until)
    }

    fn fell_silent(&self) {
        *self.silent_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + PAUSE);
    }
}
