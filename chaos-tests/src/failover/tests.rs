//! Histories of a few changes, whose times are known.

use super::measure;
use crate::invariants::{CONFIG_MAPS, Change, DEPLOYMENTS, LEASES, PODS, REPLICA_SETS};
use crate::topology::Topology;
use chaos_store::{FaultKind, Incident};
use serde_json::{Value, json};
use std::time::Duration;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A history of objects as they are written.
#[derive(Default)]
struct Told(Vec<Change>);

impl Told {
    fn write(&mut self, at: u64, key: String, object: Value) -> &mut Self {
        let before = self.0.iter().rfind(|change| change.key == key);
        self.0.push(Change {
            revision: i64::try_from(self.0.len()).unwrap_or(0) + 2,
            at: ms(at),
            before: before.and_then(|change| change.after.clone()),
            key,
            after: Some(object),
        });
        self
    }

    fn lease(&mut self, at: u64, name: &str, holder: &str) -> &mut Self {
        let key = format!("{LEASES}kube-system/{name}");
        self.write(at, key, json!({"spec": {"holderIdentity": holder}}))
    }

    fn pod(&mut self, at: u64, name: &str, node: &str, going: bool) -> &mut Self {
        let mut pod = json!({
            "metadata": {"ownerReferences": [{"uid": "set"}]},
            "spec": {"nodeName": node},
        });
        if going {
            pod["metadata"]["deletionTimestamp"] = "now".into();
        }
        self.write(at, format!("{PODS}default/{name}"), pod)
    }

    fn set(&mut self, at: u64, replicas: u64) -> &mut Self {
        let set = json!({"metadata": {"uid": "set"}, "spec": {"replicas": replicas}});
        self.write(at, format!("{REPLICA_SETS}default/a"), set)
    }

    fn deployment(&mut self, at: u64, generation: u64, observed: u64) -> &mut Self {
        let deployment =
            json!({"metadata": {"generation": generation}, "status": {"observedGeneration": observed}});
        self.write(at, format!("{DEPLOYMENTS}default/a"), deployment)
    }

    fn applied(&mut self, at: u64, one: &str, other: &str) -> &mut Self {
        let map = json!({"data": {"one": one, "other": other}});
        self.write(at, format!("{CONFIG_MAPS}default/applied"), map)
    }

    fn lines(&self, incidents: &[Incident]) -> Vec<String> {
        let machines = Topology::HaStacked(3).machines(2);
        measure(&self.0, incidents, &machines).lines().collect()
    }
}

fn incident(kind: FaultKind, machine: &'static str, began: u64, ended: u64) -> Incident {
    Incident {
        kind,
        members: vec![machine],
        began: ms(began),
        ended: Some(ms(ended)),
        leader: None,
    }
}

#[test]
fn a_lost_leader_is_made_good_when_another_holds_its_lease() {
    let mut told = Told::default();
    told.lease(9_000, "kube-scheduler", "plane-1_a")
        .lease(9_000, "kube-controller-manager", "plane-2_b")
        .lease(10_020, "kube-controller-manager", "plane-2_b")
        .lease(11_500, "kube-scheduler", "plane-1_c")
        .lease(12_500, "kube-scheduler", "plane-3_d");
    let crash = incident(FaultKind::Crash, "plane-1", 10_000, 10_100);
    assert_eq!(told.lines(&[crash]), ["failover scheduler-leader 1500 ms"]);
}

#[test]
fn work_that_waited_is_done_by_the_next_leader() {
    let mut told = Told::default();
    told.lease(9_000, "kube-scheduler", "plane-1_a")
        .lease(9_000, "kube-controller-manager", "plane-1_a")
        .deployment(9_500, 2, 1)
        .pod(9_900, "waits", "", false)
        .lease(11_500, "kube-scheduler", "plane-3_d")
        .lease(11_500, "kube-controller-manager", "plane-2_d")
        .pod(11_600, "came-later", "", false)
        .pod(11_650, "came-later", "node-1", false)
        .pod(11_700, "waits", "node-1", false)
        .deployment(11_800, 2, 2);
    let crash = incident(FaultKind::Loss, "plane-1", 10_000, 30_000);
    let lines = told.lines(&[crash]);
    assert_eq!(
        lines,
        [
            "failover controllers-act 1800 ms",
            "failover controllers-leader 1500 ms",
            "failover scheduler-binds 1700 ms",
            "failover scheduler-leader 1500 ms",
        ]
    );
}

#[test]
fn only_what_nothing_else_disturbs_counts() {
    let mut told = Told::default();
    told.lease(9_000, "kube-scheduler", "plane-1_a")
        .lease(11_500, "kube-scheduler", "plane-3_d");
    let crash = || incident(FaultKind::Crash, "plane-1", 10_000, 10_100);
    let other = |machine, began, ended| incident(FaultKind::SlowDisk, machine, began, ended);
    let counts = |other| told.lines(&[crash(), other]).len();
    assert_eq!(counts(other("plane-2", 1_000, 4_900)), 1, "long over");
    assert_eq!(counts(other("plane-2", 1_000, 6_000)), 0, "just over");
    assert_eq!(counts(other("plane-2", 14_000, 15_000)), 0, "soon after");
    assert_eq!(counts(other("plane-2", 15_000, 16_000)), 1, "later");
    assert_eq!(counts(other("node-2", 1_000, 20_000)), 1, "a node");
    // A short pause lets the leader keep its lease.
    let pause = incident(FaultKind::Pause, "plane-1", 10_000, 11_000);
    assert!(told.lines(&[pause]).is_empty());
}

#[test]
fn what_never_comes_counts_until_the_end() {
    let mut told = Told::default();
    told.lease(9_000, "kube-scheduler", "plane-1_a").set(60_000, 1);
    let crash = incident(FaultKind::Crash, "plane-1", 10_000, 10_100);
    assert_eq!(told.lines(&[crash]), ["failover scheduler-leader 50000 ms"]);
}

#[test]
fn a_node_is_made_good_when_as_many_pods_are_bound_to_others() {
    let mut told = Told::default();
    told.set(1_000, 2)
        .pod(2_000, "a", "node-1", false)
        .pod(2_000, "b", "node-2", false)
        .pod(25_000, "a", "node-1", true)
        .pod(25_100, "c", "", false)
        .pod(25_200, "c", "node-2", false);
    let loss = |ended| incident(FaultKind::Loss, "node-1", 10_000, ended);
    assert_eq!(told.lines(&[loss(40_000)]), ["failover node 15200 ms"]);
    assert!(told.lines(&[loss(31_000)]).is_empty(), "not away for long enough");
    told.0.insert(3, {
        let mut other = Told::default();
        other.set(12_000, 3);
        other.0.remove(0)
    });
    assert!(told.lines(&[loss(40_000)]).is_empty(), "another wish");
}

#[test]
fn the_store_and_its_users_go_on() {
    let mut told = Told::default();
    told.applied(9_000, "1", "1")
        .applied(10_020, "2", "1")
        .applied(10_900, "3", "1")
        .applied(11_700, "3", "2");
    let mut crash = incident(FaultKind::Crash, "plane-1", 10_000, 14_000);
    crash.leader = Some("plane-1");
    let lines = told.lines(&[crash]);
    assert_eq!(
        lines,
        ["failover api-server 1700 ms", "failover store-leader 900 ms"]
    );
}
