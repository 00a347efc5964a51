//! Keys that sign and check JWTs, from PEM files. A private key alone is enough: the public one follows
//! from it. Elliptic curve keys may be PKCS#8 or what `openssl ecparam -genkey` writes (SEC 1).

use super::token_options::{AuthError, JwtOptions};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair as _, RsaKeyPair,
};
use std::path::Path;

/// Both halves, or only the one that checks.
pub struct JwtKey {
    pub algorithm: Algorithm,
    pub signing: Option<EncodingKey>,
    pub checking: DecodingKey,
}

impl JwtKey {
    /// Reads the files that `options` name.
    ///
    /// # Errors
    /// When the method isn't known, a file can't be read, or a key is none for the method. That the two
    /// belong together is for the caller to try.
    pub fn load(options: &JwtOptions) -> Result<Self, AuthError> {
        let method = &options.sign_method;
        // ES512 is left out: no library that we trust signs on that curve.
        let algorithm: Algorithm = method.parse().map_err(|_| AuthError::Method(method.clone()))?;
        let read = |path: &Path| {
            std::fs::read(path).map_err(|source| AuthError::File {
                path: path.to_owned(),
                source,
            })
        };
        let private = options.private_key.as_deref().map(read).transpose()?;
        let public = options.public_key.as_deref().map(read).transpose()?;
        let wrong = |what, why: String| AuthError::Key {
            what,
            method: method.clone(),
            why,
        };
        if matches!(algorithm, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512) {
            let secret = private
                .filter(|secret| !secret.is_empty())
                .ok_or(AuthError::MissingKey)?;
            return Ok(Self {
                algorithm,
                signing: Some(EncodingKey::from_secret(&secret)),
                checking: DecodingKey::from_secret(&secret),
            });
        }
        let pair = private
            .map(|pem| pair(algorithm, &pem).map_err(|why| wrong("private", why)))
            .transpose()?;
        let given = public
            .map(|pem| checking(algorithm, &pem).map_err(|why| wrong("public", why)))
            .transpose()?;
        match (pair, given) {
            (None, None) => Err(AuthError::MissingKey),
            (None, Some(checking)) => Ok(Self {
                algorithm,
                signing: None,
                checking,
            }),
            (Some((signing, derived)), given) => Ok(Self {
                algorithm,
                signing: Some(signing),
                checking: given.unwrap_or(derived),
            }),
        }
    }
}

fn checking(algorithm: Algorithm, pem: &[u8]) -> Result<DecodingKey, String> {
    let key = match algorithm {
        Algorithm::ES256 | Algorithm::ES384 => DecodingKey::from_ec_pem(pem),
        Algorithm::EdDSA => DecodingKey::from_ed_pem(pem),
        _ => DecodingKey::from_rsa_pem(pem),
    };
    key.map_err(|error| error.to_string())
}

fn pair(algorithm: Algorithm, pem: &[u8]) -> Result<(EncodingKey, DecodingKey), String> {
    // Parameters of a curve may stand before the key.
    let parts = pem::parse_many(pem).map_err(|error| error.to_string())?;
    let part = parts
        .iter()
        .find(|part| part.tag().ends_with("PRIVATE KEY"))
        .ok_or("no private key in the file")?;
    let der = part.contents();
    match algorithm {
        Algorithm::ES256 | Algorithm::ES384 => {
            let curve = Curve::of(algorithm);
            let der = if part.tag() == "EC PRIVATE KEY" {
                curve.pkcs8(der)
            } else {
                der.to_vec()
            };
            let pair = EcdsaKeyPair::from_pkcs8(curve.signing, &der, &SystemRandom::new())
                .map_err(|error| error.to_string())?;
            let public = DecodingKey::from_ec_der(pair.public_key().as_ref());
            Ok((EncodingKey::from_ec_der(&der), public))
        }
        Algorithm::EdDSA => {
            let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(|error| error.to_string())?;
            let public = DecodingKey::from_ed_der(pair.public_key().as_ref());
            Ok((EncodingKey::from_ed_der(der), public))
        }
        _ => {
            let pair = if part.tag() == "RSA PRIVATE KEY" {
                RsaKeyPair::from_der(der)
            } else {
                RsaKeyPair::from_pkcs8(der)
            };
            let pair = pair.map_err(|error| error.to_string())?;
            let signing = EncodingKey::from_rsa_pem(pem).map_err(|error| error.to_string())?;
            Ok((signing, DecodingKey::from_rsa_der(pair.public().as_ref())))
        }
    }
}

/// A curve and how PKCS#8 names it.
struct Curve {
    signing: &'static EcdsaSigningAlgorithm,
    /// `AlgorithmIdentifier` of a key on it, in DER.
    identifier: &'static [u8],
}

impl Curve {
    fn of(algorithm: Algorithm) -> Self {
        if algorithm == Algorithm::ES384 {
            Self {
                signing: &ECDSA_P384_SHA384_FIXED_SIGNING,
                identifier: &[
                    0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81,
                    0x04, 0x00, 0x22,
                ],
            }
        } else {
            Self {
                signing: &ECDSA_P256_SHA256_FIXED_SIGNING,
                identifier: &[
                    0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
                    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07,
                ],
            }
        }
    }

    /// A SEC 1 key (RFC 5915) wrapped as PKCS#8 (RFC 5208).
    fn pkcs8(&self, sec1: &[u8]) -> Vec<u8> {
        const VERSION: &[u8] = &[0x02, 0x01, 0x00];
        let key = der(0x04, sec1);
        der(0x30, &[VERSION, self.identifier, &key].concat())
    }
}

/// One value in DER, of less than 64 KiB.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = u16::try_from(content.len()).unwrap_or(u16::MAX);
    let [high, low] = length.to_be_bytes();
    match length {
        0..0x80 => out.push(low),
        0x80..0x100 => out.extend([0x81, low]),
        _ => out.extend([0x82, high, low]),
    }
    out.extend_from_slice(content);
    out
}
