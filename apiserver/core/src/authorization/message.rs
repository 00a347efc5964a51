//! The words of a refusal. Follows `endpoints/handlers/responsewriters/errors.go`.

use super::Attributes;

/// What follows `pods "x" is forbidden: ` or `pods is forbidden: `, or the whole text for a plain path.
pub fn forbidden_reason(attributes: &Attributes<'_>, reason: &str) -> String {
    let user = attributes.user.name;
    let verb = attributes.verb;
    let text = if attributes.resource_request {
        let resource = attributes.full_resource();
        let group = attributes.api_group;
        let scope = match attributes.namespace {
            "" => "at the cluster scope".to_owned(),
            namespace => format!("in the namespace \"{namespace}\""),
        };
        format!("User \"{user}\" cannot {verb} resource \"{resource}\" in API group \"{group}\" {scope}")
    } else {
        format!("User \"{user}\" cannot {verb} path \"{}\"", attributes.path)
    };
    if reason.is_empty() {
        text
    } else {
        format!("{text}: {reason}")
    }
}
