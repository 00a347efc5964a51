//! Disruption: how many pods of a budget may be evicted now.
//! Source: `pkg/controller/disruption/disruption.go` (1.36).

use crate::action::{Action, Plan};
use crate::object::{Key, MetaView};
use crate::pod_state;
use crate::proportion::{Round, scaled};
use crate::runner::{Cache, Context, Controller, Informers, Watches};
use crate::selector::selects;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, OwnerReference, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// An eviction that was granted but not seen after this time did not happen. Source: `DeletionTimeout`.
const DELETION_TIMEOUT: SignedDuration = SignedDuration::from_mins(2);

pub struct Observed {
    pub budget: Arc<PodDisruptionBudget>,
    /// All pods of the namespace.
    pub pods: Vec<Arc<Pod>>,
    /// Sizes that the controllers of the pods ask for, by uid of the pods' controllers.
    pub scales: BTreeMap<String, i32>,
    pub now: Timestamp,
}

pub fn plan(observed: &Observed) -> Plan {
    let budget = observed.budget.as_ref();
    let Some(spec) = &budget.spec else {
        return Plan::nothing();
    };
    let before = budget.status.clone().unwrap_or_default();
    let selected: Vec<&Arc<Pod>> = observed
        .pods
        .iter()
        .filter(|pod| {
            spec.selector
                .as_ref()
                .is_some_and(|selector| selects(selector, pod.metadata.labels.as_ref()))
        })
        .collect();
    let mut plan = Plan::nothing();
    let mut disrupted = BTreeMap::new();
    for (name, at) in before.disrupted_pods.clone().unwrap_or_default() {
        let pod = selected
            .iter()
            .find(|pod| pod.metadata.name() == name && !pod.metadata.is_terminating());
        let left = DELETION_TIMEOUT - observed.now.duration_since(at.0);
        if let (Some(_), Ok(left)) = (pod, Duration::try_from(left)) {
            plan.look_again(left + Duration::from_secs(1));
            disrupted.insert(name, at);
        }
    }
    let healthy = selected
        .iter()
        .filter(|pod| pod_state::is_ready(pod) && !pod.metadata.is_terminating())
        .filter(|pod| !disrupted.contains_key(pod.metadata.name()))
        .count();
    let healthy = i32::try_from(healthy).unwrap_or(i32::MAX);
    let (expected, desired) = expectation(observed, &selected);
    let allowed = if expected > 0 {
        (healthy - desired).max(0)
    } else {
        0
    };
    let after = PodDisruptionBudgetStatus {
        current_healthy: Some(healthy),
        desired_healthy: Some(desired),
        expected_pods: Some(expected),
        disruptions_allowed: Some(allowed),
        disrupted_pods: Some(disrupted).filter(|all| !all.is_empty()),
        observed_generation: budget.metadata.generation,
        conditions: Some(vec![condition(budget, &before, allowed, observed.now)]),
    };
    if before != after {
        let mut updated = budget.clone();
        updated.status = Some(after);
        plan.push(Action::update_status(&updated));
    }
    plan
}

/// Expected pods, and how many of them must stay healthy.
fn expectation(observed: &Observed, selected: &[&Arc<Pod>]) -> (i32, i32) {
    let Some(spec) = &observed.budget.spec else {
        return (0, 0);
    };
    let mut scales: BTreeMap<&str, i32> = BTreeMap::new();
    for pod in selected {
        // Pods without a controller that can be scaled count only against an absolute minimum.
        if let Some(owner) = pod.metadata.controller()
            && let Some(scale) = observed.scales.get(&owner.uid)
        {
            scales.insert(&owner.uid, *scale);
        }
    }
    let scaled_total: i32 = scales.values().sum();
    let count = i32::try_from(selected.len()).unwrap_or(i32::MAX);
    match (&spec.max_unavailable, &spec.min_available) {
        (Some(max), _) => {
            let unavailable = scaled(max, scaled_total, Round::Up).unwrap_or(0);
            (scaled_total, (scaled_total - unavailable).max(0))
        }
        (None, Some(IntOrString::Int(min))) => (count, *min),
        (None, Some(percent)) => (
            scaled_total,
            scaled(percent, scaled_total, Round::Up).unwrap_or(0),
        ),
        (None, None) => (count, 1.min(count)),
    }
}

fn condition(
    budget: &PodDisruptionBudget,
    before: &PodDisruptionBudgetStatus,
    allowed: i32,
    now: Timestamp,
) -> Condition {
    let (status, reason) = if allowed > 0 {
        ("True", "SufficientPods")
    } else {
        ("False", "InsufficientPods")
    };
    let told = before
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == "DisruptionAllowed");
    let since = told
        .filter(|told| told.status == status)
        .map_or(Time(now), |told| told.last_transition_time.clone());
    Condition {
        type_: "DisruptionAllowed".into(),
        status: status.into(),
        reason: reason.into(),
        message: String::new(),
        last_transition_time: since,
        observed_generation: budget.metadata.generation,
    }
}

pub struct DisruptionController {
    budgets: Cache<PodDisruptionBudget>,
    pods: Cache<Pod>,
    replica_sets: Cache<ReplicaSet>,
    deployments: Cache<Deployment>,
    stateful_sets: Cache<StatefulSet>,
    replication_controllers: Cache<ReplicationController>,
}

impl DisruptionController {
    pub fn new(informers: &Informers) -> Self {
        Self {
            budgets: informers.of(),
            pods: informers.of(),
            replica_sets: informers.of(),
            deployments: informers.of(),
            stateful_sets: informers.of(),
            replication_controllers: informers.of(),
        }
    }

    /// The size that a pod's controller, or the Deployment above it, asks for.
    fn scale(&self, namespace: &str, owner: &OwnerReference) -> Option<i32> {
        let key = Key::new(namespace, &owner.name);
        match owner.kind.as_str() {
            "ReplicaSet" => {
                let set = self.replica_sets.get(&key)?;
                match set
                    .metadata
                    .controller()
                    .filter(|above| above.kind == "Deployment")
                {
                    Some(above) => {
                        let deployment = self.deployments.get(&Key::new(namespace, &above.name))?;
                        deployment.spec.as_ref().map(|spec| spec.replicas.unwrap_or(1))
                    }
                    None => set.spec.as_ref().map(|spec| spec.replicas.unwrap_or(1)),
                }
            }
            "StatefulSet" => self
                .stateful_sets
                .get(&key)?
                .spec
                .as_ref()
                .map(|spec| spec.replicas.unwrap_or(1)),
            "ReplicationController" => {
                let controller = self.replication_controllers.get(&key)?;
                controller.spec.as_ref().map(|spec| spec.replicas.unwrap_or(1))
            }
            _ => None,
        }
    }
}

impl Controller for DisruptionController {
    fn name(&self) -> &'static str {
        "disruption-controller"
    }

    fn watch(&self, watches: &mut Watches<'_>) {
        watches.objects(&self.budgets);
        let budgets = self.budgets.clone();
        let all_in = move |namespace: &str| -> Vec<Key> {
            budgets
                .list_namespace(namespace)
                .iter()
                .map(|budget| Key::of(&budget.metadata))
                .collect()
        };
        let of_pods = all_in.clone();
        watches.on(&self.pods, move |change| {
            let pod = change.new.as_ref().or(change.old.as_ref());
            pod.map(|pod| of_pods(pod.metadata.namespace()))
                .unwrap_or_default()
        });
        let of_deployments = all_in.clone();
        watches.on(&self.deployments, move |change| {
            let deployment = change.new.as_ref().or(change.old.as_ref());
            deployment
                .map(|deployment| of_deployments(deployment.metadata.namespace()))
                .unwrap_or_default()
        });
        watches.on(&self.stateful_sets, move |change| {
            let set = change.new.as_ref().or(change.old.as_ref());
            set.map(|set| all_in(set.metadata.namespace()))
                .unwrap_or_default()
        });
    }

    fn plan(&self, key: &Key, context: &Context) -> Plan {
        let Some(budget) = self.budgets.get(key) else {
            return Plan::nothing();
        };
        let pods = self.pods.list_namespace(&key.namespace);
        let scales = pods
            .iter()
            .filter_map(|pod| {
                let owner = pod.metadata.controller()?;
                Some((owner.uid.clone(), self.scale(&key.namespace, owner)?))
            })
            .collect();
        plan(&Observed {
            budget,
            pods,
            scales,
            now: context.now,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Observed, plan};
    use crate::action::Action;
    use crate::testing::{ago, now, object, owned_by, pod};
    use k8s_openapi::api::policy::v1::PodDisruptionBudget;
    use serde_json::{Value, json};
    use std::collections::BTreeMap;
    use std::sync::Arc;

    fn status(spec: Value, disrupted: Value) -> [i64; 4] {
        let owner = || Some(owned_by("apps/v1", "ReplicaSet", "rs"));
        let spec = crate::testing::merged(json!({"selector": {"matchLabels": {"app": "web"}}}), spec);
        let observed = Observed {
            budget: object::<PodDisruptionBudget>(
                json!({"metadata": {"name": "b", "namespace": "default"}, "spec": spec, "status": {"disruptedPods": disrupted}}),
            ),
            pods: vec![
                pod("a", owner(), json!({})),
                pod("b", owner(), json!({})),
                pod("c", owner(), json!({})),
                pod("d", owner(), json!({"status": {"conditions": []}})),
            ],
            scales: BTreeMap::from([("uid-rs".into(), 5)]),
            now: now(),
        };
        let Some(Action::UpdateStatus(body)) = plan(&observed).actions.into_iter().next() else {
            panic!("a status")
        };
        let _: Arc<PodDisruptionBudget> = object(body.value.clone());
        [
            "currentHealthy",
            "desiredHealthy",
            "expectedPods",
            "disruptionsAllowed",
        ]
        .map(|field| body.value["status"][field].as_i64().unwrap())
    }

    #[test]
    fn budgets_count_healthy_pods_against_what_is_asked() {
        assert_eq!(status(json!({"minAvailable": 2}), json!({})), [3, 2, 4, 1]);
        assert_eq!(status(json!({"minAvailable": "50%"}), json!({})), [3, 3, 5, 0]);
        assert_eq!(status(json!({"maxUnavailable": 3}), json!({})), [3, 2, 5, 1]);
        assert_eq!(
            status(json!({"minAvailable": 1}), json!({"a": ago(1)})),
            [2, 1, 4, 1],
            "a granted eviction counts"
        );
        assert_eq!(
            status(json!({"minAvailable": 1}), json!({"a": ago(121)})),
            [3, 1, 4, 2],
            "for two minutes"
        );
    }
}
