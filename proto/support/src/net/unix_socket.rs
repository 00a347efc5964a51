//! Sockets in the file system.

use super::{BoxedIo, Listener};
use async_trait::async_trait;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use tokio::net::{UnixListener, UnixStream};

pub async fn connect(path: &str) -> io::Result<BoxedIo> {
    Ok(Box::new(UnixStream::connect(path).await?))
}

/// Takes the place of a socket that a dead process has left; not of one that somebody answers on.
pub async fn listen(path: &str) -> io::Result<Box<dyn Listener>> {
    if std::fs::exists(path)? {
        if UnixStream::connect(path).await.is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, path.to_owned()));
        }
        std::fs::remove_file(path)?;
    }
    Ok(Box::new(Socket {
        listener: UnixListener::bind(path)?,
        path: path.into(),
    }))
}

/// A listening socket, whose file goes with it.
struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

#[async_trait]
impl Listener for Socket {
    async fn accept(&self) -> io::Result<(BoxedIo, SocketAddr)> {
        let (stream, _) = self.listener.accept().await?;
        Ok((Box::new(stream), nowhere()))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(nowhere())
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // It may have been removed by somebody else.
        let _gone = std::fs::remove_file(&self.path);
    }
}

fn nowhere() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

#[cfg(test)]
mod tests {
    use super::{connect, listen};
    use std::io::ErrorKind;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn a_dead_socket_is_replaced_and_a_living_one_is_not() {
        let name = format!("support-{}.sock", std::process::id());
        let path = std::env::temp_dir().join(name);
        let path = path.to_str().expect("a path of text");
        drop(std::os::unix::net::UnixListener::bind(path).expect("a socket that nobody answers on"));
        let listener = listen(path).await.expect("a dead socket is no hindrance");
        let refused = listen(path).await.err().expect("somebody answers");
        assert_eq!(refused.kind(), ErrorKind::AddrInUse);
        // The attempt above has connected once, and left.
        listener.accept().await.expect("the attempt");
        let mut client = connect(path).await.expect("a connection");
        let (mut server, _) = listener.accept().await.expect("the other end");
        client.write_all(b"x").await.expect("sent");
        assert_eq!(server.read_u8().await.expect("received"), b'x');
        drop(listener);
        assert!(!std::path::Path::new(path).exists());
    }
}
