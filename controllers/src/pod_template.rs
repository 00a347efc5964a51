//! Pods out of templates, and what makes two templates the same.

use crate::object::MetaView;
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde_json::Value;

/// Labels set apart by controllers: left out when templates are compared.
pub const POD_TEMPLATE_HASH: &str = "pod-template-hash";

/// A pod of `template` in the owner's namespace; the server completes `<owner>-` to a name.
/// Source: `controller.GetPodFromTemplate` (1.36).
pub fn pod_from_template(template: &PodTemplateSpec, owner: &ObjectMeta, reference: OwnerReference) -> Pod {
    let from = template.metadata.clone().unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(pods_prefix(owner.name())),
            namespace: owner.namespace.clone(),
            labels: from.labels,
            annotations: from.annotations,
            finalizers: from.finalizers,
            owner_references: Some(vec![reference]),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}

/// `<owner>-`, or the bare name where the dash would make it too long for a pod name.
fn pods_prefix(owner: &str) -> String {
    if owner.len() < 253 {
        format!("{owner}-")
    } else {
        owner.to_owned()
    }
}

/// The template as comparable data: without the hash label, without fields that hold nothing.
pub fn canonical(template: &PodTemplateSpec) -> Value {
    let mut template = template.clone();
    if let Some(labels) = template.metadata.as_mut().and_then(|meta| meta.labels.as_mut()) {
        labels.remove(POD_TEMPLATE_HASH);
    }
    let mut value = serde_json::to_value(template).expect("API types have string keys only");
    prune(&mut value);
    value
}

/// The same but for the hash label. Source: `deployment/util.EqualIgnoreHash` (1.36).
pub fn same_template(a: &PodTemplateSpec, b: &PodTemplateSpec) -> bool {
    canonical(a) == canonical(b)
}

/// A short, stable name for a template; `collisions` gives another one when the first is taken.
/// The text uses upstream's vowel-free alphabet (`rand.SafeEncodeString`); the number behind it is our own.
pub fn template_hash(template: &PodTemplateSpec, collisions: Option<i32>) -> String {
    let mut bytes = canonical(template).to_string().into_bytes();
    if let Some(count) = collisions {
        bytes.extend(count.to_le_bytes());
    }
    safe_encode(&fnv1a(&bytes).to_string())
}

/// 32-bit FNV-1a.
pub fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash: u32, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

/// Letters that can't form words, as upstream's `rand.SafeEncodeString`.
pub fn safe_encode(text: &str) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    text.bytes()
        .map(|byte| char::from(ALPHABET[usize::from(byte) % ALPHABET.len()]))
        .collect()
}

/// Drops nulls, empty lists and empty maps: the server may or may not write them out.
fn prune(value: &mut Value) {
    let holds_nothing = |value: &Value| match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    };
    match value {
        Value::Object(fields) => {
            fields.values_mut().for_each(prune);
            fields.retain(|_, value| !holds_nothing(value));
        }
        Value::Array(items) => items.iter_mut().for_each(prune),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::{same_template, template_hash};
    use k8s_openapi::api::core::v1::PodTemplateSpec;
    use serde_json::json;

    fn template(value: serde_json::Value) -> PodTemplateSpec {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn templates_that_differ_by_the_hash_label_or_empty_fields_are_the_same() {
        let plain =
            template(json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c"}]}}));
        let hashed = template(
            json!({"metadata": {"labels": {"app": "a", "pod-template-hash": "x"}},
            "spec": {"containers": [{"name": "c", "resources": {}}], "volumes": []}}),
        );
        let other =
            template(json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "d"}]}}));
        assert!(same_template(&plain, &hashed));
        assert!(!same_template(&plain, &other));
        assert_eq!(template_hash(&plain, None), template_hash(&hashed, None));
        assert_ne!(template_hash(&plain, None), template_hash(&plain, Some(1)));
    }
}
