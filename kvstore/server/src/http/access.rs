//! Who plain HTTP is answered for: hosts against DNS rebinding, origins of browsers (etcd
//! `server/embed/serve.go`, `accessController`).

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, HOST, ORIGIN,
};
use http::{HeaderMap, HeaderValue, Request};

/// The rules of one listener.
#[derive(Debug, Clone, Default)]
pub struct AccessControl {
    /// Empty or with a `*`: any.
    pub origins: Vec<String>,
    /// As above; doesn't count over TLS.
    pub hosts: Vec<String>,
    pub tls: bool,
}

fn allows(list: &[String], name: &str) -> bool {
    list.is_empty() || list.iter().any(|allowed| allowed == "*" || allowed == name)
}

impl AccessControl {
    /// # Errors
    /// What etcd answers with 421 to a host that isn't on the list.
    pub fn check_host<B>(&self, request: &Request<B>) -> Result<(), String> {
        let host = match request.uri().authority() {
            Some(authority) => authority.as_str(),
            None => request
                .headers()
                .get(HOST)
                .and_then(|host| host.to_str().ok())
                .unwrap_or_default(),
        };
        let name = host_name(host);
        if self.tls || allows(&self.hosts, name) {
            return Ok(());
        }
        Err(format!(
            "\netcd received your request, but the Host header was unrecognized.\n\n\
             To fix this, choose one of the following options:\n\
             - Enable TLS, then any HTTPS request will be allowed.\n\
             - Add the hostname you want to use to the whitelist in settings.\n  \
             - e.g. etcd --host-whitelist {name:?}\n\n\
             This requirement has been added to help prevent \"DNS Rebinding\" attacks (CVE-2018-5702).\n\n"
        ))
    }

    /// Tells a browser what its page may do with the answer.
    pub fn mark(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        let any = HeaderValue::from_static("*");
        let origin = match origin {
            _ if allows(&self.origins, "*") => &any,
            Some(origin) if origin.to_str().is_ok_and(|name| allows(&self.origins, name)) => origin,
            _ => return,
        };
        headers.insert(
            ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static("POST, GET, OPTIONS, PUT, DELETE"),
        );
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(
            ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static("accept, content-type, authorization"),
        );
    }
}

pub fn origin(headers: &HeaderMap) -> Option<HeaderValue> {
    headers.get(ORIGIN).cloned()
}

/// Without the port; brackets of an IPv6 address go too.
fn host_name(host: &str) -> &str {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.is_empty() => name,
        _ => host,
    };
    name.strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::{AccessControl, host_name};
    use http::{HeaderMap, HeaderValue, Request};

    #[test]
    fn hosts_are_compared_without_ports() {
        for (host, name) in [
            ("store:2379", "store"),
            ("store", "store"),
            ("[::1]:2379", "::1"),
            ("127.0.0.1:1", "127.0.0.1"),
        ] {
            assert_eq!(host_name(host), name);
        }
    }

    #[test]
    fn an_unknown_host_is_refused_without_tls_only() {
        let request = Request::builder().header("host", "evil:80").body(()).unwrap();
        let mut access = AccessControl {
            hosts: vec!["store".to_owned()],
            ..AccessControl::default()
        };
        assert!(access.check_host(&request).is_err());
        access.tls = true;
        assert!(access.check_host(&request).is_ok());
    }

    #[test]
    fn only_a_named_origin_is_allowed() {
        let access = AccessControl {
            origins: vec!["https://ours".to_owned()],
            ..AccessControl::default()
        };
        for (origin, allowed) in [("https://ours", true), ("https://theirs", false)] {
            let mut headers = HeaderMap::new();
            access.mark(Some(&HeaderValue::from_static(origin)), &mut headers);
            assert_eq!(headers.get("access-control-allow-origin").is_some(), allowed);
        }
    }
}
