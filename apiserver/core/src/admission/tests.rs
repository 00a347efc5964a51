use super::{Context, DefaultTolerations, Objects, Operation, Request, mutate, validate};
use crate::Registry;
use crate::authorization::{Attributes, Subject};
use crate::status::ApiError;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A cluster as a map from `resource/namespace/name`.
#[derive(Default)]
struct Cluster(BTreeMap<String, Arc<Value>>);

impl Cluster {
    fn with(mut self, resource: &str, object: Value) -> Self {
        let key = format!(
            "{resource}/{}/{}",
            crate::tree::namespace(&object),
            crate::tree::name(&object)
        );
        self.0.insert(key, Arc::new(object));
        self
    }

    /// A namespace `ns` with its default service account.
    fn usual() -> Self {
        Self::default()
            .with("namespaces", json!({"metadata": {"name": "ns"}}))
            .with(
                "serviceaccounts",
                json!({"metadata": {"name": "default", "namespace": "ns"}}),
            )
    }
}

impl Objects for Cluster {
    fn get(&self, _: &str, resource: &str, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.0.get(&format!("{resource}/{namespace}/{name}")).cloned()
    }

    fn list(&self, _: &str, resource: &str, namespace: &str) -> Vec<Arc<Value>> {
        let prefix = format!("{resource}/{namespace}");
        self.0
            .iter()
            .filter(|(key, _)| key.starts_with(&prefix))
            .map(|(_, object)| Arc::clone(object))
            .collect()
    }

    fn authorized(&self, _: &Attributes<'_>) -> bool {
        false
    }
}

struct Case<'a> {
    user: &'a str,
    groups: &'a [String],
    operation: Operation,
    group: &'a str,
    resource: &'a str,
    name: &'a str,
    old: Option<&'a Value>,
}

const CREATE_POD: Case<'_> = Case {
    user: "ann",
    groups: &[],
    operation: Operation::Create,
    group: "",
    resource: "pods",
    name: "p",
    old: None,
};

fn run(case: &Case<'_>, object: &mut Value, cluster: &Cluster) -> Result<Vec<String>, ApiError> {
    let registry = Registry::built_in();
    let resource = registry
        .lookup(case.group, "v1", case.resource)
        .expect("a built-in resource");
    let request = Request {
        operation: case.operation,
        resource,
        subresource: "",
        namespace: if resource.namespaced { "ns" } else { "" },
        name: case.name,
        user: Subject {
            name: case.user,
            groups: case.groups,
        },
        old: case.old,
    };
    let mut suffix = || "abcde".to_owned();
    let mut context = Context {
        objects: cluster,
        suffix: &mut suffix,
        tolerations: DefaultTolerations {
            not_ready_seconds: 30,
            unreachable_seconds: 5,
        },
        warnings: Vec::new(),
    };
    mutate(&request, object, &mut context)?;
    validate(&request, Some(object), &mut context)?;
    Ok(context.warnings)
}

fn pod() -> Value {
    json!({"metadata": {"name": "p", "namespace": "ns"}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
}

#[test]
fn a_pod_gets_its_account_token_priority_and_tolerations() {
    let mut object = pod();
    run(&CREATE_POD, &mut object, &Cluster::usual()).expect("admitted");
    assert_eq!(object["spec"]["serviceAccountName"], "default");
    assert_eq!(object["spec"]["volumes"][0]["name"], "kube-api-access-abcde");
    let mount = &object["spec"]["containers"][0]["volumeMounts"][0];
    assert_eq!(
        mount["mountPath"],
        "/var/run/secrets/kubernetes.io/serviceaccount"
    );
    assert_eq!(object["spec"]["priority"], 0);
    let tolerated: Vec<(&Value, &Value)> = object["spec"]["tolerations"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|toleration| (&toleration["key"], &toleration["tolerationSeconds"]))
        .collect();
    assert_eq!(
        tolerated,
        [
            (&json!("node.kubernetes.io/not-ready"), &json!(30)),
            (&json!("node.kubernetes.io/unreachable"), &json!(5)),
        ]
    );
}

#[test]
fn what_a_pod_says_of_failing_nodes_stays_as_it_is() {
    let mut object = pod();
    object["spec"]["tolerations"] =
        json!([{"key": "node.kubernetes.io/unreachable", "operator": "Exists", "tolerationSeconds": 600}]);
    run(&CREATE_POD, &mut object, &Cluster::usual()).expect("admitted");
    let seconds: Vec<&Value> = object["spec"]["tolerations"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|toleration| &toleration["tolerationSeconds"])
        .collect();
    assert_eq!(seconds, [&json!(600), &json!(30)]);

    let all = json!([{"operator": "Exists"}]);
    object["spec"]["tolerations"] = all.clone();
    run(&CREATE_POD, &mut object, &Cluster::usual()).expect("admitted");
    assert_eq!(object["spec"]["tolerations"], all);
}

#[test]
fn nothing_is_created_in_a_namespace_that_is_missing_or_ending() {
    let missing = run(&CREATE_POD, &mut pod(), &Cluster::default()).expect_err("refused");
    assert_eq!(missing.message, "namespaces \"ns\" not found");
    let ending = Cluster::usual().with(
        "namespaces",
        json!({"metadata": {"name": "ns", "deletionTimestamp": "2026-01-01T00:00:00Z"}}),
    );
    let error = run(&CREATE_POD, &mut pod(), &ending).expect_err("refused");
    assert_eq!(error.code, 403);
    assert!(
        error.message.contains("because it is being terminated"),
        "{}",
        error.message
    );
}

#[test]
fn a_limit_range_fills_in_and_then_bounds() {
    let range = json!({"metadata": {"name": "l", "namespace": "ns"}, "spec": {"limits": [
        {"type": "Container", "default": {"cpu": "500m"}, "defaultRequest": {"cpu": "100m"}, "max": {"cpu": "1"}}]}});
    let cluster = Cluster::usual().with("limitranges", range);
    let mut object = pod();
    run(&CREATE_POD, &mut object, &cluster).expect("admitted");
    assert_eq!(
        object["spec"]["containers"][0]["resources"]["limits"]["cpu"],
        "500m"
    );
    let mut greedy = pod();
    greedy["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "2"}});
    let error = run(&CREATE_POD, &mut greedy, &cluster).expect_err("refused");
    assert_eq!(
        error.message,
        "pods \"p\" is forbidden: maximum cpu usage per Container is 1, but limit is 2"
    );
}

#[test]
fn the_baseline_level_refuses_and_the_restricted_level_warns() {
    let namespace = json!({"metadata": {"name": "ns", "labels": {
        "pod-security.kubernetes.io/enforce": "baseline", "pod-security.kubernetes.io/warn": "restricted"}}});
    let cluster = Cluster::usual().with("namespaces", namespace);
    let warnings = run(&CREATE_POD, &mut pod(), &cluster).expect("admitted");
    assert!(
        warnings[0].starts_with("would violate PodSecurity \"restricted:latest\": "),
        "{warnings:?}"
    );
    let mut privileged = pod();
    privileged["spec"]["containers"][0]["securityContext"] = json!({"privileged": true});
    let error = run(&CREATE_POD, &mut privileged, &cluster).expect_err("refused");
    assert_eq!(
        error.message,
        "pods \"p\" is forbidden: violates PodSecurity \"baseline:latest\": privileged (container \"c\" must not \
         set securityContext.privileged=true)"
    );
}

#[test]
fn a_node_may_not_give_itself_restricted_labels_or_remove_its_taints() {
    let groups = ["system:nodes".to_owned()];
    let old = json!({"metadata": {"name": "n1"}, "spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}});
    let case = Case {
        user: "system:node:n1",
        groups: &groups,
        operation: Operation::Update,
        group: "",
        resource: "nodes",
        name: "n1",
        old: Some(&old),
    };
    let mut labelled = old.clone();
    labelled["metadata"]["labels"] = json!({"node-restriction.kubernetes.io/team": "a"});
    assert!(run(&case, &mut labelled, &Cluster::default()).is_err());
    let mut untainted = json!({"metadata": {"name": "n1"}});
    assert!(run(&case, &mut untainted, &Cluster::default()).is_err());
    let mut fine = old.clone();
    fine["metadata"]["labels"] = json!({"kubernetes.io/hostname": "n1", "team": "a"});
    run(&case, &mut fine, &Cluster::default()).expect("admitted");
    let stranger = Case {
        user: "system:node:n2",
        ..case
    };
    assert!(run(&stranger, &mut old.clone(), &Cluster::default()).is_err());
}

#[test]
fn a_new_node_takes_no_pods_until_it_is_ready() {
    let case = Case {
        resource: "nodes",
        name: "n1",
        ..CREATE_POD
    };
    let mut node = json!({"metadata": {"name": "n1"}});
    run(&case, &mut node, &Cluster::default()).expect("admitted");
    assert_eq!(node["spec"]["taints"][0]["key"], "node.kubernetes.io/not-ready");
}
