use super::{Bearer, Jwt};
use crate::auth::token_options::{AuthError, JwtOptions};
use jiff::{Timestamp, ToSpan as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::WallClock;

/// A clock that a test sets.
#[derive(Clone)]
struct Clock(Arc<Mutex<Timestamp>>);

impl Clock {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Timestamp::UNIX_EPOCH + 1_000_000.seconds())))
    }

    fn advance(&self, seconds: i64) {
        *self.0.lock().expect("not poisoned") += seconds.seconds();
    }
}

impl WallClock for Clock {
    fn now(&self) -> Timestamp {
        *self.0.lock().expect("not poisoned")
    }
}

fn key(name: &str) -> Option<PathBuf> {
    let folder = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("src/auth/jwt/keys");
    (!name.is_empty()).then(|| folder.join(name))
}

fn open(method: &str, private: &str, public: &str, clock: &Clock) -> Result<Jwt, AuthError> {
    let options = JwtOptions {
        sign_method: method.to_owned(),
        private_key: key(private),
        public_key: key(public),
        ttl: Duration::from_secs(60),
    };
    Jwt::new(&options, Arc::new(clock.clone()))
}

fn error(method: &str, private: &str, public: &str) -> String {
    match open(method, private, public, &Clock::new()) {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn every_method_signs_and_checks() {
    let clock = Clock::new();
    for (method, private, public) in [
        ("RS256", "rsa.pem", "rsa.pub.pem"),
        ("RS384", "rsa-pkcs8.pem", ""),
        ("RS512", "rsa.pem", ""),
        ("PS256", "rsa-pkcs8.pem", "rsa.pub.pem"),
        ("PS384", "rsa.pem", ""),
        ("PS512", "rsa.pem", ""),
        ("ES256", "p256.pem", "p256.pub.pem"),
        ("ES256", "p256-pkcs8.pem", ""),
        ("ES384", "p384.pem", ""),
        ("EdDSA", "ed25519.pem", "ed25519.pub.pem"),
        ("EdDSA", "ed25519.pem", ""),
        ("HS256", "secret", ""),
        ("HS384", "secret", ""),
        ("HS512", "secret", ""),
    ] {
        let jwt = open(method, private, public, &clock).unwrap_or_else(|error| panic!("{method}: {error}"));
        let token = jwt.sign("alice", 7).expect("signs");
        let bearer = Bearer {
            username: "alice".to_owned(),
            revision: 7,
        };
        assert_eq!(jwt.check(&token), Some(bearer), "{method} {private}");
        let mut forged = token.clone();
        forged.truncate(token.len() - 8);
        assert_eq!(jwt.check(&forged), None, "{method}");
        for part in ["", "a.b.c", &token[1..]] {
            assert_eq!(jwt.check(part), None, "{method}");
        }
    }
}

#[test]
fn a_token_expires() {
    let clock = Clock::new();
    let jwt = open("ES256", "p256.pem", "", &clock).expect("a key");
    let token = jwt.sign("alice", 1).expect("signs");
    clock.advance(59);
    assert!(jwt.check(&token).is_some());
    clock.advance(1);
    assert!(jwt.check(&token).is_none());
}

#[test]
fn a_public_key_alone_checks_but_does_not_sign() {
    let clock = Clock::new();
    let signer = open("RS256", "rsa.pem", "", &clock).expect("a key");
    let checker = open("RS256", "", "rsa.pub.pem", &clock).expect("a key");
    let token = signer.sign("bob", 3).expect("signs");
    assert_eq!(checker.check(&token).expect("good").username, "bob");
    assert_eq!(
        checker.sign("bob", 3),
        Err("auth: token signing attempted with verify-only key".to_owned())
    );
    // Same key, other method: not what was agreed on.
    let other = open("RS512", "rsa.pem", "", &clock).expect("a key");
    assert_eq!(other.check(&token), None);
    let stranger = open("RS256", "", "stranger.pub.pem", &clock).expect("a key");
    assert_eq!(stranger.check(&token), None);
}

#[test]
fn keys_that_make_no_sense_are_refused_at_the_start() {
    assert_eq!(
        error("RS256", "rsa.pem", "stranger.pub.pem"),
        "auth: public and private keys don't match"
    );
    assert_eq!(error("RS256", "", ""), "auth: missing key data");
    assert_eq!(error("HS256", "", "rsa.pub.pem"), "auth: missing key data");
    assert!(error("none", "rsa.pem", "").starts_with("auth: invalid auth signature method"));
    assert!(error("RS256", "absent.pem", "").starts_with("auth: reading "));
    for (method, private) in [("ES256", "rsa.pem"), ("ES384", "p256.pem"), ("EdDSA", "p256.pem")] {
        let refused = error(method, private, "");
        assert!(
            refused.starts_with("auth: private key"),
            "{method} {private}: {refused}"
        );
    }
}
