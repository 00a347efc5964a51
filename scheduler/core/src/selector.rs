//! Label and node selectors, compiled once and matched often.
//!
//! Follows `k8s.io/apimachinery/pkg/labels` and `component-helpers/scheduling/corev1/nodeaffinity`.

use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use std::collections::BTreeMap;

pub type Labels = BTreeMap<String, String>;

/// All requirements must hold; none at all matches everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Selector(Vec<Requirement>);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Test {
    Equals(String),
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    DoesNotExist,
    GreaterThan(i64),
    LessThan(i64),
    /// An operator or value that doesn't parse: such a requirement selects nothing.
    Never,
}

impl Selector {
    pub fn from_labels<'a>(labels: impl IntoIterator<Item = (&'a String, &'a String)>) -> Self {
        Self(
            labels
                .into_iter()
                .map(|(key, value)| Requirement {
                    key: key.clone(),
                    test: Test::Equals(value.clone()),
                })
                .collect(),
        )
    }

    pub fn from_label_selector(selector: &LabelSelector) -> Self {
        let mut compiled = Self::from_labels(selector.match_labels.iter().flatten());
        for expression in selector.match_expressions.iter().flatten() {
            let values = expression.values.clone().unwrap_or_default();
            compiled.0.push(Requirement {
                key: expression.key.clone(),
                test: test(&expression.operator, values),
            });
        }
        compiled
    }

    /// Also asks for `key` to be `value`.
    pub fn require(&mut self, key: &str, value: &str) {
        self.0.push(Requirement {
            key: key.to_owned(),
            test: Test::Equals(value.to_owned()),
        });
    }

    /// Also asks for `key` not to be `value`.
    pub fn refuse(&mut self, key: &str, value: &str) {
        self.0.push(Requirement {
            key: key.to_owned(),
            test: Test::NotIn(vec![value.to_owned()]),
        });
    }

    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn matches(&self, labels: &Labels) -> bool {
        self.0
            .iter()
            .all(|requirement| requirement.holds(labels.get(&requirement.key).map(String::as_str)))
    }
}

impl Requirement {
    fn holds(&self, value: Option<&str>) -> bool {
        match &self.test {
            Test::Equals(wanted) => value == Some(wanted),
            Test::In(values) => value.is_some_and(|value| values.iter().any(|v| v == value)),
            Test::NotIn(values) => value.is_none_or(|value| values.iter().all(|v| v != value)),
            Test::Exists => value.is_some(),
            Test::DoesNotExist => value.is_none(),
            Test::GreaterThan(bound) => number(value).is_some_and(|value| value > *bound),
            Test::LessThan(bound) => number(value).is_some_and(|value| value < *bound),
            Test::Never => false,
        }
    }
}

fn number(value: Option<&str>) -> Option<i64> {
    value?.parse().ok()
}

fn test(operator: &str, values: Vec<String>) -> Test {
    let bound = values.first().and_then(|value| value.parse().ok());
    match (operator, bound) {
        ("In", _) => Test::In(values),
        ("NotIn", _) => Test::NotIn(values),
        ("Exists", _) => Test::Exists,
        ("DoesNotExist", _) => Test::DoesNotExist,
        ("Gt", Some(bound)) => Test::GreaterThan(bound),
        ("Lt", Some(bound)) => Test::LessThan(bound),
        _ => Test::Never,
    }
}

/// Terms of a node selector: one of them must match. A term without requirements matches nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeTerms(Vec<NodeTerm>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeTerm {
    labels: Selector,
    /// On `metadata.name`, the only field there is.
    fields: Selector,
}

impl NodeTerm {
    pub fn compile(term: &NodeSelectorTerm) -> Self {
        Self {
            labels: compile(term.match_expressions.as_deref()),
            fields: compile(term.match_fields.as_deref()),
        }
    }

    pub fn matches(&self, name: &str, labels: &Labels) -> bool {
        if self.labels.is_empty() && self.fields.is_empty() {
            return false;
        }
        self.fields
            .0
            .iter()
            .all(|requirement| requirement.key == "metadata.name" && requirement.holds(Some(name)))
            && self.labels.matches(labels)
    }

    /// The node names that the term allows, when it names them.
    fn names(&self) -> Option<&[String]> {
        self.fields
            .0
            .iter()
            .find_map(|requirement| match &requirement.test {
                Test::In(values) if requirement.key == "metadata.name" => Some(values.as_slice()),
                _ => None,
            })
    }
}

impl NodeTerms {
    pub fn compile(terms: &[NodeSelectorTerm]) -> Self {
        Self(terms.iter().map(NodeTerm::compile).collect())
    }

    pub fn matches(&self, name: &str, labels: &Labels) -> bool {
        self.0.iter().any(|term| term.matches(name, labels))
    }

    /// The only nodes that can match, when every term names its nodes: daemons are pinned this way.
    pub fn names(&self) -> Option<Vec<&str>> {
        let mut names = Vec::new();
        for term in &self.0 {
            names.extend(term.names()?.iter().map(String::as_str));
        }
        Some(names)
    }
}

fn compile(requirements: Option<&[NodeSelectorRequirement]>) -> Selector {
    Selector(
        requirements
            .unwrap_or_default()
            .iter()
            .map(|requirement| Requirement {
                key: requirement.key.clone(),
                test: test(
                    &requirement.operator,
                    requirement.values.clone().unwrap_or_default(),
                ),
            })
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::{Labels, NodeTerms, Selector};
    use k8s_openapi::api::core::v1::NodeSelectorTerm;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
    use serde_json::{Value, json};

    fn labels(value: Value) -> Labels {
        serde_json::from_value(value).expect("labels")
    }

    #[test]
    fn label_selectors_match_as_upstream_does() {
        let node = labels(json!({"a": "1", "b": "x"}));
        for (selector, expected) in [
            (json!({}), true),
            (json!({"matchLabels": {"a": "1"}}), true),
            (json!({"matchLabels": {"a": "2"}}), false),
            (
                json!({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1", "2"]}]}),
                true,
            ),
            (
                json!({"matchExpressions": [{"key": "c", "operator": "NotIn", "values": ["1"]}]}),
                true,
            ),
            (
                json!({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}),
                false,
            ),
            (
                json!({"matchExpressions": [{"key": "a", "operator": "Exists"}]}),
                true,
            ),
            (
                json!({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}),
                false,
            ),
            (
                json!({"matchExpressions": [{"key": "a", "operator": "Strange"}]}),
                false,
            ),
        ] {
            let parsed: LabelSelector = serde_json::from_value(selector.clone()).expect("a selector");
            assert_eq!(
                Selector::from_label_selector(&parsed).matches(&node),
                expected,
                "{selector}"
            );
        }
    }

    #[test]
    fn node_terms_match_labels_numbers_and_names() {
        let node = labels(json!({"cores": "8"}));
        for (terms, expected) in [
            (json!([]), false),
            (json!([{}]), false),
            (
                json!([{"matchExpressions": [{"key": "cores", "operator": "Gt", "values": ["4"]}]}]),
                true,
            ),
            (
                json!([{"matchExpressions": [{"key": "cores", "operator": "Lt", "values": ["8"]}]}]),
                false,
            ),
            (
                json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}]),
                true,
            ),
            (
                json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n2"]}]}]),
                false,
            ),
        ] {
            let parsed: Vec<NodeSelectorTerm> = serde_json::from_value(terms.clone()).expect("terms");
            assert_eq!(
                NodeTerms::compile(&parsed).matches("n1", &node),
                expected,
                "{terms}"
            );
        }
    }
}
