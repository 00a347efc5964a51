//! The network seam: TCP as a trait, so that a simulation can stand in for it.

mod first_byte;
mod unix_socket;

pub(crate) use first_byte::first_byte;

use async_trait::async_trait;
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncWrite};

/// A byte stream in both directions.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Io for T {}

pub type BoxedIo = Box<dyn Io>;

/// Opens and accepts TCP connections.
#[async_trait]
pub trait Network: Send + Sync + 'static {
    /// Connects to `address`, `host:port`; names are resolved by the implementation.
    async fn connect(&self, address: &str) -> io::Result<BoxedIo>;

    /// Listens on `address`, `host:port`; port 0 picks a free one.
    async fn listen(&self, address: &str) -> io::Result<Box<dyn Listener>>;
}

/// A bound listener.
#[async_trait]
pub trait Listener: Send + Sync + 'static {
    async fn accept(&self) -> io::Result<(BoxedIo, SocketAddr)>;
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// Real sockets. `unix:` and a path stands for a socket in the file system, whose other end counts as a
/// process of this machine: its address is loopback, port 0.
#[derive(Debug, Clone, Copy, Default)]
pub struct TokioNetwork;

#[async_trait]
impl Network for TokioNetwork {
    async fn connect(&self, address: &str) -> io::Result<BoxedIo> {
        if let Some(path) = address.strip_prefix("unix:") {
            return unix_socket::connect(path).await;
        }
        let stream = tokio::net::TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }

    async fn listen(&self, address: &str) -> io::Result<Box<dyn Listener>> {
        if let Some(path) = address.strip_prefix("unix:") {
            return unix_socket::listen(path).await;
        }
        Ok(Box::new(TokioListener(
            tokio::net::TcpListener::bind(address).await?,
        )))
    }
}

struct TokioListener(tokio::net::TcpListener);

#[async_trait]
impl Listener for TokioListener {
    async fn accept(&self) -> io::Result<(BoxedIo, SocketAddr)> {
        let (stream, peer) = self.0.accept().await?;
        stream.set_nodelay(true)?;
        Ok((Box::new(stream), peer))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}
