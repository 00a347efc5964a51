//! The key pair behind service-account tokens: signs, verifies, publishes.

use crate::config::ServiceAccountConfig;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// The claims of a bound token (upstream: pkg/serviceaccount/claims.go).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Claims {
    #[serde(default)]
    pub aud: Vec<String>,
    pub exp: i64,
    pub iat: i64,
    pub iss: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    #[serde(rename = "kubernetes.io")]
    pub private: PrivateClaims,
    #[serde(default)]
    pub nbf: i64,
    pub sub: String,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct PrivateClaims {
    pub namespace: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<ObjectRef>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<ObjectRef>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<ObjectRef>,
    pub serviceaccount: ObjectRef,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warnafter: Option<i64>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ObjectRef {
    pub name: String,
    pub uid: String,
}

/// Why a token is not one of ours.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("the signing key is not a P-256 private key in PKCS#8 PEM")]
    BadKey,
    #[error("signing failed")]
    Sign(#[source] jsonwebtoken::errors::Error),
    #[error("not a token of this issuer")]
    Foreign,
    #[error("{0}")]
    Invalid(String),
}

pub(crate) struct TokenKeys {
    signing: EncodingKey,
    verifying: DecodingKey,
    key_id: String,
    issuer: String,
    jwk: Value,
}

impl TokenKeys {
    pub(crate) fn new(config: &ServiceAccountConfig) -> Result<Self, TokenError> {
        let pair = rcgen::KeyPair::from_pem(&config.signing_key_pem).map_err(|_| TokenError::BadKey)?;
        let signing =
            EncodingKey::from_ec_pem(config.signing_key_pem.as_bytes()).map_err(|_| TokenError::BadKey)?;
        // An uncompressed point: 0x04, x, y.
        let point = pair.public_key_raw();
        let (Some(x), Some(y)) = (point.get(1..33), point.get(33..65)) else {
            return Err(TokenError::BadKey);
        };
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        let verifying = DecodingKey::from_ec_components(&x, &y).map_err(|_| TokenError::BadKey)?;
        let key_id = URL_SAFE_NO_PAD.encode(Sha256::digest(point));
        let jwk =
            json!({"use": "sig", "kty": "EC", "kid": key_id, "crv": "P-256", "alg": "ES256", "x": x, "y": y});
        Ok(Self {
            signing,
            verifying,
            key_id,
            issuer: config.issuer.clone(),
            jwk,
        })
    }

    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }

    pub(crate) fn sign(&self, claims: &Claims) -> Result<String, TokenError> {
        let mut header = Header::new(Algorithm::ES256);
        header.typ = None;
        header.kid = Some(self.key_id.clone());
        jsonwebtoken::encode(&header, claims, &self.signing).map_err(TokenError::Sign)
    }

    /// Checks signature, issuer and times (`now` in Unix seconds). Audience and existence are the caller's.
    pub(crate) fn verify(&self, token: &str, now: i64) -> Result<Claims, TokenError> {
        // Times are checked below, against the clock that was handed to this component.
        let mut validation = Validation::new(Algorithm::ES256);
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let claims = jsonwebtoken::decode::<Claims>(token, &self.verifying, &validation)
            .map_err(|_| TokenError::Foreign)?
            .claims;
        if claims.iss != self.issuer {
            return Err(TokenError::Foreign);
        }
        if now >= claims.exp {
            return Err(TokenError::Invalid(
                "service account token has expired".to_owned(),
            ));
        }
        // A minute for clocks that disagree, as upstream's validator.
        if claims.nbf > now + 60 {
            return Err(TokenError::Invalid(
                "service account token is not valid yet".to_owned(),
            ));
        }
        Ok(claims)
    }

    /// `/openid/v1/jwks`.
    pub(crate) fn jwks(&self) -> Value {
        json!({"keys": [self.jwk]})
    }

    /// `/.well-known/openid-configuration`.
    pub(crate) fn openid_configuration(&self, address: &str) -> Value {
        json!({
            "issuer": self.issuer,
            "jwks_uri": format!("https://{address}/openid/v1/jwks"),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Claims, ObjectRef, PrivateClaims, TokenKeys};
    use crate::config::ServiceAccountConfig;

    fn keys(issuer: &str) -> TokenKeys {
        let signing_key_pem = rcgen::KeyPair::generate().expect("a key").serialize_pem();
        TokenKeys::new(&ServiceAccountConfig {
            signing_key_pem,
            issuer: issuer.to_owned(),
        })
        .expect("keys")
    }

    #[test]
    fn a_token_is_good_until_it_expires_and_only_for_its_own_key() {
        let ours = keys("https://a");
        let claims = Claims {
            aud: vec!["https://a".to_owned()],
            exp: 2000,
            iat: 1000,
            iss: "https://a".to_owned(),
            jti: None,
            private: PrivateClaims {
                namespace: "ns".to_owned(),
                serviceaccount: ObjectRef {
                    name: "sa".to_owned(),
                    uid: "u".to_owned(),
                },
                ..PrivateClaims::default()
            },
            nbf: 1000,
            sub: "system:serviceaccount:ns:sa".to_owned(),
        };
        let token = ours.sign(&claims).expect("a token");
        assert_eq!(ours.verify(&token, 1999).expect("valid").sub, claims.sub);
        assert!(ours.verify(&token, 2000).is_err());
        assert!(ours.verify(&token, 900).is_err());
        assert!(keys("https://a").verify(&token, 1500).is_err());
    }
}
