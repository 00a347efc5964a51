//! Field selectors: `metadata.name=x,status.phase!=Running`.
//!
//! The grammar follows `apimachinery/pkg/fields/selector.go`; which fields a resource has follows the label
//! conversion functions of each group (`pkg/apis/*/v1/conversion.go`, 1.36).

use serde_json::Value;

use crate::status::ApiError;
use crate::tree;

/// One condition on one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRequirement {
    pub field: String,
    pub value: String,
    /// `!=`.
    pub negated: bool,
}

/// A conjunction of conditions.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct FieldSelector {
    pub requirements: Vec<FieldRequirement>,
}

impl FieldSelector {
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// The value that a field must have, if the selector fixes it.
    pub fn exact(&self, field: &str) -> Option<&str> {
        self.requirements
            .iter()
            .find(|req| req.field == field && !req.negated)
            .map(|req| req.value.as_str())
    }

    /// The object matches; `rule` is the one that the selector was checked with.
    pub fn matches(&self, object: &Value, rule: &FieldRule) -> bool {
        self.requirements
            .iter()
            .all(|req| (rule.value_of(&req.field, object) == req.value) != req.negated)
    }
}

/// # Errors
/// Upstream's text, for a bad request.
pub fn parse(text: &str) -> Result<FieldSelector, String> {
    let mut requirements = Vec::new();
    for term in split_terms(text) {
        if term.is_empty() {
            continue;
        }
        let (field, negated, value) = split_term(term)
            .ok_or_else(|| format!("invalid selector: '{text}'; can't understand '{term}'"))?;
        let value = unescape(value)?;
        requirements.push(FieldRequirement {
            field: field.to_owned(),
            value,
            negated,
        });
    }
    Ok(FieldSelector { requirements })
}

/// Splits at commas that no backslash precedes.
fn split_terms(text: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (i, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                terms.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

fn split_term(term: &str) -> Option<(&str, bool, &str)> {
    for (i, _) in term.char_indices() {
        let rest = &term[i..];
        for (operator, negated) in [("!=", true), ("==", false), ("=", false)] {
            if let Some(value) = rest.strip_prefix(operator) {
                return Some((&term[..i], negated, value));
            }
        }
    }
    None
}

fn unescape(value: &str) -> Result<String, String> {
    let mut text = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => text.push(c),
                Some(c) => return Err(format!("invalid field selector: invalid escape sequence: \\{c}")),
                None => return Err("invalid field selector: invalid escape sequence: \\".to_owned()),
            },
            ',' | '=' => {
                return Err(format!(
                    "invalid field selector: unescaped character in value: {c}"
                ));
            }
            c => text.push(c),
        }
    }
    Ok(text)
}

/// Which fields of a resource can be selected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRule {
    namespaced: bool,
    /// Field label → where its value is. Labels are mostly the path itself.
    extra: Vec<(String, Vec<String>)>,
    /// The resource has its own conversion function: it words the refusal differently.
    own_words: bool,
}

impl FieldRule {
    /// The rule of a built-in resource.
    pub fn built_in(group: &str, plural: &str, namespaced: bool) -> Self {
        let fields: &[&str] = match (group, plural) {
            ("", "pods") => &[
                "spec.nodeName",
                "spec.restartPolicy",
                "spec.schedulerName",
                "spec.serviceAccountName",
                "spec.hostNetwork",
                "status.phase",
                "status.podIP",
                "status.podIPs",
                "status.nominatedNodeName",
            ],
            ("", "namespaces") => &["status.phase"],
            ("", "nodes") => &["spec.unschedulable"],
            ("", "secrets") => &["type"],
            ("", "services") => &["spec.clusterIP", "spec.type"],
            ("", "replicationcontrollers") | ("apps", "replicasets") => &["status.replicas"],
            ("batch", "jobs") => &["status.successful"],
            ("certificates.k8s.io", "certificatesigningrequests") => &["spec.signerName"],
            ("resource.k8s.io", "resourceslices") => &["spec.nodeName", "spec.driver"],
            ("", "events") => &[
                "involvedObject.kind",
                "involvedObject.namespace",
                "involvedObject.name",
                "involvedObject.uid",
                "involvedObject.apiVersion",
                "involvedObject.resourceVersion",
                "involvedObject.fieldPath",
                "reason",
                "reportingComponent",
                "source",
                "type",
            ],
            ("events.k8s.io", "events") => &[
                "regarding.kind",
                "regarding.namespace",
                "regarding.name",
                "regarding.uid",
                "regarding.apiVersion",
                "regarding.resourceVersion",
                "regarding.fieldPath",
                "reason",
                "reportingController",
                "type",
            ],
            _ => &[],
        };
        let mut rule = Self::custom(
            namespaced,
            fields.iter().map(|field| (*field).to_owned()).collect(),
        );
        rule.own_words = !fields.is_empty() && (group, plural) != ("apps", "replicasets");
        rule
    }

    /// The rule of a custom resource with its `selectableFields` (without leading dots).
    pub fn custom(namespaced: bool, fields: Vec<String>) -> Self {
        let extra = fields
            .into_iter()
            .map(|field| (field.clone(), field.split('.').map(str::to_owned).collect()))
            .collect();
        Self {
            namespaced,
            extra,
            own_words: false,
        }
    }

    /// The field can be selected.
    pub fn supports(&self, field: &str) -> bool {
        field == "metadata.name"
            || (field == "metadata.namespace" && (self.namespaced || !self.own_words))
            || self.extra.iter().any(|(known, _)| known == field)
    }

    /// Every field that can be selected.
    pub fn fields(&self) -> Vec<&str> {
        let mut fields = vec!["metadata.name"];
        if self.namespaced {
            fields.push("metadata.namespace");
        }
        fields.extend(self.extra.iter().map(|(field, _)| field.as_str()));
        fields
    }

    /// # Errors
    /// 400 for the first field that cannot be selected.
    pub fn check(&self, selector: &FieldSelector) -> Result<(), ApiError> {
        match selector
            .requirements
            .iter()
            .find(|req| !self.supports(&req.field))
        {
            None => Ok(()),
            Some(req) if self.own_words || !self.extra.is_empty() => Err(ApiError::bad_request(format!(
                "field label not supported: {}",
                req.field
            ))),
            Some(req) => Err(ApiError::bad_request(format!(
                "{} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
                crate::field_error::quote(&req.field)
            ))),
        }
    }

    /// The value of a field as the selector compares it: text, with the defaults that upstream's field sets have.
    pub fn value_of(&self, field: &str, object: &Value) -> String {
        match field {
            "metadata.name" => return tree::name(object).to_owned(),
            "metadata.namespace" => return tree::namespace(object).to_owned(),
            // Upstream shows the first address under both names.
            "status.podIPs" => return tree::text(object, &["status", "podIP"]).to_owned(),
            "status.successful" => return number(object, &["status", "succeeded"]),
            "status.replicas" => return number(object, &["status", "replicas"]),
            "source" => {
                let source = tree::text(object, &["source", "component"]);
                let source = if source.is_empty() {
                    tree::text(object, &["reportingComponent"])
                } else {
                    source
                };
                return source.to_owned();
            }
            "spec.unschedulable" | "spec.hostNetwork" => {
                let path: Vec<&str> = field.split('.').collect();
                return tree::flag(object, &path).to_string();
            }
            _ => {}
        }
        let Some((_, path)) = self.extra.iter().find(|(known, _)| known == field) else {
            return String::new();
        };
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        match tree::at(object, &path) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Bool(flag)) => flag.to_string(),
            Some(Value::Number(number)) => number.to_string(),
            _ => String::new(),
        }
    }
}

fn number(object: &Value, path: &[&str]) -> String {
    tree::int(object, path).unwrap_or(0).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn selectors_parse_match_and_refuse() {
        let rule = FieldRule::built_in("", "pods", true);
        let pod = json!({"metadata": {"name": "a", "namespace": "d"}, "spec": {"nodeName": "n"}, "status": {"phase": "Running"}});
        let matches = |text: &str| parse(text).unwrap().matches(&pod, &rule);
        assert!(matches(""));
        assert!(matches(
            "spec.nodeName=n,status.phase!=Succeeded,status.phase!=Failed"
        ));
        assert!(!matches("spec.nodeName=m"));
        assert!(matches("metadata.name==a"));
        assert!(matches("spec.hostNetwork=false"));
        assert!(parse("a").unwrap_err().contains("can't understand 'a'"));
        assert_eq!(parse(r"a=b\,c").unwrap().exact("a"), Some("b,c"));

        let refused = rule.check(&parse("foo=bar").unwrap()).unwrap_err();
        assert_eq!(
            (refused.code, refused.message.as_str()),
            (400, "field label not supported: foo")
        );
        let plain = FieldRule::built_in("", "configmaps", true);
        assert_eq!(
            plain.check(&parse("foo=bar").unwrap()).unwrap_err().message,
            "\"foo\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
        );
    }

    #[test]
    fn events_are_found_by_their_object() {
        let rule = FieldRule::built_in("", "events", true);
        let event = json!({"involvedObject": {"name": "n1", "kind": "Node"}, "reason": "Ready"});
        let selector = parse(
            "involvedObject.uid=,involvedObject.name=n1,involvedObject.namespace=,involvedObject.kind=Node",
        )
        .unwrap();
        rule.check(&selector).unwrap();
        assert!(selector.matches(&event, &rule));
    }
}
