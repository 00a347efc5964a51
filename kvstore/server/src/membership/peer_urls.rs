//! Peer URLs as etcd takes them (etcd `client/pkg/types/urls.go`, `NewURLs`).

use kvstore_core::Refusal;

/// The URLs, sorted; none, or one that is neither `http://host:port` or `https://host:port` nor a socket's
/// (`unix://` or `unixs://` and a path), is refused.
pub fn parse_peer_urls(urls: &[String]) -> Result<Vec<String>, Refusal> {
    if urls.is_empty() {
        return Err(Refusal::MemberUrlsInvalid);
    }
    let mut parsed = urls
        .iter()
        .map(|url| parse(url.trim()).ok_or(Refusal::MemberUrlsInvalid))
        .collect::<Result<Vec<String>, Refusal>>()?;
    parsed.sort_unstable();
    Ok(parsed)
}

fn parse(url: &str) -> Option<String> {
    let (scheme, address) = url.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    if matches!(scheme.as_str(), "unix" | "unixs") {
        return (!address.is_empty()).then(|| format!("{scheme}://{address}"));
    }
    if scheme != "http" && scheme != "https" {
        return None;
    }
    // No path, no query, no user; a host without a port is none to dial.
    if address.contains(['/', '?', '#', '@', ' ']) {
        return None;
    }
    let (host, port) = address.rsplit_once(':')?;
    let bracketed = host.starts_with('[') && host.ends_with(']');
    let plain = !host.contains([':', '[', ']']);
    (!host.is_empty() && (bracketed || plain) && port.parse::<u16>().is_ok())
        .then(|| format!("{scheme}://{address}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(urls: &[&str]) -> Vec<String> {
        urls.iter().map(|url| (*url).to_owned()).collect()
    }

    #[test]
    fn urls_with_host_and_port_are_sorted() {
        let urls = strings(&["https://b:2380", " http://a:2380", "http://[::1]:7"]);
        let sorted = strings(&["http://[::1]:7", "http://a:2380", "https://b:2380"]);
        assert_eq!(parse_peer_urls(&urls), Ok(sorted));
    }

    #[test]
    fn sockets_are_peer_urls_too() {
        let urls = strings(&["unixs:///run/b", "unix://etcd.unix:1"]);
        let sorted = strings(&["unix://etcd.unix:1", "unixs:///run/b"]);
        assert_eq!(parse_peer_urls(&urls), Ok(sorted));
    }

    #[test]
    fn what_is_not_a_peer_url_is_refused() {
        for url in [
            "",
            "a:2380",
            "tcp://a:2380",
            "http://a",
            "http://a:port",
            "http://:2380",
            "http://a:2380/path",
            "http://::1:2380",
            "unix://",
        ] {
            assert_eq!(
                parse_peer_urls(&strings(&["http://ok:1", url])),
                Err(Refusal::MemberUrlsInvalid),
                "{url}"
            );
        }
        assert_eq!(parse_peer_urls(&[]), Err(Refusal::MemberUrlsInvalid));
    }
}
