//! Signed tokens: whoever has the key can check one, so members need not remember any (etcd
//! `server/auth/jwt.go`). A token holds the auth revision it was given at; each change of users and roles
//! makes all of them stale.

use super::jwt_key::JwtKey;
use super::token_options::{AuthError, JwtOptions};
use jsonwebtoken::{Header, Validation};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use support::WallClock;

#[derive(Serialize)]
struct Given<'a> {
    username: &'a str,
    revision: u64,
    /// Seconds since 1970.
    exp: i64,
}

/// As given, by us or by others with the key: numbers may come with a fraction.
#[derive(Deserialize)]
struct Claims {
    username: String,
    revision: f64,
    exp: Option<f64>,
    nbf: Option<f64>,
}

/// Who a token says its bearer is.
#[derive(Debug, PartialEq, Eq)]
pub struct Bearer {
    pub username: String,
    pub revision: u64,
}

/// Gives out and checks JWTs.
pub struct Jwt {
    key: JwtKey,
    ttl: Duration,
    clock: Arc<dyn WallClock>,
}

impl Jwt {
    /// # Errors
    /// When a key is missing or wrong, or two given don't belong together.
    pub fn new(options: &JwtOptions, clock: Arc<dyn WallClock>) -> Result<Self, AuthError> {
        let jwt = Self {
            key: JwtKey::load(options)?,
            ttl: options.ttl,
            clock,
        };
        if jwt.key.signing.is_some() {
            // Also shows that the key can sign at all, before the first client finds out.
            let probe = jwt.sign("", 0).map_err(|why| AuthError::Key {
                what: "private",
                method: options.sign_method.clone(),
                why,
            })?;
            if jwt.claims(&probe).is_none() {
                return Err(AuthError::KeyMismatch);
            }
        }
        Ok(jwt)
    }

    /// A token for `username` at an auth revision.
    ///
    /// # Errors
    /// When there is no private key.
    pub fn sign(&self, username: &str, revision: u64) -> Result<String, String> {
        let signing = self
            .key
            .signing
            .as_ref()
            .ok_or("auth: token signing attempted with verify-only key")?;
        let claims = Given {
            username,
            revision,
            exp: self
                .clock
                .now()
                .as_second()
                .saturating_add_unsigned(self.ttl.as_secs()),
        };
        jsonwebtoken::encode(&Header::new(self.key.algorithm), &claims, signing)
            .map_err(|error| error.to_string())
    }

    /// Whose token it is, if it is good now.
    pub fn check(&self, token: &str) -> Option<Bearer> {
        let claims = self.claims(token)?;
        let now = self.clock.now().as_second() as f64;
        if claims.exp.is_some_and(|exp| now >= exp) || claims.nbf.is_some_and(|nbf| now < nbf) {
            return None;
        }
        Some(Bearer {
            username: claims.username,
            // As etcd casts it: a fraction is cut off, nonsense is no revision.
            revision: claims.revision as u64,
        })
    }

    /// The claims of a token with a good signature. Time is left to the caller: the library knows no clock
    /// but the system's.
    fn claims(&self, token: &str) -> Option<Claims> {
        let mut validation = Validation::new(self.key.algorithm);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        jsonwebtoken::decode(token, &self.key.checking, &validation)
            .ok()
            .map(|decoded| decoded.claims)
    }
}

#[cfg(test)]
mod tests;
