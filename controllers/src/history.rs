//! ControllerRevisions: the templates that a StatefulSet or DaemonSet had, for rollouts and roll-backs.
//! Source: `pkg/controller/history/controller_history.go` (1.36).

use crate::action::Action;
use crate::object::MetaView;
use crate::pod_template::{canonical, fnv1a, safe_encode};
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The label by which pods name their revision.
pub const REVISION_HASH: &str = "controller-revision-hash";

/// The revisions of one owner.
pub struct History {
    /// Oldest first.
    pub all: Vec<Arc<ControllerRevision>>,
    /// The one of the current template.
    pub update: ControllerRevision,
    /// Creates or renumbers `update`.
    pub action: Option<Action>,
}

/// Finds the revision of `template` among those that `owner` controls, or makes it.
pub fn history(
    owner: &ObjectMeta,
    reference: &OwnerReference,
    template: &PodTemplateSpec,
    collisions: Option<i32>,
    revisions: &[Arc<ControllerRevision>],
) -> History {
    let mut all: Vec<Arc<ControllerRevision>> = revisions
        .iter()
        .filter(|revision| revision.metadata.is_controlled_by(owner.uid()))
        .cloned()
        .collect();
    all.sort_by_key(|revision| {
        (
            revision.revision,
            revision.metadata.created_at(),
            revision.metadata.name().to_owned(),
        )
    });
    let next = all.last().map_or(0, |last| last.revision) + 1;
    let wanted = canonical(template);
    let found = all
        .iter()
        .rev()
        .find(|revision| template_of(revision).is_some_and(|template| canonical(&template) == wanted));
    if let Some(found) = found {
        let mut update = found.as_ref().clone();
        let mut action = None;
        if update.revision + 1 != next {
            // An old template is current again: it becomes the newest.
            update.revision = next;
            action = Some(Action::update(&update));
        }
        return History { all, update, action };
    }
    let update = make(owner, reference, template, collisions, next);
    let action = Some(Action::create(&update));
    History { all, update, action }
}

fn make(
    owner: &ObjectMeta,
    reference: &OwnerReference,
    template: &PodTemplateSpec,
    collisions: Option<i32>,
    revision: i64,
) -> ControllerRevision {
    // The form that `kubectl rollout undo` sends as a strategic merge patch.
    let mut patch = json!({"spec": {"template": template}});
    patch["spec"]["template"]["$patch"] = json!("replace");
    let mut bytes = canonical(template).to_string().into_bytes();
    bytes.extend(collisions.unwrap_or(0).to_le_bytes());
    let hash = safe_encode(&fnv1a(&bytes).to_string());
    let mut labels = template
        .metadata
        .as_ref()
        .and_then(|meta| meta.labels.clone())
        .unwrap_or_default();
    labels.insert(REVISION_HASH.to_owned(), hash.clone());
    ControllerRevision {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", owner.name())),
            namespace: owner.namespace.clone(),
            labels: Some(labels),
            annotations: change_cause(owner),
            owner_references: Some(vec![reference.clone()]),
            ..ObjectMeta::default()
        },
        data: Some(RawExtension(patch)),
        revision,
    }
}

fn change_cause(owner: &ObjectMeta) -> Option<BTreeMap<String, String>> {
    let mut annotations = owner.annotations.clone()?;
    annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    Some(annotations).filter(|all| !all.is_empty())
}

/// The value of [`REVISION_HASH`] on pods of this revision.
pub fn hash_of(revision: &ControllerRevision) -> &str {
    revision.metadata.label(REVISION_HASH).unwrap_or_default()
}

/// The template that a revision holds.
pub fn template_of(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    let mut template: Value = revision.data.as_ref()?.0.get("spec")?.get("template")?.clone();
    template.as_object_mut()?.remove("$patch");
    serde_json::from_value(template).ok()
}

/// Deletes the oldest revisions beyond `limit` that no pod and no status names.
pub fn truncate(history: &History, limit: i32, in_use: impl Fn(&ControllerRevision) -> bool) -> Vec<Action> {
    let unused: Vec<_> = history
        .all
        .iter()
        .filter(|revision| revision.metadata.name() != history.update.metadata.name() && !in_use(revision))
        .collect();
    let surplus = unused
        .len()
        .saturating_sub(usize::try_from(limit).unwrap_or(usize::MAX));
    unused
        .into_iter()
        .take(surplus)
        .map(|revision| Action::delete(revision.as_ref()))
        .collect()
}
