//! Who may do what: system:masters, then the Node authorizer, then RBAC.
//!
//! The rules are kept current from the watch caches; a question never waits for the store.

mod index;
mod question;

pub(crate) use index::{Authorizer, follow_all};
pub(crate) use question::{Answer, Question};

use crate::state::State;
use crate::user::UserInfo;
use apiserver_core::authorization::forbidden_reason;
use apiserver_core::{ApiError, GroupResource, Reason, RequestInfo, field_selector};

/// Whether `user` may do what `question` asks.
///
/// # Errors
/// 503 while the rules aren't known yet.
pub(crate) async fn allowed(state: &State, user: &UserInfo, question: &Question) -> Result<Answer, ApiError> {
    if user.in_group("system:masters") {
        return Ok(Answer {
            allowed: true,
            denied: false,
            reason: String::new(),
        });
    }
    // Whether this server lives must be seen also while the rules can't be read.
    if is_health(&question.path) {
        return Ok(Answer {
            allowed: true,
            ..Answer::default()
        });
    }
    state.authorizer.ready().await?;
    Ok(state.authorizer.decide(&question.attributes(user)))
}

/// Upstream's --authorization-always-allow-paths.
fn is_health(path: &str) -> bool {
    ["/healthz", "/livez", "/readyz"].iter().any(|known| {
        path.strip_prefix(known)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// # Errors
/// 403 in upstream's words.
pub(crate) async fn authorize(
    state: &State,
    user: &UserInfo,
    info: &RequestInfo,
    query: &str,
) -> Result<(), ApiError> {
    let question = Question::of_request(info, query);
    let answer = allowed(state, user, &question).await?;
    if answer.allowed {
        return Ok(());
    }
    Err(forbidden(user, &question, &answer.reason))
}

pub(crate) fn forbidden(user: &UserInfo, question: &Question, reason: &str) -> ApiError {
    let text = forbidden_reason(&question.attributes(user), reason);
    if question.path.is_empty() {
        ApiError::forbidden(
            &GroupResource::new(&question.group, &question.resource),
            &question.name,
            text,
        )
    } else {
        ApiError::new(403, Reason::Forbidden, format!("forbidden: {text}"))
    }
}

/// The equality requirements of a request's field selector.
fn field_equals(query: &str) -> Vec<(String, String)> {
    let text = apiserver_core::request_info::query_value(query, "fieldSelector").unwrap_or_default();
    let selector = field_selector::parse(&text).unwrap_or_default();
    selector
        .requirements
        .into_iter()
        .filter(|requirement| !requirement.negated)
        .map(|requirement| (requirement.field, requirement.value))
        .collect()
}
