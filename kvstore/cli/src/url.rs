//! URLs of listeners and members (etcd `client/pkg/types/urls.go`, `embed.checkBindURLs`).

use std::fmt;
use std::net::IpAddr;

/// What is spoken at a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scheme {
    Http,
    Https,
    Unix,
    Unixs,
}

/// A URL without a path (`http`, `https`), or the path of a socket (`unix`, `unixs`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    scheme: Scheme,
    /// `host:port`, or the socket's path.
    host: String,
    /// As it was written.
    text: String,
}

impl Url {
    /// # Errors
    /// In etcd's words, which are partly those of Go's `net/url`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = split_scheme(text)?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            "unix" => Scheme::Unix,
            "unixs" => Scheme::Unixs,
            _ => {
                return Err(format!("URL scheme must be http, https, unix, or unixs: {text}"));
            }
        };
        let authority = rest.strip_prefix("//");
        let host = match scheme {
            Scheme::Unix | Scheme::Unixs => authority.unwrap_or(rest).to_owned(),
            Scheme::Http | Scheme::Https => {
                let authority = authority.unwrap_or_default();
                let (host, path) = match authority.find('/') {
                    Some(slash) => authority.split_at(slash),
                    None => (authority, ""),
                };
                check_port(host).map_err(|reason| format!("parse {text:?}: {reason}"))?;
                if split_host_port(host).is_none() {
                    return Err(format!(
                        "URL address does not have the form \"host:port\": {text}"
                    ));
                }
                if !path.is_empty() {
                    return Err(format!("URL must not contain a path: {text}"));
                }
                host.to_owned()
            }
        };
        Ok(Self {
            scheme,
            host,
            text: text.to_owned(),
        })
    }

    /// `http://` or `https://` and this `host:port`.
    pub fn of(scheme: Scheme, host: &str) -> Self {
        let prefix = if scheme == Scheme::Https { "https" } else { "http" };
        Self {
            scheme,
            host: host.to_owned(),
            text: format!("{prefix}://{host}"),
        }
    }

    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    pub fn is_secure(&self) -> bool {
        matches!(self.scheme, Scheme::Https | Scheme::Unixs)
    }

    pub fn is_socket(&self) -> bool {
        matches!(self.scheme, Scheme::Unix | Scheme::Unixs)
    }

    /// `host:port`, or the socket's path.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The host without its port and brackets; the socket's path.
    pub fn hostname(&self) -> &str {
        if self.is_socket() {
            return &self.host;
        }
        split_host_port(&self.host).map_or(&self.host, |(host, _)| host)
    }

    pub fn port(&self) -> &str {
        split_host_port(&self.host).map_or("", |(_, port)| port)
    }

    /// The address to listen on: `host:port`, or `unix:` and a path. `localhost` is IPv4's, as clients of
    /// etcd's expect.
    pub fn bind_address(&self) -> String {
        if self.is_socket() {
            format!("unix:{}", self.host)
        } else if self.hostname() == "localhost" {
            format!("127.0.0.1:{}", self.port())
        } else {
            self.host.clone()
        }
    }

    /// # Errors
    /// When the host is a name: it may have several addresses, or other ones tomorrow.
    pub fn check_bind(&self) -> Result<(), String> {
        if self.is_socket() || self.hostname() == "localhost" || self.hostname().parse::<IpAddr>().is_ok() {
            return Ok(());
        }
        Err(format!("expected IP in URL for binding ({self})"))
    }

    /// # Errors
    /// When nobody can be reached there.
    pub fn check_host(&self) -> Result<(), String> {
        if !self.is_socket() && self.hostname().is_empty() {
            return Err(format!("unexpected empty host ({self})"));
        }
        Ok(())
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialOrd for Url {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Url {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.text.cmp(&other.text)
    }
}

/// The scheme, and what follows its colon.
fn split_scheme(text: &str) -> Result<(&str, &str), String> {
    let refuse = |reason: &str| Err(format!("parse {text:?}: {reason}"));
    for (at, character) in text.char_indices() {
        match character {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if at > 0 => {}
            ':' if at == 0 => return refuse("missing protocol scheme"),
            ':' => return Ok((&text[..at], &text[at + 1..])),
            _ => break,
        }
    }
    let segment = text.split('/').next().unwrap_or_default();
    if segment.contains(':') {
        return refuse("first path segment in URL cannot contain colon");
    }
    Ok(("", text))
}

/// A port, when there is one, is made of digits.
fn check_port(host: &str) -> Result<(), String> {
    let after_brackets = host.rfind(']').map_or(0, |bracket| bracket + 1);
    match host[after_brackets..].rfind(':') {
        Some(colon) => {
            let port = &host[after_brackets + colon..];
            match port[1..].chars().all(|c| c.is_ascii_digit()) {
                true => Ok(()),
                false => Err(format!("invalid port {port:?} after host")),
            }
        }
        None => Ok(()),
    }
}

/// `net.SplitHostPort`: the host without brackets, and the port; `None` for anything else.
fn split_host_port(text: &str) -> Option<(&str, &str)> {
    let (host, port) = text.rsplit_once(':')?;
    match host.strip_prefix('[') {
        Some(inner) => Some((inner.strip_suffix(']')?, port)),
        None if host.contains([':', '[', ']']) => None,
        None => Some((host, port)),
    }
}

#[cfg(test)]
mod tests {
    use super::Url;

    fn refusal(text: &str) -> String {
        Url::parse(text).expect_err("not a URL for etcd")
    }

    #[test]
    fn what_etcd_refuses_is_refused_in_its_words() {
        assert_eq!(
            refusal("127.0.0.1:2379"),
            "parse \"127.0.0.1:2379\": first path segment in URL cannot contain colon"
        );
        assert_eq!(
            refusal("localhost:2379"),
            "URL scheme must be http, https, unix, or unixs: localhost:2379"
        );
        assert_eq!(
            refusal("http://127.0.0.1"),
            "URL address does not have the form \"host:port\": http://127.0.0.1"
        );
        assert_eq!(
            refusal("http://127.0.0.1:2379/path"),
            "URL must not contain a path: http://127.0.0.1:2379/path"
        );
        assert_eq!(
            refusal("ftp://a:1"),
            "URL scheme must be http, https, unix, or unixs: ftp://a:1"
        );
        assert_eq!(
            refusal("http://a:b"),
            "parse \"http://a:b\": invalid port \":b\" after host"
        );
        assert_eq!(refusal(":1"), "parse \":1\": missing protocol scheme");
    }

    #[test]
    fn hosts_ports_and_sockets_are_told_apart() {
        let url = Url::parse("https://[::1]:2379").expect("a URL");
        assert_eq!(
            (url.hostname(), url.port(), url.is_secure()),
            ("::1", "2379", true)
        );
        assert_eq!(url.bind_address(), "[::1]:2379");
        let socket = Url::parse("unix:///run/etcd.sock").expect("a socket");
        assert_eq!(socket.bind_address(), "unix:/run/etcd.sock");
        let relative = Url::parse("unix://localhost:2379").expect("a socket");
        assert_eq!(relative.bind_address(), "unix:localhost:2379");
    }

    #[test]
    fn listeners_bind_addresses_and_not_names() {
        let check = |text: &str| Url::parse(text).expect("a URL").check_bind();
        assert_eq!(check("http://0.0.0.0:2379"), Ok(()));
        assert_eq!(check("http://localhost:2379"), Ok(()));
        assert_eq!(
            check("http://example.com:2379"),
            Err("expected IP in URL for binding (http://example.com:2379)".to_owned())
        );
        let host = Url::parse("http://:2379").expect("a URL").check_host();
        assert_eq!(host, Err("unexpected empty host (http://:2379)".to_owned()));
    }
}
