//! Connections to a pod's own loopback, made inside its network namespace.

use super::PodNetwork;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::AsFd as _;
use std::time::Duration;
use support::BoxedIo;
use tokio::sync::oneshot;

const TIMEOUT: Duration = Duration::from_secs(5);

pub(super) async fn dial(network: &PodNetwork, port: u16) -> io::Result<BoxedIo> {
    let (answer, result) = oneshot::channel();
    let network = network.clone();
    // A thread of its own: the namespace is a thread's, and this one never runs anything else. A socket
    // stays in the namespace where it was made.
    std::thread::Builder::new()
        .name("pod-dial".to_owned())
        .spawn(move || {
            // The receiver is gone when the caller was cancelled.
            let _ = answer.send(enter_and_connect(&network, port));
        })?;
    let stream = result
        .await
        .map_err(|_| io::Error::other("the dialling thread ended"))??;
    stream.set_nonblocking(true)?;
    Ok(Box::new(tokio::net::TcpStream::from_std(stream)?))
}

fn enter_and_connect(network: &PodNetwork, port: u16) -> io::Result<TcpStream> {
    if let PodNetwork::OfProcess(pid) = network {
        let namespace = File::open(format!("/proc/{pid}/ns/net"))?;
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
    }
    let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
    TcpStream::connect_timeout(&v4, TIMEOUT)
        .or_else(|error| TcpStream::connect_timeout(&v6, TIMEOUT).map_err(|_| error))
}
