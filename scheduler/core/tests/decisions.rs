//! Decisions of the scheduler, case by case and at random.

use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use scheduler_core::{
    Budget, Claim, Class, Cluster, NodeInfo, PodInfo, Selector, Volume, VolumeAction, Volumes, preempt,
    schedule,
};
use serde_json::{Value, json};
use std::sync::Arc;

fn node(name: &str, extra: Value) -> Value {
    let mut node = json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110", "ephemeral-storage": "100Gi"}},
    });
    merge(&mut node, extra);
    node
}

fn pod(name: &str, spec: Value) -> Value {
    let mut pod = json!({
        "metadata": {"name": name, "namespace": "default", "uid": name, "labels": {"app": "a"}},
        "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}]},
    });
    merge(&mut pod, json!({"spec": spec}));
    pod
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

fn info(pod: Value) -> Arc<PodInfo> {
    let pod: Pod = serde_json::from_value(pod).expect("a pod");
    Arc::new(PodInfo::new(&pod))
}

fn cluster(nodes: Vec<Value>, pods: Vec<Value>) -> Cluster {
    let mut cluster = Cluster::default();
    for node in nodes {
        let node: Node = serde_json::from_value(node).expect("a node");
        cluster.set_node(
            node.metadata.name.as_deref().expect("a name"),
            NodeInfo::new(&node),
        );
    }
    for pod in pods {
        cluster.observe_pod(info(pod));
    }
    cluster
}

fn decide(cluster: &mut Cluster, pod: Value) -> Result<String, String> {
    schedule(cluster, &Volumes::default(), &info(pod), None, &[], |_| 0)
        .map_err(|no_fit| no_fit.diagnosis.message())
}

#[test]
fn each_filter_refuses_with_upstreams_words() {
    let plain = || vec![node("n1", json!({}))];
    let refused = |what: &str| Err(format!("0/1 nodes are available: 1 {what}."));
    /// Name, nodes, pods there, the pod, where it goes or why not.
    type Case<'a> = (&'a str, Vec<Value>, Vec<Value>, Value, Result<String, String>);
    let cases: Vec<Case<'_>> = vec![
        ("fits", plain(), vec![], json!({}), Ok("n1".to_owned())),
        (
            "no nodes",
            vec![],
            vec![],
            json!({}),
            Err("no nodes available to schedule pods".to_owned()),
        ),
        (
            "cordoned",
            vec![node("n1", json!({"spec": {"unschedulable": true}}))],
            vec![],
            json!({}),
            refused("node(s) were unschedulable"),
        ),
        (
            "cordoned but tolerated",
            vec![node("n1", json!({"spec": {"unschedulable": true}}))],
            vec![],
            json!({"tolerations": [{"key": "node.kubernetes.io/unschedulable", "operator": "Exists"}]}),
            Ok("n1".to_owned()),
        ),
        (
            "tainted",
            vec![node(
                "n1",
                json!({"spec": {"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]}}),
            )],
            vec![],
            json!({}),
            refused("node(s) had untolerated taint {k: v}"),
        ),
        (
            "selector",
            plain(),
            vec![],
            json!({"nodeSelector": {"disk": "ssd"}}),
            refused("node(s) didn't match Pod's node affinity/selector"),
        ),
        (
            "other node by name",
            plain(),
            vec![],
            json!({"affinity": {"nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchFields": [
                {"key": "metadata.name", "operator": "In", "values": ["n2"]}]}]}}}}),
            refused("node(s) didn't satisfy plugin(s) [NodeAffinity]"),
        ),
        (
            "port",
            plain(),
            vec![pod(
                "p",
                json!({"nodeName": "n1", "containers": [{"name": "c", "ports": [{"containerPort": 1, "hostPort": 80}]}]}),
            )],
            json!({"containers": [{"name": "c", "ports": [{"containerPort": 1, "hostPort": 80, "hostIP": "10.0.0.1"}]}]}),
            refused("node(s) didn't have free ports for the requested pod ports"),
        ),
        (
            "cpu and memory",
            plain(),
            vec![],
            json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "5", "memory": "9Gi"}}}]}),
            Err("0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory.".to_owned()),
        ),
        (
            "pods",
            vec![node("n1", json!({"status": {"allocatable": {"pods": "0"}}}))],
            vec![],
            json!({}),
            refused("Too many pods"),
        ),
        (
            "extended",
            plain(),
            vec![],
            json!({"containers": [{"name": "c", "resources": {"requests": {"example.com/gpu": "1"}}}]}),
            refused("Insufficient example.com/gpu"),
        ),
        (
            "claim",
            plain(),
            vec![],
            json!({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]}),
            Err("0/1 nodes are available: persistentvolumeclaim \"c\" not found.".to_owned()),
        ),
        (
            "affinity",
            plain(),
            vec![],
            json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
            {"labelSelector": {"matchLabels": {"app": "b"}}, "topologyKey": "kubernetes.io/hostname"}]}}}),
            refused("node(s) didn't match pod affinity rules"),
        ),
        (
            "affinity to itself",
            plain(),
            vec![],
            json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
            {"labelSelector": {"matchLabels": {"app": "a"}}, "topologyKey": "kubernetes.io/hostname"}]}}}),
            Ok("n1".to_owned()),
        ),
        (
            "anti-affinity",
            plain(),
            vec![pod("p", json!({"nodeName": "n1"}))],
            json!({"affinity": {"podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [
            {"labelSelector": {"matchLabels": {"app": "a"}}, "topologyKey": "kubernetes.io/hostname"}]}}}),
            refused("node(s) didn't match pod anti-affinity rules"),
        ),
        (
            "anti-affinity of another",
            plain(),
            vec![pod(
                "p",
                json!({"nodeName": "n1", "affinity": {"podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [
            {"labelSelector": {"matchLabels": {"app": "a"}}, "topologyKey": "kubernetes.io/hostname"}]}}}),
            )],
            json!({}),
            refused("node(s) didn't satisfy existing pods anti-affinity rules"),
        ),
        (
            "spread without label",
            plain(),
            vec![],
            json!({"topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {}}]}),
            refused("node(s) didn't match pod topology spread constraints (missing required label)"),
        ),
    ];
    for (name, nodes, pods, spec, expected) in cases {
        assert_eq!(
            decide(&mut cluster(nodes, pods), pod("new", spec)),
            expected,
            "{name}"
        );
    }
}

#[test]
fn reasons_of_many_nodes_are_counted_and_sorted() {
    let tainted = json!({"spec": {"taints": [{"key": "role", "effect": "NoSchedule"}]}});
    let nodes = vec![node("a", tainted), node("b", json!({})), node("c", json!({}))];
    let spec = json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "5"}}}]});
    assert_eq!(
        decide(&mut cluster(nodes, vec![]), pod("new", spec)),
        Err(
            "0/3 nodes are available: 1 node(s) had untolerated taint {role: }, 2 Insufficient cpu."
                .to_owned()
        )
    );
}

#[test]
fn spreading_keeps_the_skew_and_counts_only_matching_pods() {
    let zone = |name: &str, zone: &str| node(name, json!({"metadata": {"labels": {"zone": zone}}}));
    let spread = json!({"topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"app": "a"}}}]});
    let mut cluster = cluster(vec![zone("n1", "x"), zone("n2", "y")], vec![]);
    for (round, other) in [("p1", "p2"), ("p3", "p4")] {
        let mut nodes = Vec::new();
        for name in [round, other] {
            let info = info(pod(name, spread.clone()));
            let chosen = schedule(&mut cluster, &Volumes::default(), &info, None, &[], |_| 0).expect("room");
            cluster.assume(&info, &chosen);
            nodes.push(chosen);
        }
        nodes.sort();
        assert_eq!(nodes, ["n1", "n2"]);
    }
}

#[test]
fn scores_prefer_the_emptier_the_untainted_the_wished_for_and_the_spread() {
    let two = |extra: Value| vec![node("n1", extra), node("n2", json!({}))];
    let wish = |key: &str| {
        json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 5, "preference": {"matchExpressions": [{"key": key, "operator": "Exists"}]}}]}}})
    };
    let near = |kind: &str| {
        json!({"affinity": {kind: {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 100, "podAffinityTerm": {"labelSelector": {"matchLabels": {"app": "a"}}, "topologyKey": "kubernetes.io/hostname"}}]}}})
    };
    let busy = || vec![pod("p", json!({"nodeName": "n1"}))];
    let soft = json!({"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {"matchLabels": {"app": "a"}}}]});
    for (name, extra, pods, spec, expected) in [
        ("emptier", json!({}), busy(), json!({}), "n2"),
        (
            "untainted",
            json!({"spec": {"taints": [{"key": "k", "effect": "PreferNoSchedule"}]}}),
            vec![],
            json!({}),
            "n2",
        ),
        (
            "wished",
            json!({"metadata": {"labels": {"ssd": ""}}}),
            busy(),
            wish("ssd"),
            "n1",
        ),
        ("near", json!({}), busy(), near("podAffinity"), "n1"),
        ("far", json!({}), busy(), near("podAntiAffinity"), "n2"),
        (
            "spread",
            json!({"status": {"allocatable": {"cpu": "64", "memory": "128Gi"}}}),
            busy(),
            soft,
            "n2",
        ),
        (
            "image",
            json!({"status": {"images": [{"names": ["i:1"], "sizeBytes": 1_000_000_000}]}}),
            vec![],
            json!({"containers": [{"name": "c", "image": "i:1"}]}),
            "n1",
        ),
    ] {
        assert_eq!(
            decide(&mut cluster(two(extra), pods), pod("new", spec)),
            Ok(expected.to_owned()),
            "{name}"
        );
    }
}

#[test]
fn default_spreading_applies_to_the_pods_of_a_group() {
    let pods = vec![pod("p", json!({"nodeName": "n1"}))];
    // n1 is so large that it would win but for the spreading.
    let large = json!({"status": {"allocatable": {"cpu": "64", "memory": "128Gi"}}});
    let mut cluster = cluster(vec![node("n1", large), node("n2", json!({}))], pods);
    let group = Selector::from_labels([(&"app".to_owned(), &"a".to_owned())]);
    let new = info(pod("new", json!({})));
    let mut with =
        |group| schedule(&mut cluster, &Volumes::default(), &new, group, &[], |_| 0).expect("room");
    assert_eq!(with(None), "n1");
    assert_eq!(with(Some(&group)), "n2");
}

#[test]
fn volumes_restrict_nodes_and_are_reserved_or_asked_for() {
    let claim =
        |value: Value| Claim::new(&serde_json::from_value::<PersistentVolumeClaim>(value).expect("a claim"));
    let on_n2 = json!({"required": {"nodeSelectorTerms": [{"matchExpressions": [
        {"key": "kubernetes.io/hostname", "operator": "In", "values": ["n2"]}]}]}});
    let volume: PersistentVolume = serde_json::from_value(json!({"spec": {"capacity": {"storage": "2Gi"},
        "accessModes": ["ReadWriteOnce"], "storageClassName": "local", "nodeAffinity": on_n2}}))
    .expect("a volume");
    let class: StorageClass = serde_json::from_value(
        json!({"metadata": {}, "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer"}),
    )
    .expect("a class");
    let mut volumes = Volumes::default();
    volumes.volumes.insert("v".to_owned(), Volume::new(&volume));
    volumes.classes.insert("local".to_owned(), Class::new(&class));
    let unbound = json!({"spec": {"storageClassName": "local", "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}}}});
    volumes
        .claims
        .insert("default/c".to_owned(), claim(unbound.clone()));
    let mut cluster = cluster(vec![node("n1", json!({})), node("n2", json!({}))], vec![]);
    let user = info(pod(
        "new",
        json!({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]}),
    ));
    let decision = schedule(&mut cluster, &volumes, &user, None, &[], |_| 0).expect("room on n2");
    assert_eq!(decision, "n2");
    let actions = volumes.actions(&user, "n2", cluster.node("n2").expect("known"));
    assert_eq!(
        actions,
        [VolumeAction::Reserve {
            claim: "default/c".to_owned(),
            volume: "v".to_owned()
        }]
    );

    let mut bound = unbound;
    merge(
        &mut bound,
        json!({"spec": {"volumeName": "v"}, "status": {"phase": "Bound"}}),
    );
    volumes.claims.insert("default/c".to_owned(), claim(bound));
    assert!(volumes.are_bound(&user));
    assert!(
        volumes
            .actions(&user, "n2", cluster.node("n2").expect("known"))
            .is_empty()
    );
    assert_eq!(
        schedule(&mut cluster, &volumes, &user, None, &[], |_| 0).expect("room on n2"),
        "n2"
    );
}

#[test]
fn preemption_takes_the_least_important_and_spares_whom_it_can() {
    let on = |name: &str, node: &str, priority: i32, cpu: &str| {
        pod(
            name,
            json!({"nodeName": node, "priority": priority,
        "containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}),
        )
    };
    let mut cluster = cluster(
        vec![node("n1", json!({})), node("n2", json!({}))],
        vec![
            on("a", "n1", 5, "4"),
            on("b", "n2", 1, "2"),
            on("c", "n2", 2, "1"),
            on("d", "n2", 1, "1"),
        ],
    );
    let before = cluster.usage("n2");
    let new = info(pod(
        "new",
        json!({"priority": 10, "containers": [{"name": "c", "resources": {"requests": {"cpu": "2"}}}]}),
    ));
    let no_fit = schedule(&mut cluster, &Volumes::default(), &new, None, &[], |_| 0).expect_err("full");
    let found = preempt(&mut cluster, &Volumes::default(), &new, &[], &no_fit.candidates).expect("victims");
    let victims: Vec<_> = found.victims.iter().map(|victim| victim.name.as_str()).collect();
    assert_eq!((found.node.as_str(), victims), ("n2", vec!["b"]));
    assert_eq!(cluster.usage("n2"), before, "everything is back in its place");
    // With a budget over all of n2, n1 is less harm although its pod is more important.
    let budget = Budget {
        namespace: "default".to_owned(),
        selector: Selector::from_labels([(&"app".to_owned(), &"a".to_owned())]),
        allowed: 1,
    };
    let found = preempt(
        &mut cluster,
        &Volumes::default(),
        &new,
        &[budget],
        &no_fit.candidates,
    )
    .expect("victims");
    assert_eq!(found.victims.len(), 1);
    // Nobody preempts an equal.
    let equal = info(pod(
        "equal",
        json!({"priority": 1, "containers": [{"name": "c", "resources": {"requests": {"cpu": "2"}}}]}),
    ));
    assert!(preempt(&mut cluster, &Volumes::default(), &equal, &[], &no_fit.candidates).is_none());
}

#[test]
fn room_made_for_one_pod_is_not_given_to_another() {
    let mut cluster = cluster(vec![node("n1", json!({}))], vec![]);
    let large =
        json!({"priority": 5, "containers": [{"name": "c", "resources": {"requests": {"cpu": "4"}}}]});
    let promised = info(pod("promised", large));
    let nominated = [(Arc::clone(&promised), "n1".to_owned())];
    let mut try_one = |pod: &Arc<PodInfo>| {
        schedule(&mut cluster, &Volumes::default(), pod, None, &nominated, |_| 0).is_ok()
    };
    assert!(!try_one(&info(pod("other", json!({})))));
    assert!(try_one(&promised));
    assert!(try_one(&info(pod("more important", json!({"priority": 6})))));
}

/// A small generator, so that the cases are the same on every run.
struct Lcg(u64);
impl Lcg {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

#[test]
fn no_sequence_of_events_over_commits_a_node_or_loses_count() {
    for seed in 0..60 {
        let mut random = Lcg(seed);
        let mut cluster = Cluster::default();
        let mut placed: Vec<(Arc<PodInfo>, String)> = Vec::new();
        for step in 0..150 {
            match random.below(10) {
                0 | 1 => {
                    let name = format!("n{}", random.below(4));
                    let node: Node = serde_json::from_value(node(&name, json!({}))).expect("a node");
                    cluster.set_node(&name, NodeInfo::new(&node));
                }
                2 if !placed.is_empty() => {
                    let index = usize::try_from(random.below(placed.len() as u64)).expect("small");
                    let (pod, _) = placed.swap_remove(index);
                    cluster.remove_pod(&pod.key);
                }
                3 if !placed.is_empty() => {
                    // The informer confirms an assumption, or repeats what is known.
                    let index = usize::try_from(random.below(placed.len() as u64)).expect("small");
                    let (pod, node) = &placed[index];
                    let mut bound = PodInfo::clone(pod);
                    bound.node_name.clone_from(node);
                    bound.resource_version = 1;
                    cluster.observe_pod(Arc::new(bound));
                }
                4 if random.below(4) == 0 => cluster.remove_node(&format!("n{}", random.below(4))),
                _ => {
                    let cpu = format!("{}m", 100 + random.below(2500));
                    let memory = format!("{}Mi", 100 + random.below(5000));
                    let spec = json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu, "memory": memory}}}]});
                    let info = info(pod(&format!("p{step}"), spec));
                    let decision = schedule(&mut cluster, &Volumes::default(), &info, None, &[], |count| {
                        random.below(count)
                    });
                    if let Ok(node) = decision {
                        cluster.assume(&info, &node);
                        placed.push((info, node));
                    }
                }
            }
            assert_eq!(cluster.pod_count(), placed.len(), "seed {seed} step {step}");
            let names: Vec<String> = cluster.node_names().map(str::to_owned).collect();
            for name in names {
                let (requested, allocatable) = cluster.usage(&name).expect("known");
                let mine = placed.iter().filter(|(_, node)| *node == name);
                let sum: i64 = mine.map(|(pod, _)| pod.requests.milli_cpu).sum();
                assert_eq!(requested.milli_cpu, sum, "seed {seed} step {step} node {name}");
                assert!(
                    requested.milli_cpu <= allocatable.milli_cpu && requested.memory <= allocatable.memory,
                    "seed {seed} step {step}: {name} is over-committed"
                );
            }
        }
    }
}
