//! ClusterRole aggregation: roles that are the sum of others.
//! Source: `pkg/controller/clusterroleaggregation/clusterroleaggregation_controller.go` (1.36).

use crate::action::{Action, Plan};
use crate::object::{Key, MetaView};
use crate::runner::{Cache, Context, Controller, Informers, Watches};
use crate::selector::selects;
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use std::sync::Arc;

pub fn plan(role: &ClusterRole, all: &[Arc<ClusterRole>]) -> Plan {
    let Some(selectors) = role
        .aggregation_rule
        .as_ref()
        .and_then(|rule| rule.cluster_role_selectors.as_ref())
    else {
        return Plan::nothing();
    };
    let mut rules: Vec<PolicyRule> = Vec::new();
    for selector in selectors {
        for part in all
            .iter()
            .filter(|part| selects(selector, part.metadata.labels.as_ref()))
        {
            if part.metadata.name() == role.metadata.name() {
                continue;
            }
            for rule in part.rules.iter().flatten() {
                if !rules.contains(rule) {
                    rules.push(rule.clone());
                }
            }
        }
    }
    if role.rules.as_deref().unwrap_or_default() == rules {
        return Plan::nothing();
    }
    let mut sum = role.clone();
    sum.rules = Some(rules);
    vec![Action::update(&sum)].into()
}

pub struct ClusterRoleAggregation {
    roles: Cache<ClusterRole>,
}

impl ClusterRoleAggregation {
    pub fn new(informers: &Informers) -> Self {
        Self {
            roles: informers.of(),
        }
    }
}

impl Controller for ClusterRoleAggregation {
    fn name(&self) -> &'static str {
        "clusterrole-aggregation-controller"
    }

    fn watch(&self, watches: &mut Watches<'_>) {
        let roles = self.roles.clone();
        watches.on(&self.roles, move |_| {
            let sums = roles
                .list()
                .into_iter()
                .filter(|role| role.aggregation_rule.is_some());
            sums.map(|role| Key::of(&role.metadata)).collect()
        });
    }

    fn plan(&self, key: &Key, _context: &Context) -> Plan {
        self.roles
            .get(key)
            .map(|role| plan(&role, &self.roles.list()))
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::plan;
    use crate::testing::{object, story};
    use k8s_openapi::api::rbac::v1::ClusterRole;
    use serde_json::json;

    #[test]
    fn a_role_sums_the_selected_ones_once() {
        let part = |name: &str, verb: &str| {
            object::<ClusterRole>(
                json!({"metadata": {"name": name, "labels": {"to-view": "true"}}, "rules": [{"verbs": [verb]}]}),
            )
        };
        let all = [part("a", "get"), part("b", "list"), part("c", "get")];
        let sum = |rules| {
            object::<ClusterRole>(json!({"metadata": {"name": "view"}, "rules": rules,
                "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"to-view": "true"}}]}}))
        };
        assert_eq!(story(&plan(&sum(json!([])), &all)), ["update ClusterRole view"]);
        assert!(
            plan(&sum(json!([{"verbs": ["get"]}, {"verbs": ["list"]}])), &all)
                .actions
                .is_empty()
        );
    }
}
