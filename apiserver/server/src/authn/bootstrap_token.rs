//! Bootstrap tokens: secrets in kube-system with which nodes join.
//!
//! Follows plugin/pkg/auth/authenticator/token/bootstrap (Kubernetes 1.36).

use crate::state::State;
use crate::user::UserInfo;
use crate::verbs::fetch_for_update;
use apiserver_core::{ApiError, tree};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use subtle::ConstantTimeEq as _;

const SECRET_TYPE: &str = "bootstrap.kubernetes.io/token";

/// `[a-z0-9]{6}.[a-z0-9]{16}`.
pub(super) fn looks_like_one(token: &str) -> bool {
    let plain = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    token
        .split_once('.')
        .is_some_and(|(id, secret)| id.len() == 6 && secret.len() == 16 && plain(id) && plain(secret))
}

pub(super) async fn authenticate(state: &State, token: &str) -> Result<Option<UserInfo>, ApiError> {
    let Some((id, secret)) = token.split_once('.') else {
        return Ok(None);
    };
    let registry = state.registry();
    let Some(secrets) = registry.lookup("", "v1", "secrets") else {
        return Ok(None);
    };
    let name = format!("bootstrap-token-{id}");
    let Some((object, ..)) = fetch_for_update(state, secrets, "kube-system", &name).await? else {
        return Ok(None);
    };
    Ok(user_of(&object, id, secret, state.now()))
}

fn user_of(object: &Value, id: &str, secret: &str, now: jiff::Timestamp) -> Option<UserInfo> {
    let data = |key: &str| {
        let text = tree::text(object, &["data", key]);
        STANDARD
            .decode(text)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .unwrap_or_default()
    };
    if tree::text(object, &["type"]) != SECRET_TYPE
        || tree::at(object, &["metadata", "deletionTimestamp"]).is_some()
        || !bool::from(data("token-secret").as_bytes().ct_eq(secret.as_bytes()))
        || data("token-id") != id
        || data("usage-bootstrap-authentication") != "true"
    {
        return None;
    }
    let expiration = data("expiration");
    if !expiration.is_empty() && expiration.parse::<jiff::Timestamp>().map_or(true, |at| at <= now) {
        return None;
    }
    let mut groups = vec!["system:bootstrappers".to_owned()];
    for group in data("auth-extra-groups")
        .split(',')
        .map(str::trim)
        .filter(|group| !group.is_empty())
    {
        if !group.starts_with("system:bootstrappers:") {
            return None;
        }
        groups.push(group.to_owned());
    }
    Some(UserInfo {
        username: format!("system:bootstrap:{id}"),
        groups,
        ..UserInfo::default()
    })
}

#[cfg(test)]
mod tests {
    use super::{looks_like_one, user_of};
    use base64::Engine as _;
    use serde_json::{Value, json};

    fn secret(expiration: &str, groups: &str) -> Value {
        let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        json!({"type": "bootstrap.kubernetes.io/token", "metadata": {"name": "bootstrap-token-abcdef"}, "data": {
            "token-id": encode("abcdef"), "token-secret": encode("0123456789abcdef"),
            "usage-bootstrap-authentication": encode("true"), "expiration": encode(expiration),
            "auth-extra-groups": encode(groups)}})
    }

    #[test]
    fn a_token_is_good_with_the_right_secret_until_it_expires() {
        let now = "2026-01-01T00:00:00Z".parse().expect("a time");
        let good = secret("2026-01-02T00:00:00Z", "system:bootstrappers:nodes");
        let user = user_of(&good, "abcdef", "0123456789abcdef", now).expect("a user");
        assert_eq!(user.username, "system:bootstrap:abcdef");
        assert_eq!(
            user.groups,
            ["system:bootstrappers", "system:bootstrappers:nodes"]
        );
        assert_eq!(user_of(&good, "abcdef", "0123456789abcdeX", now), None);
        assert_eq!(
            user_of(
                &secret("2025-01-01T00:00:00Z", ""),
                "abcdef",
                "0123456789abcdef",
                now
            ),
            None
        );
        assert_eq!(
            user_of(&secret("", "system:masters"), "abcdef", "0123456789abcdef", now),
            None
        );
        assert!(looks_like_one("abcdef.0123456789abcdef"));
        assert!(!looks_like_one("abcdef.0123456789abcde."));
    }
}
