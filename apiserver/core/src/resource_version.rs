//! What the resource version of a read means.
//!
//! Follows the tables of `apiserver/pkg/storage/interfaces.go` and the API concepts documentation (1.36).

use crate::options::{ListOptions, ResourceVersionMatch};
use crate::status::ApiError;

/// Which state a get or a list wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadAt {
    /// Nothing older than the latest acknowledged write.
    MostRecent,
    /// Whatever is at hand.
    Any,
    /// The given revision or a later one.
    NotOlderThan(u64),
    /// Precisely the given revision.
    Exact(u64),
}

/// Where a watch starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchFrom {
    /// The most recent state as synthetic additions, then changes (no resource version given).
    MostRecent,
    /// Any state at hand as synthetic additions, then changes (`0`).
    Any,
    /// The changes after a revision.
    After(u64),
}

/// Reads a resource version of a request; empty is 0.
///
/// # Errors
/// 400 when it is not a number, as upstream says it.
pub fn parse(text: &str) -> Result<u64, ApiError> {
    if text.is_empty() {
        return Ok(0);
    }
    text.parse().map_err(|_| {
        let error = crate::field_error::FieldError::invalid(
            &crate::FieldPath::new("resourceVersion"),
            text,
            format!(
                "strconv.ParseUint: parsing {}: invalid syntax",
                crate::field_error::quote(text)
            ),
        );
        ApiError::bad_request(error.to_string())
    })
}

/// Which state a get wants.
///
/// # Errors
/// As [`parse`].
pub fn of_get(resource_version: &str) -> Result<ReadAt, ApiError> {
    Ok(match (resource_version, parse(resource_version)?) {
        ("", _) => ReadAt::MostRecent,
        (_, 0) => ReadAt::Any,
        (_, revision) => ReadAt::NotOlderThan(revision),
    })
}

/// Which state a list without continue token wants; `options` is validated before.
///
/// # Errors
/// As [`parse`].
pub fn of_list(options: &ListOptions) -> Result<ReadAt, ApiError> {
    let revision = parse(&options.resource_version)?;
    Ok(
        match (
            options.resource_version.is_empty(),
            options.resource_version_match,
        ) {
            (true, _) => ReadAt::MostRecent,
            (_, Some(ResourceVersionMatch::Exact)) => ReadAt::Exact(revision),
            _ if revision == 0 => ReadAt::Any,
            (_, Some(ResourceVersionMatch::NotOlderThan)) => ReadAt::NotOlderThan(revision),
            // The older form: a limit together with a resource version asked for that exact version.
            (_, None) if options.limit > 0 => ReadAt::Exact(revision),
            (_, None) => ReadAt::NotOlderThan(revision),
        },
    )
}

/// Where a watch starts.
///
/// # Errors
/// As [`parse`].
pub fn of_watch(resource_version: &str) -> Result<WatchFrom, ApiError> {
    Ok(match (resource_version, parse(resource_version)?) {
        ("", _) => WatchFrom::MostRecent,
        (_, 0) => WatchFrom::Any,
        (_, revision) => WatchFrom::After(revision),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_read_the_state_they_ask_for() {
        let list = |rv: &str, matching, limit| {
            of_list(&ListOptions {
                resource_version: rv.to_owned(),
                resource_version_match: matching,
                limit,
                ..ListOptions::default()
            })
            .unwrap()
        };
        use ResourceVersionMatch::{Exact, NotOlderThan};
        assert_eq!(list("", None, 0), ReadAt::MostRecent);
        assert_eq!(list("", None, 5), ReadAt::MostRecent);
        assert_eq!(list("0", None, 5), ReadAt::Any);
        assert_eq!(list("0", Some(NotOlderThan), 0), ReadAt::Any);
        assert_eq!(list("7", None, 0), ReadAt::NotOlderThan(7));
        assert_eq!(list("7", None, 5), ReadAt::Exact(7));
        assert_eq!(list("7", Some(NotOlderThan), 5), ReadAt::NotOlderThan(7));
        assert_eq!(list("7", Some(Exact), 0), ReadAt::Exact(7));
        let error = parse("a").unwrap_err();
        assert_eq!(error.code, 400);
        assert_eq!(
            error.message,
            "resourceVersion: Invalid value: \"a\": strconv.ParseUint: parsing \"a\": invalid syntax"
        );
    }
}
