//! Taint eviction: pods leave nodes whose `NoExecute` taints they don't tolerate (any longer).
//! Source: `pkg/controller/tainteviction/taint_eviction.go` (1.36).

use crate::action::{Action, Plan};
use crate::object::{Key, MetaView};
use crate::pod_state;
use crate::runner::{Cache, Context, Controller, Informers, Watches};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, Pod, PodCondition, Taint, Toleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub struct Observed {
    pub pod: Arc<Pod>,
    /// The `NoExecute` taints of the pod's node.
    pub taints: Vec<Taint>,
    /// Since when the pod has been seen on a tainted node; counts where a taint doesn't say since when it is there.
    pub tainted_since: Timestamp,
    pub now: Timestamp,
}

pub fn plan(observed: &Observed) -> Plan {
    let pod = observed.pod.as_ref();
    if observed.taints.is_empty() || pod.metadata.is_terminating() || pod_state::is_finished(pod) {
        return Plan::nothing();
    }
    let Some(deadline) = deadline(observed) else {
        return Plan::nothing();
    };
    let left = deadline.duration_since(observed.now);
    match Duration::try_from(left) {
        Ok(left) if !left.is_zero() => Plan {
            actions: Vec::new(),
            again_after: Some(left),
        },
        _ => evict(pod, observed.now).into(),
    }
}

/// When the pod must go; `None` if it may stay.
fn deadline(observed: &Observed) -> Option<Timestamp> {
    let spec = observed.pod.spec.as_ref();
    let tolerations = spec
        .and_then(|spec| spec.tolerations.as_deref())
        .unwrap_or_default();
    let mut earliest = None;
    for taint in &observed.taints {
        let matching: Vec<&Toleration> = tolerations
            .iter()
            .filter(|toleration| tolerates(toleration, taint))
            .collect();
        if matching.is_empty() {
            return Some(observed.now);
        }
        let since = taint
            .time_added
            .as_ref()
            .map_or(observed.tainted_since, |time| time.0);
        // A pod that came later than the taint has its whole time.
        let since = since.max(scheduled_at(&observed.pod).unwrap_or(since));
        for seconds in matching
            .iter()
            .filter_map(|toleration| toleration.toleration_seconds)
        {
            let until = since
                .saturating_add(SignedDuration::from_secs(seconds.max(0)))
                .ok()?;
            earliest = Some(earliest.map_or(until, |earlier: Timestamp| earlier.min(until)));
        }
    }
    earliest
}

fn scheduled_at(pod: &Pod) -> Option<Timestamp> {
    pod_state::condition(pod, "PodScheduled")?
        .last_transition_time
        .as_ref()
        .map(|time| time.0)
}

/// Source: `v1.Toleration.ToleratesTaint` (1.36).
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let (effect, key) = (text(&toleration.effect), text(&toleration.key));
    if (!effect.is_empty() && effect != taint.effect) || (!key.is_empty() && key != taint.key) {
        return false;
    }
    match toleration.operator.as_deref().unwrap_or_default() {
        "" | "Equal" => text(&toleration.value) == text(&taint.value) && !key.is_empty(),
        "Exists" => true,
        _ => false,
    }
}

fn evict(pod: &Pod, now: Timestamp) -> Vec<Action> {
    let mut conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.clone())
        .unwrap_or_default();
    let marked = conditions
        .iter()
        .any(|condition| condition.type_ == "DisruptionTarget" && condition.status == "True");
    let key = Key::of(&pod.metadata);
    let mut actions = vec![Action::record(
        pod,
        false,
        "TaintManagerEviction",
        format!("Marking for deletion Pod {key}"),
    )];
    if !marked {
        conditions.retain(|condition| condition.type_ != "DisruptionTarget");
        conditions.push(PodCondition {
            type_: "DisruptionTarget".into(),
            status: "True".into(),
            reason: Some("DeletionByTaintManager".into()),
            message: Some("Taint manager: deleting due to NoExecute taint".into()),
            last_transition_time: Some(Time(now)),
            ..PodCondition::default()
        });
        actions.push(Action::patch_status_seen(
            pod,
            json!({"status": {"conditions": conditions}}),
        ));
    }
    actions.push(Action::delete(pod));
    actions
}

pub struct TaintEvictionController {
    pods: Cache<Pod>,
    nodes: Cache<Node>,
    /// By uid of the pod.
    tainted_since: Mutex<BTreeMap<String, Timestamp>>,
}

impl TaintEvictionController {
    pub fn new(informers: &Informers) -> Self {
        Self {
            pods: informers.of(),
            nodes: informers.of(),
            tainted_since: Mutex::default(),
        }
    }
}

fn executing(node: &Node) -> Vec<Taint> {
    let taints = node
        .spec
        .as_ref()
        .and_then(|spec| spec.taints.clone())
        .unwrap_or_default();
    taints
        .into_iter()
        .filter(|taint| taint.effect == "NoExecute")
        .collect()
}

impl Controller for TaintEvictionController {
    fn name(&self) -> &'static str {
        "taint-eviction-controller"
    }

    fn watch(&self, watches: &mut Watches<'_>) {
        watches.on(&self.pods, |change| {
            let spec = |pod: &Arc<Pod>| {
                let spec = pod.spec.clone().unwrap_or_default();
                (spec.node_name, spec.tolerations)
            };
            let unchanged = change.old.as_ref().map(spec) == change.new.as_ref().map(spec);
            let pod = change.new.as_ref().or(change.old.as_ref()).filter(|_| !unchanged);
            pod.map(|pod| Key::of(&pod.metadata)).into_iter().collect()
        });
        let pods = self.pods.clone();
        watches.on(&self.nodes, move |change| {
            let taints = |node: &Option<Arc<Node>>| node.as_deref().map(executing).unwrap_or_default();
            if taints(&change.old) == taints(&change.new) {
                return Vec::new();
            }
            let here = pods.list();
            let here = here.iter().filter(|pod| pod_state::node(pod) == change.key);
            here.map(|pod| Key::of(&pod.metadata)).collect()
        });
    }

    fn plan(&self, key: &Key, context: &Context) -> Plan {
        let Some(pod) = self.pods.get(key) else {
            return Plan::nothing();
        };
        let node = self.nodes.get(&Key::cluster(pod_state::node(&pod)));
        let taints = node.as_deref().map(executing).unwrap_or_default();
        let mut since = self.tainted_since.lock().unwrap_or_else(PoisonError::into_inner);
        let uid = pod.metadata.uid();
        if taints.is_empty() || pod.metadata.is_terminating() {
            since.remove(uid);
            return Plan::nothing();
        }
        let tainted_since = *since.entry(uid.to_owned()).or_insert(context.now);
        drop(since);
        plan(&Observed {
            pod,
            taints,
            tainted_since,
            now: context.now,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Observed, plan};
    use crate::testing::{ago, now, pod, story};
    use k8s_openapi::api::core::v1::Taint;
    use serde_json::{Value, json};
    use std::time::Duration;

    fn observed(tolerations: Value) -> Observed {
        let taint =
            json!({"key": "node.kubernetes.io/unreachable", "effect": "NoExecute", "timeAdded": ago(20)});
        Observed {
            pod: pod("a", None, json!({"spec": {"tolerations": tolerations}})),
            taints: vec![serde_json::from_value::<Taint>(taint).unwrap()],
            tainted_since: now(),
            now: now(),
        }
    }

    #[test]
    fn a_pod_stays_as_long_as_it_tolerates() {
        let gone = [
            "event TaintManagerEviction: Marking for deletion Pod default/a",
            "patch Pod default/a",
            "delete Pod default/a",
        ];
        assert_eq!(story(&plan(&observed(json!([])))), gone);
        let timed = |seconds: i64| json!([{"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}]);
        assert_eq!(
            plan(&observed(timed(30))).again_after,
            Some(Duration::from_secs(10))
        );
        assert_eq!(story(&plan(&observed(timed(20)))), gone);
        assert_eq!(plan(&observed(json!([{"operator": "Exists"}]))).again_after, None);
    }
}
