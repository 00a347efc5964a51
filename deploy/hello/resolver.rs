//! A name's IPv4 address by /etc/hosts and /etc/resolv.conf. A static program can't use the C library's
//! resolver, which loads its parts at run time.

use std::io::{self, Error, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::time::Duration;

const TYPE_A: u16 = 1;
const CLASS_IN: u16 = 1;

/// The address of `name`, tried with the search domains as `options ndots` asks.
pub fn resolve(name: &str) -> io::Result<IpAddr> {
    if let Ok(address) = name.parse() {
        return Ok(address);
    }
    if let Some(address) = from_hosts(name) {
        return Ok(address);
    }
    let config = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let words = |key: &'static str| {
        config.lines().filter_map(move |line| line.strip_prefix(key)).flat_map(str::split_whitespace)
    };
    let ndots = words("options").find_map(|o| o.strip_prefix("ndots:")?.parse().ok()).unwrap_or(1);
    let searched = words("search").map(|domain| format!("{name}.{domain}"));
    let plain = name.trim_end_matches('.').to_owned();
    let candidates: Vec<String> = if name.ends_with('.') {
        vec![plain]
    } else if name.matches('.').count() >= ndots {
        std::iter::once(plain).chain(searched).collect()
    } else {
        searched.chain(std::iter::once(plain)).collect()
    };
    let mut failure = Error::new(ErrorKind::NotFound, "no name server in /etc/resolv.conf");
    for candidate in &candidates {
        for server in words("nameserver") {
            match query(server, candidate) {
                Ok(address) => return Ok(address),
                Err(error) => failure = Error::new(error.kind(), format!("{name}: {error}")),
            }
        }
    }
    Err(failure)
}

fn from_hosts(name: &str) -> Option<IpAddr> {
    let hosts = std::fs::read_to_string("/etc/hosts").ok()?;
    hosts.lines().find_map(|line| {
        let mut words = line.split('#').next()?.split_whitespace();
        let address = words.next()?.parse().ok()?;
        words.any(|word| word == name).then_some(address)
    })
}

fn query(server: &str, name: &str) -> io::Result<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    socket.connect((server.parse::<IpAddr>().map_err(Error::other)?, 53))?;
    let id = std::process::id() as u16;
    let mut question = Vec::new();
    // Recursion desired, one question.
    for word in [id, 0x0100, 1, 0, 0, 0] {
        question.extend(word.to_be_bytes());
    }
    for label in name.split('.') {
        let length = u8::try_from(label.len()).map_err(Error::other)?;
        question.push(length);
        question.extend(label.as_bytes());
    }
    question.push(0);
    question.extend(TYPE_A.to_be_bytes());
    question.extend(CLASS_IN.to_be_bytes());
    socket.send(&question)?;
    let mut answer = [0; 1500];
    loop {
        let length = socket.recv(&mut answer)?;
        let answer = &answer[..length];
        if number(answer, 0) == Some(id) {
            return first_address(answer, question.len())
                .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("{name} has no address")));
        }
    }
}

/// The first A record after the header and the one question, which end at `at`.
fn first_address(answer: &[u8], mut at: usize) -> Option<IpAddr> {
    for _ in 0..number(answer, 6)? {
        // The owner's name: labels, or a pointer that ends it.
        loop {
            match *answer.get(at)? {
                0 => break at += 1,
                length if length >= 0xc0 => break at += 2,
                length => at += 1 + usize::from(length),
            }
        }
        let (kind, length) = (number(answer, at)?, usize::from(number(answer, at + 8)?));
        at += 10;
        let data = answer.get(at..at + length)?;
        if kind == TYPE_A {
            return Some(IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?)));
        }
        at += length;
    }
    None
}

fn number(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}
