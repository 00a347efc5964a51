//! What an authorizer is asked, and what it answers.

/// Who is asking.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    pub name: &'a str,
    pub groups: &'a [String],
}

impl Subject<'_> {
    pub fn in_group(&self, group: &str) -> bool {
        self.groups.iter().any(|g| g == group)
    }
}

/// A request as the authorizers see it. `verb` is one of get, list, watch, create, update, patch, delete,
/// deletecollection for resources, and the lower-case HTTP method for other paths.
#[derive(Debug, Clone, Copy)]
pub struct Attributes<'a> {
    pub user: Subject<'a>,
    pub verb: &'a str,
    /// False for a plain path such as `/healthz`: then only `verb` and `path` matter.
    pub resource_request: bool,
    pub path: &'a str,
    pub api_group: &'a str,
    pub resource: &'a str,
    pub subresource: &'a str,
    /// Empty for cluster-scoped requests and lists over all namespaces.
    pub namespace: &'a str,
    /// Empty for lists, creates and collections.
    pub name: &'a str,
    /// The equality requirements of the request's field selector, as `(field, value)`.
    pub field_equals: &'a [(String, String)],
}

impl Attributes<'_> {
    /// `resource` or `resource/subresource`.
    pub fn full_resource(&self) -> String {
        if self.subresource.is_empty() {
            self.resource.to_owned()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        }
    }
}

/// An authorizer's answer. The text says why, for the audit log and the refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    Allow(String),
    Deny(String),
    NoOpinion(String),
}

impl Decision {
    pub fn allowed(&self) -> bool {
        matches!(self, Self::Allow(_))
    }
}
