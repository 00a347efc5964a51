//! Server-side printing: objects as rows of a `meta.k8s.io/v1` Table.
//!
//! Every kind has one [`Printer`]: its columns and a function from an object to a row's cells. Time is an
//! argument; nothing here reads a clock. Columns, their order and priorities follow Kubernetes 1.36,
//! `pkg/printers/internalversion/printers.go`.

mod access;
mod admission;
mod age;
mod batch;
mod cluster;
mod config;
mod endpoints;
mod flow;
mod networking;
mod nodes;
mod pods;
mod rbac;
mod render;
mod services;
mod storage;
mod workloads;

pub use age::{human_duration, since};
pub use render::{IncludeObject, TableOptions, list_table, partial_list, partial_object, row, table_of};

use jiff::Timestamp;
use serde_json::Value;

/// A column's heading. `priority` above 0 shows only in wide output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    pub name: &'static str,
    pub kind: ColumnKind,
    pub priority: u8,
}

/// The OpenAPI type and format of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// The object's name: type `string`, format `name`.
    Name,
    Text,
    Integer,
    Date,
}

/// How the objects of one resource are printed.
#[derive(Clone, Copy)]
pub struct Printer {
    pub columns: &'static [Column],
    pub cells: fn(&Value, Timestamp) -> Vec<Value>,
}

impl std::fmt::Debug for Printer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Printer")
            .field("columns", &self.columns)
            .finish_non_exhaustive()
    }
}

const fn name() -> Column {
    Column {
        name: "Name",
        kind: ColumnKind::Name,
        priority: 0,
    }
}

const fn text(name: &'static str) -> Column {
    Column {
        name,
        kind: ColumnKind::Text,
        priority: 0,
    }
}

const fn integer(name: &'static str) -> Column {
    Column {
        name,
        kind: ColumnKind::Integer,
        priority: 0,
    }
}

const fn wide(name: &'static str) -> Column {
    Column {
        name,
        kind: ColumnKind::Text,
        priority: 1,
    }
}

const AGE: Column = text("Age");

/// The printer of a built-in resource; of any other the default one, `Name` and `Created At`.
pub fn printer_for(group: &str, resource: &str) -> Printer {
    match (group, resource) {
        ("", "pods") => pods::PODS,
        ("", "podtemplates") => pods::POD_TEMPLATES,
        ("", "replicationcontrollers") | ("apps", "replicasets") => workloads::REPLICA_SETS,
        ("apps", "deployments") => workloads::DEPLOYMENTS,
        ("apps", "statefulsets") => workloads::STATEFUL_SETS,
        ("apps", "daemonsets") => workloads::DAEMON_SETS,
        ("apps", "controllerrevisions") => workloads::CONTROLLER_REVISIONS,
        ("autoscaling", "horizontalpodautoscalers") => workloads::AUTOSCALERS,
        ("policy", "poddisruptionbudgets") => workloads::DISRUPTION_BUDGETS,
        ("batch", "jobs") => batch::JOBS,
        ("batch", "cronjobs") => batch::CRON_JOBS,
        ("", "services") => services::SERVICES,
        ("", "endpoints") => endpoints::ENDPOINTS,
        ("discovery.k8s.io", "endpointslices") => endpoints::ENDPOINT_SLICES,
        ("", "nodes") => nodes::NODES,
        ("", "namespaces") => cluster::NAMESPACES,
        ("" | "events.k8s.io", "events") => cluster::EVENTS,
        ("", "componentstatuses") => cluster::COMPONENT_STATUSES,
        ("coordination.k8s.io", "leases") => cluster::LEASES,
        ("node.k8s.io", "runtimeclasses") => cluster::RUNTIME_CLASSES,
        ("scheduling.k8s.io", "priorityclasses") => cluster::PRIORITY_CLASSES,
        ("certificates.k8s.io", "certificatesigningrequests") => cluster::SIGNING_REQUESTS,
        ("apiregistration.k8s.io", "apiservices") => cluster::API_SERVICES,
        ("", "configmaps") => config::CONFIG_MAPS,
        ("", "secrets") => config::SECRETS,
        ("", "serviceaccounts") => config::SERVICE_ACCOUNTS,
        ("", "resourcequotas") => config::RESOURCE_QUOTAS,
        ("", "persistentvolumes") => storage::VOLUMES,
        ("", "persistentvolumeclaims") => storage::CLAIMS,
        ("storage.k8s.io", "storageclasses") => storage::CLASSES,
        ("storage.k8s.io", "volumeattachments") => storage::ATTACHMENTS,
        ("storage.k8s.io", "csidrivers") => storage::CSI_DRIVERS,
        ("storage.k8s.io", "csinodes") => storage::CSI_NODES,
        ("storage.k8s.io", "csistoragecapacities") => storage::CSI_CAPACITIES,
        ("storage.k8s.io", "volumeattributesclasses") => storage::ATTRIBUTES_CLASSES,
        ("resource.k8s.io", "deviceclasses" | "resourceclaimtemplates") => storage::NAME_AND_AGE,
        ("resource.k8s.io", "resourceclaims") => storage::RESOURCE_CLAIMS,
        ("resource.k8s.io", "resourceslices") => storage::RESOURCE_SLICES,
        ("networking.k8s.io", "ingresses") => networking::INGRESSES,
        ("networking.k8s.io", "ingressclasses") => networking::INGRESS_CLASSES,
        ("networking.k8s.io", "networkpolicies") => networking::POLICIES,
        ("networking.k8s.io", "ipaddresses") => networking::IP_ADDRESSES,
        ("networking.k8s.io", "servicecidrs") => networking::SERVICE_CIDRS,
        ("rbac.authorization.k8s.io", "rolebindings" | "clusterrolebindings") => rbac::BINDINGS,
        ("flowcontrol.apiserver.k8s.io", "flowschemas") => flow::SCHEMAS,
        ("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations") => flow::LEVELS,
        ("admissionregistration.k8s.io", "mutatingwebhookconfigurations") => admission::WEBHOOKS,
        ("admissionregistration.k8s.io", "validatingwebhookconfigurations") => admission::WEBHOOKS,
        ("admissionregistration.k8s.io", "validatingadmissionpolicies") => admission::VALIDATING_POLICIES,
        ("admissionregistration.k8s.io", "mutatingadmissionpolicies") => admission::MUTATING_POLICIES,
        (
            "admissionregistration.k8s.io",
            "validatingadmissionpolicybindings" | "mutatingadmissionpolicybindings",
        ) => admission::POLICY_BINDINGS,
        _ => DEFAULT,
    }
}

const DEFAULT: Printer = Printer {
    columns: &[
        name(),
        Column {
            name: "Created At",
            kind: ColumnKind::Date,
            priority: 0,
        },
    ],
    cells: |object, _| {
        let created = access::text(object, "/metadata/creationTimestamp");
        vec![access::name(object), Value::from(created)]
    },
};
