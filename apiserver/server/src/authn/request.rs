//! The credentials of a request, tried in upstream's order: certificate, then bearer token.

use super::{bootstrap_token, service_account};
use crate::http::Peer;
use crate::state::State;
use crate::user::UserInfo;
use apiserver_core::{ApiError, RequestInfo};
use http::header::AUTHORIZATION;
use http::request::Parts;

/// Paths that strangers may ask: the ones that RBAC's system:public-info-viewer gives them.
const PUBLIC: [&str; 5] = ["/healthz", "/livez", "/readyz", "/version", "/version/"];

/// The user of a request.
///
/// # Errors
/// 401 for wrong credentials, and for none where strangers have no business.
pub(crate) async fn authenticate(
    state: &State,
    peer: &Peer,
    parts: &Parts,
    info: &RequestInfo,
) -> Result<UserInfo, ApiError> {
    if let Some(identity) = &peer.identity {
        let mut groups = identity.organizations.clone();
        groups.push("system:authenticated".to_owned());
        return Ok(UserInfo {
            username: identity.common_name.clone(),
            groups,
            ..UserInfo::default()
        });
    }
    if let Some(token) = bearer_token(parts) {
        let audiences = [state.tokens.issuer().to_owned()];
        return match authenticate_token(state, &token, &audiences).await? {
            Some((mut user, _)) => {
                user.groups.push("system:authenticated".to_owned());
                Ok(user)
            }
            None => Err(ApiError::unauthorized()),
        };
    }
    let public = PUBLIC.contains(&info.path.as_str())
        || ["/healthz/", "/livez/", "/readyz/"]
            .iter()
            .any(|folder| info.path.starts_with(folder));
    if public {
        Ok(UserInfo::anonymous())
    } else {
        Err(ApiError::unauthorized())
    }
}

/// `Authorization: Bearer`, or the form that browsers can send with a websocket.
fn bearer_token(parts: &Parts) -> Option<String> {
    if let Some(value) = parts.headers.get(AUTHORIZATION) {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        return scheme
            .eq_ignore_ascii_case("bearer")
            .then(|| token.trim().to_owned());
    }
    let protocols = parts.headers.get("sec-websocket-protocol")?.to_str().ok()?;
    let encoded = protocols.split(',').find_map(|protocol| {
        protocol
            .trim()
            .strip_prefix("base64url.bearer.authorization.k8s.io.")
    })?;
    use base64::Engine as _;
    let token = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(encoded)
        .ok()?;
    String::from_utf8(token).ok()
}

/// The owner of a static token. Every one is compared in constant time, so that time tells nothing.
fn static_user(state: &State, token: &str) -> Option<UserInfo> {
    use subtle::ConstantTimeEq as _;
    let mut found = None;
    for (known, user) in &state.config.static_tokens {
        if bool::from(known.as_bytes().ct_eq(token.as_bytes())) {
            found = Some(UserInfo {
                username: user.name.clone(),
                groups: user.groups.clone(),
                ..UserInfo::default()
            });
        }
    }
    found
}

/// The user behind a token and the audiences it is good for; `None` when the token is wrong.
pub(crate) async fn authenticate_token(
    state: &State,
    token: &str,
    audiences: &[String],
) -> Result<Option<(UserInfo, Vec<String>)>, ApiError> {
    if let Some(user) = static_user(state, token) {
        return Ok(Some((user, audiences.to_vec())));
    }
    if bootstrap_token::looks_like_one(token) {
        let user = bootstrap_token::authenticate(state, token).await?;
        return Ok(user.map(|user| (user, audiences.to_vec())));
    }
    service_account::authenticate(state, token, audiences).await
}
