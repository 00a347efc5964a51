//! turmoil TCP behind the network seam; every chunk read or written goes into the trace.

use super::Trace;
use crate::{BoxedIo, Listener, Network};
use async_trait::async_trait;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil::net::{TcpListener, TcpStream};

/// The network as seen by the simulated host that is running.
#[derive(Debug, Clone)]
pub struct SimNetwork {
    trace: Trace,
}

impl SimNetwork {
    pub fn new(trace: Trace) -> Self {
        Self { trace }
    }

    fn stream(&self, inner: TcpStream, label: String) -> BoxedIo {
        let label = Arc::from(label);
        self.trace.record(&label, "open", &[]);
        Box::new(TracedStream {
            inner,
            trace: self.trace.clone(),
            label,
        })
    }
}

#[async_trait]
impl Network for SimNetwork {
    async fn connect(&self, address: &str) -> io::Result<BoxedIo> {
        let stream = TcpStream::connect(address).await?;
        let label = format!("{}>{address}", stream.local_addr()?);
        Ok(self.stream(stream, label))
    }

    async fn listen(&self, address: &str) -> io::Result<Box<dyn Listener>> {
        let port = address
            .rsplit_once(':')
            .and_then(|(_, port)| port.parse::<u16>().ok());
        let port = port.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, address.to_owned()))?;
        // A simulated host has one address; turmoil wants the wildcard.
        let inner = TcpListener::bind(("0.0.0.0", port)).await?;
        Ok(Box::new(SimListener {
            inner,
            network: self.clone(),
        }))
    }
}

struct SimListener {
    inner: TcpListener,
    network: SimNetwork,
}

#[async_trait]
impl Listener for SimListener {
    async fn accept(&self) -> io::Result<(BoxedIo, SocketAddr)> {
        let (stream, peer) = self.inner.accept().await?;
        let label = format!("{}<{peer}", stream.local_addr()?);
        Ok((self.network.stream(stream, label), peer))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

struct TracedStream {
    inner: TcpStream,
    trace: Trace,
    label: Arc<str>,
}

impl AsyncRead for TracedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let done = ready!(Pin::new(&mut self.inner).poll_read(cx, buf));
        self.trace.record(&self.label, "read", &buf.filled()[before..]);
        Poll::Ready(done)
    }
}

impl AsyncWrite for TracedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let done = ready!(Pin::new(&mut self.inner).poll_write(cx, buf));
        if let Ok(written) = done {
            self.trace.record(&self.label, "write", &buf[..written]);
        }
        Poll::Ready(done)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
