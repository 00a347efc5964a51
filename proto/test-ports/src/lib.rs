//! Ports of loopback for tests and benchmarks that start servers.
//!
//! Asking the kernel for port 0 and letting go of it isn't enough: the kernel may give the same port to
//! the next who asks, or to any outgoing connection, before the server binds it or while it restarts. Ports
//! from here lie below those of outgoing connections (`net.ipv4.ip_local_port_range` begins at 32768 unless
//! changed), and each belongs to one process until that ends.

use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::{Mutex, PoisonError};

/// Above what well-known services use, below node ports (30000) and outgoing connections.
const PORTS: Range<u16> = 12_000..30_000;

/// The claims of this process. A claim is a socket with a name that only exists in memory (an abstract one),
/// so that it ends with the process however that ends, and counts within a network namespace as ports do.
static CLAIMS: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());

/// A TCP port that nothing listens on, and that no other caller on this machine was given or will be given
/// while this process lives.
///
/// # Panics
/// When no port is left.
pub fn free_port() -> u16 {
    // Processes start looking at different places.
    let start = std::process::id() as usize * 37 % PORTS.len();
    ports_from(start).find(|port| claim(*port)).expect("a free port")
}

/// [`free_port`] on loopback, as `host:port`.
///
/// # Panics
/// When no port is left.
pub fn free_address() -> String {
    format!("{}:{}", Ipv4Addr::LOCALHOST, free_port())
}

/// Whether the port is this process's from now on. A port in use isn't looked at again by this process.
fn claim(port: u16) -> bool {
    let name = SocketAddr::from_abstract_name(format!("trireme-test-port-{port}"))
        .expect("the name is short enough for a socket");
    let Ok(claim) = UnixListener::bind_addr(&name) else {
        return false;
    };
    CLAIMS.lock().unwrap_or_else(PoisonError::into_inner).push(claim);
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
}

/// Every port once, from the one at `start` on.
fn ports_from(start: usize) -> impl Iterator<Item = u16> {
    PORTS.cycle().skip(start).take(PORTS.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_port_is_given_once() {
        let given: BTreeSet<u16> = (0..100).map(|_| free_port()).collect();
        assert_eq!(given.len(), 100);
        assert!(given.iter().all(|port| PORTS.contains(port)));
    }

    #[test]
    fn a_port_that_is_listened_on_is_not_given() {
        let taken = free_port();
        let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, taken)).unwrap();
        assert!(!claim(taken));
    }

    #[test]
    fn every_port_comes_up_once_from_any_start() {
        let ports: Vec<u16> = ports_from(PORTS.len() - 1).collect();
        assert_eq!(ports[..2], [PORTS.end - 1, PORTS.start]);
        assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), PORTS.len());
    }
}
