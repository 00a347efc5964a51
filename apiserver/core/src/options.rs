//! The options of requests, read from the query (and for deletions from the body too), with upstream's checks.
//!
//! Follows `apimachinery/pkg/apis/meta/{v1,internalversion}/validation/validation.go` (1.36).

use serde_json::{Value, json};

use crate::field_error::{ErrorList, FieldError, FieldPath};
use crate::field_selector::{self, FieldSelector};
use crate::label_selector::{self, LabelSelector};
use crate::request_info::{query_pairs, truthy};
use crate::status::ApiError;
use crate::tree;

/// How a list reads its resource version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceVersionMatch {
    Exact,
    NotOlderThan,
}

/// Options of list, watch and deletecollection.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ListOptions {
    pub label_selector: LabelSelector,
    pub field_selector: FieldSelector,
    /// The selectors as given, for error texts.
    pub label_selector_text: String,
    pub field_selector_text: String,
    pub watch: bool,
    pub allow_watch_bookmarks: bool,
    pub resource_version: String,
    pub resource_version_match: Option<ResourceVersionMatch>,
    pub timeout_seconds: Option<u64>,
    /// 0: no limit.
    pub limit: u64,
    pub continue_token: String,
    pub send_initial_events: Option<bool>,
}

impl ListOptions {
    /// Reads and checks the options.
    ///
    /// # Errors
    /// 400 for what cannot be read, 422 for what does not go together.
    pub fn from_query(query: &str) -> Result<Self, ApiError> {
        let mut options = Self::default();
        let mut matching = String::new();
        for (key, value) in query_pairs(query) {
            match key.as_str() {
                "labelSelector" => {
                    options.label_selector = label_selector::parse(&value).map_err(ApiError::bad_request)?;
                    options.label_selector_text = value;
                }
                "fieldSelector" => {
                    options.field_selector = field_selector::parse(&value).map_err(ApiError::bad_request)?;
                    options.field_selector_text = value;
                }
                "watch" => options.watch = truthy(&value),
                "allowWatchBookmarks" => options.allow_watch_bookmarks = truthy(&value),
                "resourceVersion" => options.resource_version = value,
                "resourceVersionMatch" => matching = value,
                "timeoutSeconds" => options.timeout_seconds = Some(integer(&value)?.max(0).unsigned_abs()),
                "limit" => options.limit = integer(&value)?.max(0).unsigned_abs(),
                "continue" => options.continue_token = value,
                "sendInitialEvents" => options.send_initial_events = Some(truthy(&value)),
                _ => {}
            }
        }
        let errors = options.check(&matching);
        if !errors.is_empty() {
            return Err(ApiError::invalid("meta.k8s.io", "ListOptions", "", &errors));
        }
        options.resource_version_match = match matching.as_str() {
            "Exact" => Some(ResourceVersionMatch::Exact),
            "NotOlderThan" => Some(ResourceVersionMatch::NotOlderThan),
            _ => None,
        };
        if !options.continue_token.is_empty()
            && !options.resource_version.is_empty()
            && options.resource_version != "0"
        {
            return Err(ApiError::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        Ok(options)
    }

    fn check(&self, matching: &str) -> ErrorList {
        let mut errors = ErrorList::new();
        let path = FieldPath::new("resourceVersionMatch");
        if self.watch {
            if self.send_initial_events.is_some() && matching != "NotOlderThan" {
                errors.push(FieldError::forbidden(
                    &path,
                    "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
                ));
            }
            if !matching.is_empty() {
                if self.send_initial_events.is_none() {
                    errors.push(FieldError::forbidden(
                        &path,
                        "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
                    ));
                }
                if matching != "NotOlderThan" {
                    errors.push(FieldError::not_supported(&path, matching, &["NotOlderThan"]));
                }
                if !self.continue_token.is_empty() {
                    errors.push(FieldError::forbidden(
                        &path,
                        "resourceVersionMatch is forbidden when continue is provided",
                    ));
                }
            }
            return errors;
        }
        if !matching.is_empty() {
            if self.resource_version.is_empty() {
                errors.push(FieldError::forbidden(
                    &path,
                    "resourceVersionMatch is forbidden unless resourceVersion is provided",
                ));
            }
            if !self.continue_token.is_empty() {
                errors.push(FieldError::forbidden(
                    &path,
                    "resourceVersionMatch is forbidden when continue is provided",
                ));
            }
            if !matches!(matching, "Exact" | "NotOlderThan") {
                errors.push(FieldError::not_supported(
                    &path,
                    matching,
                    &["Exact", "NotOlderThan", ""],
                ));
            }
            if matching == "Exact" && self.resource_version == "0" {
                errors.push(FieldError::forbidden(
                    &path,
                    "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
                ));
            }
        }
        if self.send_initial_events.is_some() {
            errors.push(FieldError::forbidden(
                &FieldPath::new("sendInitialEvents"),
                "sendInitialEvents is forbidden for list",
            ));
        }
        errors
    }
}

/// What to do with fields that the schema does not know, and with repeated ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum FieldValidation {
    Ignore,
    #[default]
    Warn,
    Strict,
}

/// The kind of write whose options are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteKind {
    Create,
    Update,
    Patch,
    /// A patch by server-side apply.
    Apply,
}

/// Options of create, update and patch.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct WriteOptions {
    pub dry_run: bool,
    /// As given; empty when not. See [`field_manager`].
    pub field_manager: String,
    pub field_validation: FieldValidation,
    /// Apply takes fields from other managers.
    pub force: bool,
}

impl WriteOptions {
    /// Reads and checks the options.
    ///
    /// # Errors
    /// 422 (400 for values that cannot be read).
    pub fn from_query(query: &str, kind: WriteKind) -> Result<Self, ApiError> {
        let mut options = Self::default();
        let mut force = None;
        let mut dry_run = Vec::new();
        let mut errors = ErrorList::new();
        for (key, value) in query_pairs(query) {
            match key.as_str() {
                "dryRun" => dry_run.push(value),
                "fieldManager" => options.field_manager = value,
                "fieldValidation" => match value.as_str() {
                    "" | "Warn" => options.field_validation = FieldValidation::Warn,
                    "Ignore" => options.field_validation = FieldValidation::Ignore,
                    "Strict" => options.field_validation = FieldValidation::Strict,
                    other => errors.push(FieldError::not_supported(
                        &FieldPath::new("fieldValidation"),
                        other,
                        &["", "Ignore", "Strict", "Warn"],
                    )),
                },
                "force" => force = Some(truthy(&value)),
                _ => {}
            }
        }
        let manager = FieldPath::new("fieldManager");
        if kind == WriteKind::Apply {
            if options.field_manager.is_empty() {
                errors.push(FieldError::required(&manager, "is required for apply patch"));
            }
        } else if force.is_some() && kind == WriteKind::Patch {
            errors.push(FieldError::forbidden(
                &FieldPath::new("force"),
                "may not be specified for non-apply patch",
            ));
        }
        if options.field_manager.len() > 128 {
            errors.push(FieldError::too_long(&manager, 128));
        }
        if let Some((i, c)) = options.field_manager.char_indices().find(|(_, c)| c.is_control()) {
            errors.push(FieldError::invalid(
                &manager,
                options.field_manager.as_str(),
                format!("invalid character {c:?} (at position {i})"),
            ));
        }
        errors.extend(check_dry_run(&dry_run));
        if !errors.is_empty() {
            let name = match kind {
                WriteKind::Create => "CreateOptions",
                WriteKind::Update => "UpdateOptions",
                WriteKind::Patch | WriteKind::Apply => "PatchOptions",
            };
            return Err(ApiError::invalid("meta.k8s.io", name, "", &errors));
        }
        options.dry_run = !dry_run.is_empty();
        options.force = force.unwrap_or(false);
        Ok(options)
    }
}

fn check_dry_run(given: &[String]) -> Option<FieldError> {
    given
        .iter()
        .any(|value| value != "All")
        .then(|| FieldError::not_supported(&FieldPath::new("dryRun"), json!(given), &["All"]))
}

/// The name under which a write owns fields: the given one, or the first part of the user agent.
pub fn field_manager(given: &str, user_agent: &str) -> String {
    if !given.is_empty() {
        return given.to_owned();
    }
    let prefix = user_agent.split('/').next().unwrap_or("");
    prefix.chars().filter(|c| !c.is_control()).take(128).collect()
}

/// What becomes of the dependents of a deleted object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PropagationPolicy {
    Orphan,
    Background,
    Foreground,
}

/// Options of delete and deletecollection.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct DeleteOptions {
    pub grace_period_seconds: Option<i64>,
    pub propagation_policy: Option<PropagationPolicy>,
    /// The older form of the propagation policy.
    pub orphan_dependents: Option<bool>,
    pub precondition_uid: Option<String>,
    pub precondition_resource_version: Option<String>,
    pub dry_run: bool,
}

impl DeleteOptions {
    /// Reads the body if there is one, else the query.
    ///
    /// # Errors
    /// 400 for a body of another kind, 422 for values that do not fit.
    pub fn read(query: &str, body: Option<&Value>) -> Result<Self, ApiError> {
        let mut options = Self::default();
        let mut policy = String::new();
        let mut dry_run = Vec::new();
        if let Some(body) = body.filter(|body| !body.is_null()) {
            let kind = tree::text(body, &["kind"]);
            if !kind.is_empty() && kind != "DeleteOptions" {
                return Err(ApiError::bad_request(format!(
                    "decoded object cannot be converted to DeleteOptions: unexpected kind {kind:?}"
                )));
            }
            options.grace_period_seconds = tree::int(body, &["gracePeriodSeconds"]);
            options.orphan_dependents = tree::at(body, &["orphanDependents"]).and_then(Value::as_bool);
            policy = tree::text(body, &["propagationPolicy"]).to_owned();
            dry_run = tree::list(body, &["dryRun"])
                .iter()
                .map(|value| value.as_str().unwrap_or("").to_owned())
                .collect();
            let precondition = |field| {
                tree::at(body, &["preconditions", field])
                    .and_then(Value::as_str)
                    .map(str::to_owned)
            };
            options.precondition_uid = precondition("uid");
            options.precondition_resource_version = precondition("resourceVersion");
        } else {
            for (key, value) in query_pairs(query) {
                match key.as_str() {
                    "gracePeriodSeconds" => options.grace_period_seconds = Some(integer(&value)?),
                    "orphanDependents" => options.orphan_dependents = Some(truthy(&value)),
                    "propagationPolicy" => policy = value,
                    "dryRun" => dry_run.push(value),
                    _ => {}
                }
            }
        }
        let mut errors = ErrorList::new();
        let path = FieldPath::new("propagationPolicy");
        options.propagation_policy = match policy.as_str() {
            "" => None,
            "Orphan" => Some(PropagationPolicy::Orphan),
            "Background" => Some(PropagationPolicy::Background),
            "Foreground" => Some(PropagationPolicy::Foreground),
            other => {
                errors.push(FieldError::not_supported(
                    &path,
                    other,
                    &["Background", "Foreground", "Orphan", "nil"],
                ));
                None
            }
        };
        if options.orphan_dependents.is_some() && !policy.is_empty() {
            errors.push(FieldError::invalid(
                &path,
                policy,
                "orphanDependents and deletionPropagation cannot be both set",
            ));
        }
        errors.extend(check_dry_run(&dry_run));
        if !errors.is_empty() {
            return Err(ApiError::invalid("meta.k8s.io", "DeleteOptions", "", &errors));
        }
        options.dry_run = !dry_run.is_empty();
        Ok(options)
    }
}

fn integer(text: &str) -> Result<i64, ApiError> {
    text.parse().map_err(|_| {
        ApiError::bad_request(format!(
            "strconv.ParseInt: parsing {}: invalid syntax",
            crate::field_error::quote(text)
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_options_that_do_not_go_together_are_refused() {
        let refused = |query: &str| ListOptions::from_query(query).unwrap_err();
        assert_eq!(
            refused("resourceVersionMatch=Exact").message,
            "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is \
             forbidden unless resourceVersion is provided"
        );
        assert_eq!(refused("watch=1&sendInitialEvents=true").code, 422);
        assert_eq!(refused("labelSelector=a%20b").code, 400);
        assert_eq!(refused("continue=x&resourceVersion=5").code, 400);
        let options = ListOptions::from_query(
            "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&limit=500",
        )
        .unwrap();
        assert!(options.watch && options.allow_watch_bookmarks && options.limit == 500);
        assert_eq!(
            options.resource_version_match,
            Some(ResourceVersionMatch::NotOlderThan)
        );
    }

    #[test]
    fn write_options_are_checked() {
        let read = WriteOptions::from_query;
        let options = read(
            "dryRun=All&fieldManager=kubectl&fieldValidation=Strict",
            WriteKind::Create,
        )
        .unwrap();
        assert!(options.dry_run && options.field_validation == FieldValidation::Strict);
        assert_eq!(
            read("", WriteKind::Apply).unwrap_err().message,
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch"
        );
        assert!(read("force=true", WriteKind::Patch).is_err());
        assert_eq!(
            read("dryRun=Some", WriteKind::Create).unwrap_err().message,
            "CreateOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: [\"Some\"]: supported values: \
             \"All\""
        );
        assert_eq!(field_manager("", "kubectl/v1.32 (linux)"), "kubectl");
    }

    #[test]
    fn delete_options_come_from_body_or_query() {
        let body = json!({"kind": "DeleteOptions", "propagationPolicy": "Foreground", "gracePeriodSeconds": 0,
            "preconditions": {"uid": "u"}});
        let options = DeleteOptions::read("gracePeriodSeconds=9", Some(&body)).unwrap();
        assert_eq!(options.grace_period_seconds, Some(0));
        assert_eq!(options.propagation_policy, Some(PropagationPolicy::Foreground));
        assert_eq!(options.precondition_uid.as_deref(), Some("u"));
        let options = DeleteOptions::read("gracePeriodSeconds=9&dryRun=All", None).unwrap();
        assert!(options.dry_run && options.grace_period_seconds == Some(9));
        assert!(DeleteOptions::read("propagationPolicy=Never", None).is_err());
    }
}
