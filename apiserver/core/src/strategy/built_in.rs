//! The strategies of the built-in resources: a table of small rules and the hooks they name.

use std::sync::Arc;

use serde_json::Value;

use super::hooks::{self, Prepare, PrepareUpdate};
use super::{DefaultPropagation, DeleteStyle, Strategy};
use crate::field_error::ErrorList;
use crate::{defaults, metadata, names, tree, validation};

/// Which form names have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NameForm {
    Subdomain,
    Label,
    Label1035,
    PathSegment,
    Ip,
}

/// What is known of one built-in resource.
#[derive(Clone)]
struct BuiltIn {
    group: String,
    plural: String,
    name_form: NameForm,
    /// `status` belongs to the status subresource: cleared at creation, kept at update.
    status: bool,
    /// `metadata.generation` is counted.
    generation: bool,
    create_on_update: bool,
    unconditional_update: bool,
    delete_style: DeleteStyle,
    propagation: DefaultPropagation,
    prepare_create: Prepare,
    prepare_update: PrepareUpdate,
}

/// The strategy of a built-in resource.
pub fn built_in(group: &str, plural: &str) -> Arc<dyn Strategy> {
    let (prepare_create, prepare_update) = hooks::of(group, plural);
    Arc::new(BuiltIn {
        group: group.to_owned(),
        plural: plural.to_owned(),
        name_form: name_form(group, plural),
        status: has_status(group, plural),
        generation: counts_generation(group, plural),
        create_on_update: creates_on_update(group, plural),
        unconditional_update: !needs_version(group, plural),
        delete_style: match (group, plural) {
            ("", "pods") => DeleteStyle::Pod,
            ("", "namespaces") => DeleteStyle::Namespace,
            _ => DeleteStyle::Immediate,
        },
        propagation: match (group, plural) {
            ("", "replicationcontrollers") => DefaultPropagation::Orphan,
            _ => DefaultPropagation::Background,
        },
        prepare_create,
        prepare_update,
    })
}

const ADMISSION: &str = "admissionregistration.k8s.io";
const RBAC: &str = "rbac.authorization.k8s.io";

fn name_form(group: &str, plural: &str) -> NameForm {
    match (group, plural) {
        // The names of its pods, which are host names, start with the name of a StatefulSet.
        ("", "namespaces") | ("apps", "statefulsets") => NameForm::Label,
        ("", "services") => NameForm::Label1035,
        ("networking.k8s.io", "ipaddresses") => NameForm::Ip,
        ("apiregistration.k8s.io", "apiservices") | (RBAC, _) => NameForm::PathSegment,
        _ => NameForm::Subdomain,
    }
}

/// Nodes are not here: their agents register them with a status (an update of the node keeps it all the same).
fn has_status(group: &str, plural: &str) -> bool {
    matches!(
        (group, plural),
        (
            "",
            "namespaces" | "persistentvolumeclaims" | "persistentvolumes" | "pods" | "replicationcontrollers"
        ) | ("", "resourcequotas" | "services")
            | (
                "apps",
                "daemonsets" | "deployments" | "replicasets" | "statefulsets"
            )
            | ("autoscaling", "horizontalpodautoscalers")
            | ("batch", "cronjobs" | "jobs")
            | ("policy", "poddisruptionbudgets")
            | ("networking.k8s.io", "ingresses" | "servicecidrs")
            | ("certificates.k8s.io", "certificatesigningrequests")
            | ("apiextensions.k8s.io", "customresourcedefinitions")
            | ("apiregistration.k8s.io", "apiservices")
            | ("flowcontrol.apiserver.k8s.io", _)
            | (ADMISSION, "validatingadmissionpolicies")
            | ("storage.k8s.io", "volumeattachments")
            | ("resource.k8s.io", "resourceclaims")
    )
}

fn counts_generation(group: &str, plural: &str) -> bool {
    matches!(
        (group, plural),
        ("", "pods" | "replicationcontrollers")
            | (ADMISSION, _)
            | (
                "apps",
                "daemonsets" | "deployments" | "replicasets" | "statefulsets"
            )
            | ("batch", "cronjobs" | "jobs")
            | ("policy", "poddisruptionbudgets")
            | (
                "networking.k8s.io",
                "ingresses" | "networkpolicies" | "ingressclasses"
            )
            | ("discovery.k8s.io", "endpointslices")
            | ("scheduling.k8s.io", "priorityclasses")
            | ("apiextensions.k8s.io", "customresourcedefinitions")
            | ("flowcontrol.apiserver.k8s.io", _)
            | ("resource.k8s.io", "resourceslices" | "deviceclasses")
    )
}

fn creates_on_update(group: &str, plural: &str) -> bool {
    matches!(
        (group, plural),
        ("", "services" | "endpoints" | "events" | "limitranges")
            | ("events.k8s.io", "events")
            | ("coordination.k8s.io", "leases")
            | ("node.k8s.io", "runtimeclasses")
            | (RBAC, _)
    )
}

fn needs_version(group: &str, plural: &str) -> bool {
    matches!(
        (group, plural),
        (ADMISSION, _)
            | ("coordination.k8s.io", "leases")
            | ("policy", "poddisruptionbudgets")
            | (
                "storage.k8s.io",
                "csidrivers" | "csinodes" | "csistoragecapacities" | "volumeattachments"
            )
            | ("node.k8s.io", "runtimeclasses")
    )
}

impl BuiltIn {
    /// Something that a user asks for differs: all but metadata and status. Deployments count a change of
    /// annotations too (`deployment/strategy.go`), slices one of labels.
    fn intent_changed(&self, new: &Value, old: &Value) -> bool {
        let intent = |object: &Value| {
            let mut object = object.clone();
            for field in ["metadata", "status", "kind", "apiVersion"] {
                tree::remove(&mut object, &[field]);
            }
            object
        };
        let metadata_differs = |field| {
            !tree::same(
                tree::at(new, &["metadata", field]),
                tree::at(old, &["metadata", field]),
            )
        };
        !tree::same(Some(&intent(new)), Some(&intent(old)))
            || (self.plural == "deployments" && metadata_differs("annotations"))
            || (self.plural == "endpointslices" && metadata_differs("labels"))
    }
}

impl Strategy for BuiltIn {
    fn default(&self, object: &mut Value) {
        defaults::apply(&self.group, &self.plural, object);
    }

    fn prepare_for_create(&self, object: &mut Value) {
        if self.status {
            tree::remove(object, &["status"]);
        }
        if self.generation {
            metadata::first_generation(object);
        }
        (self.prepare_create)(object);
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value) {
        if self.status || self.plural == "nodes" {
            tree::restore(new, old, &["status"]);
        }
        (self.prepare_update)(new, old);
        if self.generation {
            let changed = self.intent_changed(new, old);
            metadata::count_generation(new, old, changed);
        }
    }

    fn prepare_for_subresource_update(&self, subresource: &str, new: &mut Value, old: &Value) {
        hooks::prepare_subresource(&self.plural, subresource, new, old);
        if self.generation {
            let changed = subresource != "status" && self.intent_changed(new, old);
            metadata::count_generation(new, old, changed);
        }
    }

    fn validate(&self, object: &Value) -> ErrorList {
        validation::validate(&self.group, &self.plural, object)
    }

    fn validate_update(&self, new: &Value, old: &Value) -> ErrorList {
        validation::validate_update(&self.group, &self.plural, new, old)
    }

    fn validate_subresource_update(&self, subresource: &str, new: &Value, old: &Value) -> ErrorList {
        validation::validate_subresource_update(&self.group, &self.plural, subresource, new, old)
    }

    fn warnings(&self, new: &Value, old: Option<&Value>) -> Vec<String> {
        validation::warnings(&self.group, &self.plural, new, old)
    }

    fn validate_name(&self, name: &str, prefix: bool) -> Vec<String> {
        match self.name_form {
            NameForm::Subdomain => names::dns1123_subdomain(name, prefix),
            NameForm::Label => names::dns1123_label(name, prefix),
            NameForm::Label1035 => names::dns1035_label(name, prefix),
            NameForm::PathSegment => names::path_segment(name, prefix),
            NameForm::Ip => names::ip(name),
        }
    }

    fn allow_create_on_update(&self) -> bool {
        self.create_on_update
    }

    fn allow_unconditional_update(&self) -> bool {
        self.unconditional_update
    }

    fn delete_style(&self) -> DeleteStyle {
        self.delete_style
    }

    fn default_propagation(&self) -> DefaultPropagation {
        self.propagation
    }
}
