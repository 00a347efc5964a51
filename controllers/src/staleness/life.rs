//! The world of one seed: controllers with outdated views, node agents, users.

use super::fake_api::FakeApi;
use crate::action::{Action, Plan};
use crate::object::{Key, MetaView, Object, ResourceType};
use crate::testing::now;
use crate::{daemonset, deployment, job, replicaset, statefulset};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use support::Random;

/// Looks without any fault after which everything must be quiet.
const HEALING: usize = 400;

pub struct World {
    pub api: FakeApi,
    random: Random,
    views: Views,
    steps: i64,
    /// The views of a new leader begin less than this many revisions ago.
    behind: u64,
}

/// Up to which revision a controller sees each kind, by the controller's name.
#[derive(Default)]
struct Views(BTreeMap<(&'static str, ResourceType), usize>);

const CONTROLLERS: [&str; 5] = ["deployment", "replicaset", "statefulset", "daemonset", "job"];

impl World {
    pub fn new(seed: u64) -> Self {
        Self {
            api: FakeApi::new(),
            random: Random::seeded(seed),
            views: Views::default(),
            steps: 0,
            behind: 12,
        }
    }

    /// A new leader begins with views of the present, as the runner's do.
    pub fn with_fresh_leaders(self) -> Self {
        Self { behind: 1, ..self }
    }

    pub fn chance(&self, one_in: u64) -> bool {
        self.random.below(0..one_in) == 0
    }

    /// Time enough has passed for whatever waits for time.
    fn now(&self) -> Timestamp {
        now() + SignedDuration::from_secs(self.steps)
    }

    /// Some looks of all controllers and agents, with faults.
    pub fn trouble(&mut self, steps: usize) {
        for _ in 0..steps {
            self.steps += 1;
            let turn = self.random.below(0..CONTROLLERS.len() as u64 + 2) as usize;
            match CONTROLLERS.get(turn) {
                Some(controller) => {
                    self.look(controller, true);
                }
                None => {
                    self.agents(2);
                }
            }
        }
    }

    /// No more faults, and time for all to settle.
    pub fn heal(&mut self) {
        for _ in 0..HEALING {
            self.steps += 1;
            let before = self.api.revision();
            for controller in CONTROLLERS {
                self.look(controller, false);
            }
            self.agents(1);
            if self.api.revision() == before {
                return;
            }
        }
        panic!("no end after {HEALING} looks without a fault");
    }

    /// One kind as a controller sees it now: later than before, no later than the present.
    fn view<K: Object>(&mut self, controller: &'static str, stale: bool) -> Vec<Arc<K>> {
        let place = (controller, ResourceType::of::<K>());
        let (from, present) = (
            self.views.0.get(&place).copied().unwrap_or(0),
            self.api.revision(),
        );
        let seen = if stale && !self.chance(3) {
            self.random.below(from as u64..present as u64 + 1) as usize
        } else {
            present
        };
        self.views.0.insert(place, seen);
        self.api.list(seen)
    }

    /// A controller plans for every object it has, and does what it can.
    fn look(&mut self, controller: &'static str, faults: bool) {
        for plan in self.plans(controller, faults) {
            let crash_after = (faults && self.chance(6)).then(|| self.random.below(0..3));
            let mut done = 0;
            'plan: for action in &plan.actions {
                let members: Vec<&Action> = match action {
                    Action::Batch(members) => members.iter().collect(),
                    single => vec![single],
                };
                for member in members {
                    if crash_after == Some(done) {
                        return self.begin_anew(controller);
                    }
                    done += 1;
                    let result = self.api.perform(member);
                    if faults && self.chance(10) {
                        // The answer is lost: nobody knows what was written.
                        break 'plan;
                    }
                    if result.is_err() {
                        break 'plan;
                    }
                    self.shows(controller, member);
                }
            }
        }
    }

    /// What was surely written is in every later view.
    fn shows(&mut self, controller: &'static str, action: &Action) {
        let resource = match action {
            Action::Create(body) | Action::Update(body) | Action::UpdateStatus(body) => &body.resource,
            Action::Patch { target, .. } => &target.resource,
            Action::Delete(deletion) => &deletion.target.resource,
            _ => return,
        };
        let place = (controller, resource.clone());
        self.views.0.insert(place, self.api.revision());
    }

    /// Another process leads, whose caches may be behind in everything.
    fn begin_anew(&mut self, controller: &'static str) {
        let present = self.api.revision();
        for ((name, _), seen) in &mut self.views.0 {
            if *name == controller {
                let behind = self.random.below(0..self.behind) as usize;
                *seen = present.saturating_sub(behind);
            }
        }
    }

    fn plans(&mut self, name: &'static str, stale: bool) -> Vec<Plan> {
        let now = self.now();
        let pods = self.view::<Pod>(name, stale);
        match name {
            "deployment" => {
                let sets = self.view::<ReplicaSet>(name, stale);
                let all = self.view::<Deployment>(name, stale).into_iter();
                all.map(|deployment| {
                    let (sets, pods) = (sets.clone(), pods.clone());
                    deployment::plan(&deployment::Observed {
                        deployment,
                        sets,
                        pods,
                        now,
                    })
                })
                .collect()
            }
            "replicaset" => {
                let sets = self.view::<ReplicaSet>(name, stale);
                let plan = |set: &Arc<ReplicaSet>| {
                    let (set, sets, pods) = (Arc::clone(set), sets.clone(), pods.clone());
                    replicaset::plan(&replicaset::Observed {
                        set,
                        pods,
                        sets,
                        failed: None,
                        now,
                    })
                };
                sets.iter().map(plan).collect()
            }
            "statefulset" => {
                let revisions = self.view::<ControllerRevision>(name, stale);
                let all = self.view::<StatefulSet>(name, stale).into_iter();
                all.map(|set| {
                    let (pods, revisions) = (pods.clone(), revisions.clone());
                    statefulset::plan(&statefulset::Observed {
                        set,
                        pods,
                        claims: Vec::new(),
                        revisions,
                        now,
                    })
                })
                .collect()
            }
            "daemonset" => {
                let revisions = self.view::<ControllerRevision>(name, stale);
                let nodes = self.view::<Node>(name, stale);
                let all = self.view::<DaemonSet>(name, stale).into_iter();
                all.map(|set| {
                    let (pods, nodes, revisions) = (pods.clone(), nodes.clone(), revisions.clone());
                    daemonset::plan(&daemonset::Observed {
                        set,
                        pods,
                        nodes,
                        revisions,
                        now,
                    })
                })
                .collect()
            }
            _ => {
                let all = self.view::<Job>(name, stale).into_iter();
                all.map(|job| {
                    job::plan(&job::Observed {
                        job,
                        pods: pods.clone(),
                        now,
                    })
                })
                .collect()
            }
        }
    }

    /// Scheduler and node agents: new pods start, those of Jobs end, those that are deleted go.
    fn agents(&mut self, one_in: u64) {
        for pod in self.api.now::<Pod>() {
            let key = Key::of(&pod.metadata);
            if !self.chance(one_in) {
                continue;
            }
            let phase = crate::pod_state::phase(&pod).to_owned();
            let of_job = pod.metadata.controller().is_some_and(|owner| owner.kind == "Job");
            let confirmed = pod.metadata.deletion_grace_period_seconds == Some(0);
            if pod.metadata.is_terminating() {
                if !confirmed {
                    self.api.confirm(&ResourceType::of::<Pod>(), &key);
                }
            } else if phase == "Pending" {
                let node = wanted_node(&pod).unwrap_or_else(|| "n1".to_owned());
                let since = self.now().to_string();
                let ready = json!([{"type": "Ready", "status": "True", "lastTransitionTime": since}]);
                let running =
                    json!({"spec": {"nodeName": node}, "status": {"phase": "Running", "conditions": ready}});
                self.api.change::<Pod>(&key, running);
            } else if of_job && phase == "Running" {
                self.api
                    .change::<Pod>(&key, json!({"status": {"phase": "Succeeded"}}));
            }
        }
    }
}

/// The only node that a daemon's pod may run on.
fn wanted_node(pod: &Pod) -> Option<String> {
    let affinity = pod.spec.as_ref()?.affinity.as_ref()?.node_affinity.as_ref()?;
    let required = affinity
        .required_during_scheduling_ignored_during_execution
        .as_ref()?;
    let fields = required.node_selector_terms.first()?.match_fields.as_ref()?;
    fields.first()?.values.as_ref()?.first().cloned()
}
