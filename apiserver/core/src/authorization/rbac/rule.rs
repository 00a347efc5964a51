//! One policy rule and what it covers.

use crate::authorization::Attributes;
use crate::tree;
use serde_json::{Value, json};

const ALL: &str = "*";

/// A `PolicyRule`: either over resources or over plain paths.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Rule {
    pub verbs: Vec<String>,
    pub api_groups: Vec<String>,
    pub resources: Vec<String>,
    /// Empty: every name.
    pub resource_names: Vec<String>,
    pub non_resource_urls: Vec<String>,
}

/// The rules of a role, in the shape of `SelfSubjectRulesReview.status`.
#[derive(Debug, Clone, Default)]
pub struct RuleSet {
    pub resource_rules: Vec<Value>,
    pub non_resource_rules: Vec<Value>,
}

impl RuleSet {
    pub fn of(rules: &[Rule]) -> Self {
        let mut set = Self::default();
        for rule in rules {
            if !rule.resources.is_empty() {
                let mut shown = json!({
                    "verbs": rule.verbs, "apiGroups": rule.api_groups, "resources": rule.resources,
                });
                if !rule.resource_names.is_empty() {
                    shown["resourceNames"] = json!(rule.resource_names);
                }
                set.resource_rules.push(shown);
            }
            if !rule.non_resource_urls.is_empty() {
                set.non_resource_rules
                    .push(json!({ "verbs": rule.verbs, "nonResourceURLs": rule.non_resource_urls }));
            }
        }
        set
    }
}

/// The rules of a Role or ClusterRole object.
pub fn rules_of(role: &Value) -> Vec<Rule> {
    tree::list(role, &["rules"]).iter().map(Rule::read).collect()
}

impl Rule {
    pub fn read(rule: &Value) -> Self {
        let texts = |field: &str| -> Vec<String> {
            tree::list(rule, &[field])
                .iter()
                .filter_map(|v| v.as_str().map(str::to_owned))
                .collect()
        };
        Self {
            verbs: texts("verbs"),
            api_groups: texts("apiGroups"),
            resources: texts("resources"),
            resource_names: texts("resourceNames"),
            non_resource_urls: texts("nonResourceURLs"),
        }
    }

    pub fn allows(&self, attributes: &Attributes<'_>) -> bool {
        if !has(&self.verbs, attributes.verb) {
            return false;
        }
        if !attributes.resource_request {
            return self
                .non_resource_urls
                .iter()
                .any(|url| url_matches(url, attributes.path));
        }
        has(&self.api_groups, attributes.api_group)
            && self
                .resources
                .iter()
                .any(|r| resource_matches(r, attributes.resource, attributes.subresource))
            && (self.resource_names.is_empty() || self.resource_names.iter().any(|n| n == attributes.name))
    }
}

pub(super) fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|item| item == ALL || item == wanted)
}

/// `pods`, `pods/log`, `*`, `*/scale`.
pub(super) fn resource_matches(rule: &str, resource: &str, subresource: &str) -> bool {
    if rule == ALL {
        return true;
    }
    match rule.split_once('/') {
        None => subresource.is_empty() && rule == resource,
        Some((parent, child)) => child == subresource && (parent == ALL || parent == resource),
    }
}

/// Exact, or a prefix when the rule ends in `*`.
pub(super) fn url_matches(rule: &str, path: &str) -> bool {
    rule == ALL
        || rule == path
        || rule
            .strip_suffix('*')
            .is_some_and(|prefix| path.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::{resource_matches, url_matches};

    #[test]
    fn wildcards_cover_what_they_say() {
        assert!(resource_matches("*", "pods", "exec"));
        assert!(resource_matches("*/scale", "deployments", "scale"));
        assert!(!resource_matches("pods", "pods", "exec"));
        assert!(!resource_matches("*/scale", "deployments", ""));
        assert!(url_matches("/livez/*", "/livez/ping"));
        assert!(!url_matches("/livez", "/livez/ping"));
    }
}
