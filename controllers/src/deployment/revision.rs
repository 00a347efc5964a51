//! Revision numbers, and the ReplicaSet of the current template.
//! Source: `sync.go` `getNewReplicaSet`, `util/deployment_util.go` `SetNewReplicaSetAnnotations` (1.36).

use super::observed::{Observed, Revisions, Wishes};
use super::scaling;
use crate::action::Action;
use crate::object::{MetaView, controller_reference};
use crate::pod_template::{POD_TEMPLATE_HASH, template_hash};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

pub const REVISION: &str = "deployment.kubernetes.io/revision";
const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
pub const DESIRED_REPLICAS: &str = "deployment.kubernetes.io/desired-replicas";
pub const MAX_REPLICAS: &str = "deployment.kubernetes.io/max-replicas";

/// Annotations that belong to one of the two objects only.
const NOT_COPIED: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED_REPLICAS,
    MAX_REPLICAS,
    "deprecated.deployment.rollback.to",
];

/// Earlier numbers of a revision are kept up to this length, as upstream.
const HISTORY_LENGTH: usize = 2000;

/// The revision number an object carries; zero without one.
pub fn of(meta: &ObjectMeta) -> i64 {
    meta.annotation(REVISION)
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}

fn next(old: &[Arc<ReplicaSet>]) -> i64 {
    old.iter().map(|set| of(&set.metadata)).max().unwrap_or(0) + 1
}

/// Brings annotations and `minReadySeconds` of the current ReplicaSet up to date, and the Deployment's revision with
/// it. Rolling back makes an old ReplicaSet current again: it then gets the next number.
pub fn refresh(
    deployment: &Deployment,
    spec: &DeploymentSpec,
    new: &Arc<ReplicaSet>,
    old: &[Arc<ReplicaSet>],
) -> Vec<Action> {
    let mut set = new.as_ref().clone();
    let mut annotations = set.metadata.annotations.clone().unwrap_or_default();
    annotate(&mut annotations, deployment, next(old));
    set.metadata.annotations = Some(annotations.clone()).filter(|all| !all.is_empty());
    if let Some(set_spec) = &mut set.spec
        && set_spec.min_ready_seconds.unwrap_or(0) != spec.min_ready_seconds.unwrap_or(0)
    {
        set_spec.min_ready_seconds = spec.min_ready_seconds;
    }
    let mut actions = Vec::new();
    let same = set.metadata.annotations.clone().unwrap_or_default()
        == new.metadata.annotations.clone().unwrap_or_default()
        && set.spec == new.spec;
    if !same {
        actions.push(Action::update(&set));
    }
    if let Some(revision) = annotations.get(REVISION)
        && deployment.metadata.annotation(REVISION) != Some(revision)
    {
        actions.push(Action::patch_seen(
            deployment,
            json!({"metadata": {"annotations": {REVISION: revision}}}),
        ));
    }
    actions
}

fn annotate(annotations: &mut BTreeMap<String, String>, deployment: &Deployment, revision: i64) {
    for (key, value) in deployment.metadata.annotations.iter().flatten() {
        if !NOT_COPIED.contains(&key.as_str()) {
            annotations.insert(key.clone(), value.clone());
        }
    }
    let before: i64 = annotations
        .get(REVISION)
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    if before >= revision {
        return;
    }
    if before > 0 {
        let history = annotations.entry(REVISION_HISTORY.to_owned()).or_default();
        let mut numbers: Vec<String> = history
            .split(',')
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
            .collect();
        numbers.push(before.to_string());
        while numbers.iter().map(|number| number.len() + 1).sum::<usize>() > HISTORY_LENGTH {
            numbers.remove(0);
        }
        *history = numbers.join(",");
    }
    annotations.insert(REVISION.to_owned(), revision.to_string());
}

/// Creates the ReplicaSet of the current template with `replicas`. If its name is taken by something else, counts
/// the collision in the Deployment's status, which gives another name next time.
pub fn create(
    observed: &Observed,
    spec: &DeploymentSpec,
    wishes: &Wishes,
    revisions: &Revisions,
    replicas: i32,
) -> Vec<Action> {
    let deployment = observed.deployment.as_ref();
    let collisions = deployment
        .status
        .as_ref()
        .and_then(|status| status.collision_count);
    let hash = template_hash(&spec.template, collisions);
    let mut template = spec.template.clone();
    template
        .metadata
        .get_or_insert_default()
        .labels
        .get_or_insert_default()
        .insert(POD_TEMPLATE_HASH.to_owned(), hash.clone());
    let name = format!("{}-{hash}", deployment.metadata.name());
    if observed.sets.iter().any(|set| set.metadata.name() == name) {
        let mut counted = deployment.clone();
        counted.status.get_or_insert_default().collision_count = Some(collisions.unwrap_or(0) + 1);
        return vec![Action::update_status(&counted)];
    }
    let mut selector = spec.selector.clone();
    selector
        .match_labels
        .get_or_insert_default()
        .insert(POD_TEMPLATE_HASH.to_owned(), hash);
    let mut annotations = BTreeMap::new();
    annotate(&mut annotations, deployment, next(&revisions.old));
    scaling::annotate(&mut annotations, wishes);
    let set = ReplicaSet {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: deployment.metadata.namespace.clone(),
            owner_references: Some(vec![controller_reference::<Deployment>(&deployment.metadata)]),
            labels: template.metadata.as_ref().and_then(|meta| meta.labels.clone()),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(replicas),
            min_ready_seconds: spec.min_ready_seconds,
            selector,
            template: Some(template),
        }),
        status: None,
    };
    vec![
        Action::create(&set),
        Action::record(
            deployment,
            false,
            "ScalingReplicaSet",
            format!("Scaled up replica set {name} from 0 to {replicas}"),
        ),
    ]
}
