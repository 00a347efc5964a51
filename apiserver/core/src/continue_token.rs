//! The tokens with which a client goes on with a long list.
//!
//! The form is upstream's (`apiserver/pkg/storage/continue.go`, 1.36): unpadded URL-safe base64 of a small JSON
//! document that names the resource version and the key to go on from, relative to the listed prefix.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

const VERSION: &str = "meta.k8s.io/v1";

/// Where to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContinueToken {
    /// The resource version of the first page; -1: whatever is the latest (an inconsistent continuation).
    pub resource_version: i64,
    /// The first key of the next page, without the listed prefix.
    pub start_key: String,
}

#[derive(Serialize, Deserialize)]
struct Document {
    #[serde(rename = "v", default)]
    version: String,
    #[serde(rename = "rv", default)]
    resource_version: i64,
    #[serde(default)]
    start: String,
}

impl ContinueToken {
    pub fn encode(&self) -> String {
        let document = Document {
            version: VERSION.to_owned(),
            resource_version: self.resource_version,
            start: self.start_key.clone(),
        };
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&document).expect("a document of strings and numbers"))
    }

    /// # Errors
    /// Why the token is none of ours; the text of a bad request.
    pub fn decode(token: &str) -> Result<Self, String> {
        let bytes = URL_SAFE_NO_PAD
            .decode(token)
            .map_err(|error| format!("continue key is not valid: {error}"))?;
        let document: Document =
            serde_json::from_slice(&bytes).map_err(|error| format!("continue key is not valid: {error}"))?;
        if document.version != VERSION {
            return Err(
                "continue key is not valid: server does not recognize this encoded version".to_owned()
                    + &format!(" {:?}", document.version),
            );
        }
        if document.resource_version == 0 {
            return Err(
                "continue key is not valid: incorrect encoded start resourceVersion (version meta.k8s.io/v1)"
                    .to_owned(),
            );
        }
        if document.start.is_empty() {
            return Err(
                "continue key is not valid: encoded start key empty (version meta.k8s.io/v1)".to_owned(),
            );
        }
        // A token is made by us but held by the client: it must not lead out of the listed prefix.
        if document.start.split('/').any(|part| part == ".." || part == ".")
            || document.start.starts_with('/')
        {
            return Err(format!("invalid start key: {}", document.start));
        }
        Ok(Self {
            resource_version: document.resource_version,
            start_key: document.start,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back_as_it_was() {
        let token = ContinueToken {
            resource_version: 42,
            start_key: "default/pod-1\0".to_owned(),
        };
        assert_eq!(ContinueToken::decode(&token.encode()), Ok(token));
    }

    #[test]
    fn foreign_tokens_are_refused() {
        for document in [
            r#"{"v":"v0","rv":1,"start":"a"}"#,
            r#"{"v":"meta.k8s.io/v1","rv":0,"start":"a"}"#,
            r#"{"v":"meta.k8s.io/v1","rv":1,"start":""}"#,
            r#"{"v":"meta.k8s.io/v1","rv":1,"start":"../secrets"}"#,
            "nothing",
        ] {
            assert!(
                ContinueToken::decode(&URL_SAFE_NO_PAD.encode(document)).is_err(),
                "{document}"
            );
        }
        assert!(
            ContinueToken::decode("%%%")
                .unwrap_err()
                .starts_with("continue key is not valid: ")
        );
    }
}
