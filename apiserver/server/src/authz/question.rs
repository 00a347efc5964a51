//! A question to the authorizers, owned.

use crate::user::UserInfo;
use apiserver_core::RequestInfo;
use apiserver_core::authorization::Attributes;

/// What somebody wants to do.
#[derive(Debug, Clone, Default)]
pub(crate) struct Question {
    pub verb: String,
    /// Empty for resources.
    pub path: String,
    pub group: String,
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
    pub field_equals: Vec<(String, String)>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    pub allowed: bool,
    pub denied: bool,
    pub reason: String,
}

impl Question {
    pub(crate) fn resource(
        verb: &str,
        group: &str,
        resource: &str,
        subresource: &str,
        namespace: &str,
        name: &str,
    ) -> Self {
        Self {
            verb: verb.to_owned(),
            group: group.to_owned(),
            resource: resource.to_owned(),
            subresource: subresource.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            ..Self::default()
        }
    }

    pub(crate) fn of_request(info: &RequestInfo, query: &str) -> Self {
        Self {
            verb: info.verb.clone(),
            path: if info.is_resource_request {
                String::new()
            } else {
                info.path.clone()
            },
            group: info.api_group.clone(),
            resource: info.resource.clone(),
            subresource: info.subresource.clone(),
            namespace: info.namespace.clone(),
            name: info.name.clone(),
            field_equals: super::field_equals(query),
        }
    }

    pub(crate) fn attributes<'a>(&'a self, user: &'a UserInfo) -> Attributes<'a> {
        Attributes {
            user: user.subject(),
            verb: &self.verb,
            resource_request: self.path.is_empty(),
            path: &self.path,
            api_group: &self.group,
            resource: &self.resource,
            subresource: &self.subresource,
            namespace: &self.namespace,
            name: &self.name,
            field_equals: &self.field_equals,
        }
    }
}
