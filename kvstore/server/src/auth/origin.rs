//! Where a request comes from: what it brings to say who asks.

use std::sync::Arc;
use support::tls::PeerIdentity;
use tonic::Request;

/// Metadata that carries a token, as etcd's clients send it, and as HTTP does.
const TOKEN: [&str; 2] = ["token", "authorization"];
/// The JSON gateway's mark: the certificate on its connection is not the client's.
const GATEWAY: &str = "grpcgateway-accept";

/// A request's credentials, unchecked. Its debug form is left out on purpose.
#[derive(Clone, Default)]
pub struct Origin {
    pub token: Option<String>,
    /// The verified certificate of the connection.
    pub certificate: Option<Arc<PeerIdentity>>,
}

impl Origin {
    pub fn of<T>(request: &Request<T>) -> Self {
        let metadata = request.metadata();
        let token = TOKEN.iter().find_map(|key| metadata.get(*key)).map(|value| {
            // What isn't text is no token that was ever given out.
            let text = value.to_str().unwrap_or_default();
            text.strip_prefix("Bearer ").unwrap_or(text).to_owned()
        });
        let certificate = if metadata.contains_key(GATEWAY) {
            None
        } else {
            request.extensions().get::<Arc<PeerIdentity>>().cloned()
        };
        Self { token, certificate }
    }
}

#[cfg(test)]
mod tests {
    use super::Origin;
    use std::sync::Arc;
    use support::tls::PeerIdentity;
    use tonic::Request;

    #[test]
    fn a_token_comes_in_either_of_two_fields_and_the_gateway_lends_no_certificate() {
        for (key, value) in [
            ("token", "abc.1"),
            ("authorization", "abc.1"),
            ("authorization", "Bearer abc.1"),
        ] {
            let mut request = Request::new(());
            request
                .metadata_mut()
                .insert(key, value.parse().expect("metadata"));
            assert_eq!(Origin::of(&request).token.as_deref(), Some("abc.1"));
        }
        let mut request = Request::new(());
        request.extensions_mut().insert(Arc::new(PeerIdentity {
            common_name: "alice".to_owned(),
            organizations: Vec::new(),
        }));
        assert!(Origin::of(&request).certificate.is_some());
        request
            .metadata_mut()
            .insert("grpcgateway-accept", "*/*".parse().expect("metadata"));
        assert!(Origin::of(&request).certificate.is_none());
    }
}
