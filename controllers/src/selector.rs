//! Label selectors. Source: apimachinery `labels.Selector`, `metav1.LabelSelectorAsSelector` (1.36).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use std::collections::BTreeMap;

type Labels = BTreeMap<String, String>;

/// Whether `selector` selects an object with these labels. An empty selector selects everything; an unknown
/// operator (the API server refuses it) selects nothing.
pub fn selects(selector: &LabelSelector, labels: Option<&Labels>) -> bool {
    let value_of = |key: &str| labels.and_then(|all| all.get(key));
    let equal = selector
        .match_labels
        .iter()
        .flatten()
        .all(|(key, value)| value_of(key) == Some(value));
    equal
        && selector.match_expressions.iter().flatten().all(|rule| {
            let values = rule.values.as_deref().unwrap_or_default();
            match (rule.operator.as_str(), value_of(&rule.key)) {
                ("In", Some(value)) => values.contains(value),
                ("NotIn", Some(value)) => !values.contains(value),
                ("NotIn" | "DoesNotExist", None) | ("Exists", Some(_)) => true,
                _ => false,
            }
        })
}

/// Whether the selector selects everything, which workload controllers refuse to act on.
pub fn is_empty(selector: &LabelSelector) -> bool {
    selector.match_labels.as_ref().is_none_or(BTreeMap::is_empty)
        && selector.match_expressions.as_ref().is_none_or(Vec::is_empty)
}

/// Whether every wanted pair is present (the plain map selectors of Services and ReplicationControllers).
pub fn includes(labels: Option<&Labels>, wanted: &Labels) -> bool {
    wanted
        .iter()
        .all(|(key, value)| labels.and_then(|all| all.get(key)) == Some(value))
}

#[cfg(test)]
mod tests {
    use super::selects;
    use crate::object::labels;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

    #[test]
    fn expressions_follow_the_four_operators() {
        let have = labels([("app", "web"), ("tier", "front")]);
        let rule = |key: &str, operator: &str, values: &[&str]| LabelSelector {
            match_labels: None,
            match_expressions: Some(vec![LabelSelectorRequirement {
                key: key.into(),
                operator: operator.into(),
                values: Some(values.iter().map(|&v| v.to_owned()).collect()),
            }]),
        };
        for (key, operator, values, expected) in [
            ("app", "In", &["web", "db"][..], true),
            ("app", "In", &["db"], false),
            ("gone", "In", &["db"], false),
            ("app", "NotIn", &["db"], true),
            ("gone", "NotIn", &["db"], true),
            ("app", "Exists", &[], true),
            ("gone", "Exists", &[], false),
            ("app", "DoesNotExist", &[], false),
            ("gone", "DoesNotExist", &[], true),
        ] {
            assert_eq!(
                selects(&rule(key, operator, values), Some(&have)),
                expected,
                "{key} {operator} {values:?}"
            );
        }
        assert!(selects(&LabelSelector::default(), None));
    }
}
