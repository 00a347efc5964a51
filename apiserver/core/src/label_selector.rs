//! Label selectors: the text form of list requests and the object form of workloads.
//!
//! Follows `apimachinery/pkg/labels/selector.go` and `pkg/apis/meta/v1/helpers.go` (1.36), error texts included.

mod parser;

use serde_json::Value;

use crate::field_error::{ErrorList, FieldError, FieldPath};
use crate::{names, tree};

/// How a requirement compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Equals,
    DoubleEquals,
    NotEquals,
    In,
    NotIn,
    Exists,
    DoesNotExist,
    GreaterThan,
    LessThan,
}

/// One condition on one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    pub key: String,
    pub operator: Operator,
    /// Sorted, without repeats.
    pub values: Vec<String>,
}

impl Requirement {
    pub fn matches(&self, value: Option<&str>) -> bool {
        let listed = |value: &str| self.values.iter().any(|known| known == value);
        match self.operator {
            Operator::Equals | Operator::DoubleEquals | Operator::In => value.is_some_and(listed),
            Operator::NotEquals | Operator::NotIn => !value.is_some_and(listed),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan | Operator::LessThan => {
                let (Some(have), Some(want)) = (
                    value.and_then(|value| value.parse::<i64>().ok()),
                    self.values.first().and_then(|value| value.parse::<i64>().ok()),
                ) else {
                    return false;
                };
                if self.operator == Operator::GreaterThan {
                    have > want
                } else {
                    have < want
                }
            }
        }
    }
}

/// A conjunction of requirements.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct LabelSelector {
    pub requirements: Vec<Requirement>,
    /// Selects no object at all (the selector of a `null` object form).
    pub nothing: bool,
}

/// Parses the text form: `a=b,c!=d,e in (f,g),h,!i`.
///
/// # Errors
/// Upstream's text, for a bad request.
pub fn parse(text: &str) -> Result<LabelSelector, String> {
    Ok(LabelSelector {
        requirements: parser::parse(text)?,
        nothing: false,
    })
}

impl LabelSelector {
    pub fn everything() -> Self {
        Self::default()
    }

    pub fn nothing() -> Self {
        Self {
            requirements: Vec::new(),
            nothing: true,
        }
    }

    /// Selects every object.
    pub fn is_empty(&self) -> bool {
        !self.nothing && self.requirements.is_empty()
    }

    /// `get` gives the value of a label.
    pub fn matches_labels<'a>(&self, get: impl Fn(&str) -> Option<&'a str>) -> bool {
        !self.nothing
            && self
                .requirements
                .iter()
                .all(|requirement| requirement.matches(get(&requirement.key)))
    }

    /// By `metadata.labels`.
    pub fn matches(&self, object: &Value) -> bool {
        self.matches_labels(|key| tree::label(object, key))
    }

    /// By a plain map of labels.
    pub fn matches_map(&self, labels: Option<&Value>) -> bool {
        self.matches_labels(|key| labels.and_then(|labels| labels.get(key)).and_then(Value::as_str))
    }

    /// From the object form (`matchLabels`, `matchExpressions`): absent selects nothing, empty everything.
    /// Expressions that are not valid select nothing; validation reports them.
    pub fn from_object(selector: Option<&Value>) -> Self {
        let Some(selector) = selector.filter(|selector| selector.is_object()) else {
            return Self::nothing();
        };
        let mut requirements = equalities(tree::strings(selector, &["matchLabels"]));
        for expression in tree::list(selector, &["matchExpressions"]) {
            let operator = match tree::text(expression, &["operator"]) {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                _ => return Self::nothing(),
            };
            let mut values: Vec<String> = tree::list(expression, &["values"])
                .iter()
                .filter_map(|value| value.as_str().map(str::to_owned))
                .collect();
            values.sort();
            values.dedup();
            requirements.push(Requirement {
                key: tree::text(expression, &["key"]).to_owned(),
                operator,
                values,
            });
        }
        Self {
            requirements,
            nothing: false,
        }
    }

    /// From a plain map (`spec.selector` of a Service).
    pub fn from_map(labels: &Value) -> Self {
        Self {
            requirements: equalities(tree::strings(labels, &[])),
            nothing: false,
        }
    }
}

fn equalities<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<Requirement> {
    labels
        .map(|(key, value)| Requirement {
            key: key.to_owned(),
            operator: Operator::Equals,
            values: vec![value.to_owned()],
        })
        .collect()
}

/// Checks the object form; follows `ValidateLabelSelector`.
pub fn validate(selector: &Value, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    let labels = path.child("matchLabels");
    for (key, value) in tree::strings(selector, &["matchLabels"]) {
        for reason in names::qualified_name(key) {
            errors.push(FieldError::invalid(&labels, key, reason));
        }
        for reason in names::label_value(value) {
            errors.push(FieldError::invalid(&labels.key(key), value, reason));
        }
    }
    for (i, expression) in tree::list(selector, &["matchExpressions"]).iter().enumerate() {
        let path = path.child("matchExpressions").index(i);
        let values = tree::list(expression, &["values"]);
        match tree::text(expression, &["operator"]) {
            "In" | "NotIn" if values.is_empty() => errors.push(FieldError::required(
                &path.child("values"),
                "must be specified when `operator` is 'In' or 'NotIn'",
            )),
            "Exists" | "DoesNotExist" if !values.is_empty() => errors.push(FieldError::forbidden(
                &path.child("values"),
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            )),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => errors.push(FieldError::invalid(
                &path.child("operator"),
                other,
                "not a valid selector operator",
            )),
        }
        let key = tree::text(expression, &["key"]);
        for reason in names::qualified_name(key) {
            errors.push(FieldError::invalid(&path.child("key"), key, reason));
        }
        for (j, value) in values.iter().filter_map(Value::as_str).enumerate() {
            for reason in names::label_value(value) {
                errors.push(FieldError::invalid(&path.child("values").index(j), value, reason));
            }
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn text_selectors_match_as_upstream() {
        let pod = json!({"metadata": {"labels": {"app": "web", "tier": "front", "n": "5"}}});
        let cases = [
            ("", true),
            ("app=web", true),
            ("app==web,tier!=back", true),
            ("app=db", false),
            ("missing!=x", true),
            ("app in (web, db)", true),
            ("app notin (web)", false),
            ("app", true),
            ("!app", false),
            ("!missing", true),
            ("n>4,n<6", true),
            ("n>5", false),
            ("app in (web),in", false),
            ("app=", false),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text).unwrap().matches(&pod), expected, "{text}");
        }
    }

    #[test]
    fn parse_errors_read_as_upstream() {
        let cases = [
            ("=x", "found '=', expected: !, identifier, or 'end of string'"),
            ("a,", "found '', expected: identifier after ','"),
            (
                "! =x",
                "unable to parse requirement: found '=', expected: identifier",
            ),
            (
                "a b",
                "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt",
            ),
            ("a in b", "unable to parse requirement: found 'b' expected: '('"),
            (
                "a in (b",
                "unable to parse requirement: found '', expected: ',' or ')'",
            ),
            ("a=b c", "found 'c', expected: ',' or 'end of string'"),
        ];
        for (text, message) in cases {
            assert_eq!(parse(text).unwrap_err(), message, "{text}");
        }
        assert!(
            parse("a=b/c")
                .unwrap_err()
                .starts_with("unable to parse requirement: values[0][a]: Invalid value")
        );
        assert!(
            parse("a_/b/c=1")
                .unwrap_err()
                .starts_with("unable to parse requirement: key: Invalid value")
        );
    }

    #[test]
    fn object_selectors_match_as_upstream() {
        let pod = json!({"metadata": {"labels": {"app": "web"}}});
        let selector = |value: Value| LabelSelector::from_object(Some(&value)).matches(&pod);
        assert!(selector(json!({})));
        assert!(!LabelSelector::from_object(None).matches(&pod));
        assert!(selector(json!({"matchLabels": {"app": "web"}})));
        assert!(selector(
            json!({"matchExpressions": [{"key": "app", "operator": "In", "values": ["web", "x"]}]})
        ));
        assert!(selector(
            json!({"matchExpressions": [{"key": "x", "operator": "DoesNotExist"}]})
        ));
        assert!(!selector(
            json!({"matchExpressions": [{"key": "x", "operator": "Exists"}]})
        ));
        let bad =
            json!({"matchExpressions": [{"key": "x", "operator": "In"}, {"key": "y", "operator": "Huh"}]});
        let errors = validate(&bad, &FieldPath::new("spec.selector"));
        assert_eq!(errors.len(), 2, "{errors:?}");
    }
}
