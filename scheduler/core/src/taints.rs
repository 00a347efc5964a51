//! Taints and tolerations.
//!
//! Follows `k8s.io/api/core/v1/toleration.go`, `ToleratesTaint`.

use k8s_openapi::api::core::v1::{Taint, Toleration};

pub const NO_SCHEDULE: &str = "NoSchedule";
pub const NO_EXECUTE: &str = "NoExecute";
pub const PREFER_NO_SCHEDULE: &str = "PreferNoSchedule";
/// What a cordoned node counts as having.
pub const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tolerations(Vec<Tolerated>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Tolerated {
    /// Empty for every key.
    key: String,
    /// Empty for every effect.
    effect: String,
    value: ValueTest,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum ValueTest {
    Any,
    Equals(String),
    GreaterThan(i64),
    LessThan(i64),
    Never,
}

impl Tolerations {
    pub fn compile(tolerations: &[Toleration]) -> Self {
        Self(
            tolerations
                .iter()
                .map(|toleration| {
                    let value = toleration.value.clone().unwrap_or_default();
                    Tolerated {
                        key: toleration.key.clone().unwrap_or_default(),
                        effect: toleration.effect.clone().unwrap_or_default(),
                        value: match (toleration.operator.as_deref(), value.parse()) {
                            (Some("Exists"), _) => ValueTest::Any,
                            (None | Some("" | "Equal"), _) => ValueTest::Equals(value),
                            // A node whose value is below a `Lt` bound, above a `Gt` bound, is tolerated.
                            (Some("Gt"), Ok(bound)) => ValueTest::GreaterThan(bound),
                            (Some("Lt"), Ok(bound)) => ValueTest::LessThan(bound),
                            _ => ValueTest::Never,
                        },
                    }
                })
                .collect(),
        )
    }

    pub fn tolerate(&self, key: &str, value: &str, effect: &str) -> bool {
        self.0.iter().any(|tolerated| {
            (tolerated.effect.is_empty() || tolerated.effect == effect)
                && (tolerated.key.is_empty() || tolerated.key == key)
                && tolerated.value.accepts(value)
        })
    }

    /// The first taint that keeps a pod off a node.
    pub fn untolerated<'a>(&self, taints: &'a [Taint]) -> Option<&'a Taint> {
        taints.iter().find(|taint| {
            (taint.effect == NO_SCHEDULE || taint.effect == NO_EXECUTE)
                && !self.tolerate(
                    &taint.key,
                    taint.value.as_deref().unwrap_or_default(),
                    &taint.effect,
                )
        })
    }

    /// How many taints only ask to stay away and aren't tolerated.
    pub fn disliked(&self, taints: &[Taint]) -> usize {
        taints
            .iter()
            .filter(|taint| {
                taint.effect == PREFER_NO_SCHEDULE
                    && !self.tolerate(
                        &taint.key,
                        taint.value.as_deref().unwrap_or_default(),
                        &taint.effect,
                    )
            })
            .count()
    }
}

impl ValueTest {
    fn accepts(&self, value: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Equals(wanted) => wanted == value,
            Self::GreaterThan(bound) => value.parse::<i64>().is_ok_and(|value| value > *bound),
            Self::LessThan(bound) => value.parse::<i64>().is_ok_and(|value| value < *bound),
            Self::Never => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Tolerations;
    use serde_json::json;

    #[test]
    fn tolerations_match_taints_as_upstream_does() {
        let taint = [
            serde_json::from_value(json!({"key": "k", "value": "v", "effect": "NoSchedule"}))
                .expect("a taint"),
        ];
        for (tolerations, tolerated) in [
            (json!([]), false),
            (json!([{"operator": "Exists"}]), true),
            (json!([{"key": "k", "operator": "Exists"}]), true),
            (json!([{"key": "k", "value": "v"}]), true),
            (json!([{"key": "k", "value": "w"}]), false),
            (
                json!([{"key": "k", "operator": "Exists", "effect": "NoExecute"}]),
                false,
            ),
        ] {
            let parsed: Vec<_> = serde_json::from_value(tolerations.clone()).expect("tolerations");
            let compiled = Tolerations::compile(&parsed);
            assert_eq!(compiled.untolerated(&taint).is_none(), tolerated, "{tolerations}");
        }
    }
}
