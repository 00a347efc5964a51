//! What `--auth-token` says: `simple`, `jwt` and its options, or nothing (etcd `server/auth/options.go`).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// How long a JWT is good when its options don't say.
const JWT_TTL: Duration = Duration::from_secs(300);

/// The settings of auth make no sense.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    #[error("auth: invalid auth options: {0:?}")]
    Options(String),
    #[error("auth: invalid auth signature method {0:?}")]
    Method(String),
    #[error("auth: missing key data")]
    MissingKey,
    #[error("auth: public and private keys don't match")]
    KeyMismatch,
    #[error("auth: reading {path}")]
    File { path: PathBuf, source: std::io::Error },
    #[error("auth: {what} key for {method}: {why}")]
    Key {
        what: &'static str,
        method: String,
        why: String,
    },
}

/// What kind of tokens clients get.
#[derive(Debug, PartialEq, Eq)]
pub enum TokenOptions {
    Simple,
    Jwt(JwtOptions),
    /// Nobody can log in; certificates still say who someone is.
    None,
}

#[derive(Debug, PartialEq, Eq)]
pub struct JwtOptions {
    pub sign_method: String,
    pub public_key: Option<PathBuf>,
    pub private_key: Option<PathBuf>,
    pub ttl: Duration,
}

impl TokenOptions {
    /// # Errors
    /// [`AuthError::Options`].
    pub fn parse(text: &str) -> Result<Self, AuthError> {
        let invalid = || AuthError::Options(text.to_owned());
        let mut parts = text.split(',');
        let kind = parts.next().unwrap_or_default();
        let mut options = BTreeMap::new();
        for part in parts {
            let (key, value) = part.split_once('=').ok_or_else(invalid)?;
            if value.contains('=') || options.insert(key, value).is_some() {
                return Err(invalid());
            }
        }
        match kind {
            "simple" => Ok(Self::Simple),
            "" => Ok(Self::None),
            "jwt" => {
                let file = |key: &str| {
                    options
                        .get(key)
                        .filter(|path| !path.is_empty())
                        .map(PathBuf::from)
                };
                let ttl = match options.get("ttl").filter(|ttl| !ttl.is_empty()) {
                    None => JWT_TTL,
                    Some(ttl) => go_duration(ttl).ok_or_else(invalid)?,
                };
                for key in options.keys() {
                    if !["sign-method", "pub-key", "priv-key", "ttl"].contains(key) {
                        tracing::warn!(key, "an unknown option of JWT");
                    }
                }
                Ok(Self::Jwt(JwtOptions {
                    sign_method: options.get("sign-method").copied().unwrap_or_default().to_owned(),
                    public_key: file("pub-key"),
                    private_key: file("priv-key"),
                    ttl,
                }))
            }
            _ => Err(invalid()),
        }
    }
}

/// A duration as Go writes it: `10m`, `1h30m`, `1.5s`. Negative ones are refused.
fn go_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        total = total.checked_add(Duration::try_from_secs_f64(number * unit).ok()?)?;
        rest = &rest[letters..];
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::{JwtOptions, TokenOptions, go_duration};
    use std::time::Duration;

    #[test]
    fn options_are_read_as_etcd_does() {
        assert_eq!(TokenOptions::parse("simple").ok(), Some(TokenOptions::Simple));
        assert_eq!(TokenOptions::parse("").ok(), Some(TokenOptions::None));
        let jwt = TokenOptions::parse("jwt,pub-key=/p,priv-key=/q,sign-method=RS256,ttl=1h30m");
        assert_eq!(
            jwt.ok(),
            Some(TokenOptions::Jwt(JwtOptions {
                sign_method: "RS256".to_owned(),
                public_key: Some("/p".into()),
                private_key: Some("/q".into()),
                ttl: Duration::from_secs(5400),
            }))
        );
        for wrong in ["fancy", "jwt,ttl", "jwt,ttl=1,ttl=2", "jwt,ttl=1", "jwt,ttl=a=b"] {
            assert!(TokenOptions::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations_are_read_as_go_does() {
        for (text, millis) in [
            ("300s", 300_000),
            ("10m", 600_000),
            ("1.5s", 1_500),
            ("2h1ms", 7_200_001),
        ] {
            assert_eq!(go_duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for wrong in ["", "5", "s", "-5s", "5 s", "1d", "."] {
            assert_eq!(go_duration(wrong), None, "{wrong}");
        }
    }
}
