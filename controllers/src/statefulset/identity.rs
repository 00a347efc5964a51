//! What belongs to one ordinal: the pod's name, its labels, its claims.
//! Source: `pkg/controller/statefulset/stateful_set_utils.go` (1.36).

use crate::history::REVISION_HASH;
use crate::object::{MetaView, controller_reference};
use crate::pod_template::pod_from_template;
use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec};
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, Pod, PodTemplateSpec, Volume,
};

/// The ordinal in a pod's name, if the name is one of this set's.
pub fn ordinal_of(set: &StatefulSet, pod: &Pod) -> Option<i32> {
    let text = pod
        .metadata
        .name()
        .strip_prefix(set.metadata.name())?
        .strip_prefix('-')?;
    text.parse()
        .ok()
        .filter(|ordinal: &i32| *ordinal >= 0 && ordinal.to_string() == text)
}

pub fn pod_name(set: &StatefulSet, ordinal: i32) -> String {
    format!("{}-{ordinal}", set.metadata.name())
}

/// The pod of an ordinal, from the template of a revision whose name is `revision`.
pub fn pod(
    set: &StatefulSet,
    spec: &StatefulSetSpec,
    template: &PodTemplateSpec,
    ordinal: i32,
    revision: &str,
) -> Pod {
    let name = pod_name(set, ordinal);
    let mut pod = pod_from_template(
        template,
        &set.metadata,
        controller_reference::<StatefulSet>(&set.metadata),
    );
    pod.metadata.generate_name = None;
    pod.metadata.name = Some(name.clone());
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert("statefulset.kubernetes.io/pod-name".into(), name.clone());
    labels.insert("apps.kubernetes.io/pod-index".into(), ordinal.to_string());
    labels.insert(REVISION_HASH.into(), revision.to_owned());
    let pod_spec = pod.spec.get_or_insert_default();
    pod_spec.hostname = Some(name);
    pod_spec.subdomain = spec.service_name.clone().filter(|name| !name.is_empty());
    let volumes = pod_spec.volumes.get_or_insert_default();
    for template in spec.volume_claim_templates.iter().flatten() {
        let volume = template.metadata.name();
        volumes.retain(|other| other.name != volume);
        volumes.push(Volume {
            name: volume.to_owned(),
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: claim_name(set, template, ordinal),
                read_only: None,
            }),
            ..Volume::default()
        });
    }
    if volumes.is_empty() {
        pod_spec.volumes = None;
    }
    pod
}

fn claim_name(set: &StatefulSet, template: &PersistentVolumeClaim, ordinal: i32) -> String {
    format!("{}-{}-{ordinal}", template.metadata.name(), set.metadata.name())
}

/// The claims of an ordinal as they are to be made.
pub fn claims(set: &StatefulSet, spec: &StatefulSetSpec, ordinal: i32) -> Vec<PersistentVolumeClaim> {
    let policy = spec.persistent_volume_claim_retention_policy.as_ref();
    let with_set = policy.and_then(|policy| policy.when_deleted.as_deref()) == Some("Delete");
    spec.volume_claim_templates
        .iter()
        .flatten()
        .map(|template| {
            let mut claim = template.clone();
            claim.metadata.name = Some(claim_name(set, template, ordinal));
            claim.metadata.namespace = set.metadata.namespace.clone();
            claim
                .metadata
                .labels
                .get_or_insert_default()
                .extend(spec.selector.match_labels.clone().unwrap_or_default());
            if with_set {
                claim.metadata.owner_references =
                    Some(vec![controller_reference::<StatefulSet>(&set.metadata)]);
            }
            claim.status = None;
            claim
        })
        .collect()
}
