//! Replica sets, deployments, stateful and daemon sets, autoscalers, disruption budgets.

use super::access::{
    NONE, UNKNOWN, UNSET, containers, entries, label_selector, list, name, number, plain, text, text_or,
};
use super::age::age;
use super::{AGE, Printer, integer, name as name_column, text as column, wide};
use jiff::Timestamp;
use serde_json::Value;

const TEMPLATE: &str = "/spec/template/spec/containers";

/// Also replication controllers, whose selector is a plain map.
pub const REPLICA_SETS: Printer = Printer {
    columns: &[
        name_column(),
        integer("Desired"),
        integer("Current"),
        integer("Ready"),
        AGE,
        wide("Containers"),
        wide("Images"),
        wide("Selector"),
    ],
    cells: |object, now| {
        let mut cells = vec![
            name(object),
            number(object, "/spec/replicas").into(),
            number(object, "/status/replicas").into(),
            number(object, "/status/readyReplicas").into(),
            age(object, now),
        ];
        cells.extend(template(object));
        cells
    },
};

pub const DEPLOYMENTS: Printer = Printer {
    columns: &[
        name_column(),
        column("Ready"),
        integer("Up-to-date"),
        integer("Available"),
        AGE,
        wide("Containers"),
        wide("Images"),
        wide("Selector"),
    ],
    cells: |object, now| {
        let mut cells = vec![
            name(object),
            ready_of(object).into(),
            number(object, "/status/updatedReplicas").into(),
            number(object, "/status/availableReplicas").into(),
            age(object, now),
        ];
        cells.extend(template(object));
        cells
    },
};

pub const STATEFUL_SETS: Printer = Printer {
    columns: &[
        name_column(),
        column("Ready"),
        AGE,
        wide("Containers"),
        wide("Images"),
    ],
    cells: |object, now| {
        let (names, images) = containers(object, TEMPLATE);
        vec![
            name(object),
            ready_of(object).into(),
            age(object, now),
            names.into(),
            images.into(),
        ]
    },
};

pub const DAEMON_SETS: Printer = Printer {
    columns: &[
        name_column(),
        integer("Desired"),
        integer("Current"),
        integer("Ready"),
        integer("Up-to-date"),
        integer("Available"),
        column("Node Selector"),
        AGE,
        wide("Containers"),
        wide("Images"),
        wide("Selector"),
    ],
    cells: |object, now| {
        let mut cells = vec![
            name(object),
            number(object, "/status/desiredNumberScheduled").into(),
            number(object, "/status/currentNumberScheduled").into(),
            number(object, "/status/numberReady").into(),
            number(object, "/status/updatedNumberScheduled").into(),
            number(object, "/status/numberAvailable").into(),
            super::access::labels(object, "/spec/template/spec/nodeSelector").into(),
            age(object, now),
        ];
        cells.extend(template(object));
        cells
    },
};

pub const CONTROLLER_REVISIONS: Printer = Printer {
    columns: &[name_column(), column("Controller"), integer("Revision"), AGE],
    cells: |object, now| {
        let owner = list(object, "/metadata/ownerReferences")
            .iter()
            .find(|o| o.get("controller").and_then(Value::as_bool) == Some(true));
        let controller = owner.map_or_else(|| NONE.to_owned(), controller_name);
        vec![
            name(object),
            controller.into(),
            number(object, "/revision").into(),
            age(object, now),
        ]
    },
};

pub const AUTOSCALERS: Printer = Printer {
    columns: &[
        name_column(),
        column("Reference"),
        column("Targets"),
        column("MinPods"),
        integer("MaxPods"),
        integer("Replicas"),
        AGE,
    ],
    cells: autoscaler,
};

pub const DISRUPTION_BUDGETS: Printer = Printer {
    columns: &[
        name_column(),
        column("Min Available"),
        column("Max Unavailable"),
        integer("Allowed Disruptions"),
        AGE,
    ],
    cells: |object, now| {
        let bound = |pointer: &str| object.pointer(pointer).map_or_else(|| "N/A".to_owned(), plain);
        vec![
            name(object),
            bound("/spec/minAvailable").into(),
            bound("/spec/maxUnavailable").into(),
            number(object, "/status/disruptionsAllowed").into(),
            age(object, now),
        ]
    },
};

fn ready_of(object: &Value) -> String {
    format!(
        "{}/{}",
        number(object, "/status/readyReplicas"),
        number(object, "/spec/replicas")
    )
}

fn template(object: &Value) -> [Value; 3] {
    let (names, images) = containers(object, TEMPLATE);
    let plain_map = object
        .pointer("/spec/selector")
        .and_then(Value::as_object)
        .is_some_and(|s| !s.contains_key("matchLabels") && !s.contains_key("matchExpressions"));
    let selector = if plain_map {
        super::access::labels(object, "/spec/selector")
    } else {
        label_selector(object, "/spec/selector")
    };
    [names.into(), images.into(), selector.into()]
}

/// `deployment.apps/web`: kind, group and name of an owner.
fn controller_name(owner: &Value) -> String {
    let kind = text(owner, "/kind").to_lowercase();
    match text(owner, "/apiVersion").split_once('/') {
        Some((group, _)) => format!("{kind}.{group}/{}", text(owner, "/name")),
        None => format!("{kind}/{}", text(owner, "/name")),
    }
}

fn autoscaler(object: &Value, now: Timestamp) -> Vec<Value> {
    let reference = format!(
        "{}/{}",
        text(object, "/spec/scaleTargetRef/kind"),
        text(object, "/spec/scaleTargetRef/name")
    );
    let minimum = object
        .pointer("/spec/minReplicas")
        .map_or_else(|| UNSET.to_owned(), plain);
    vec![
        name(object),
        reference.into(),
        targets(object).into(),
        minimum.into(),
        number(object, "/spec/maxReplicas").into(),
        number(object, "/status/currentReplicas").into(),
        age(object, now),
    ]
}

fn targets(object: &Value) -> String {
    let current = list(object, "/status/currentMetrics");
    let metrics: Vec<String> = list(object, "/spec/metrics")
        .iter()
        .enumerate()
        .map(|(i, m)| target(m, current.get(i)))
        .collect();
    if metrics.is_empty() {
        NONE.to_owned()
    } else {
        metrics.join(", ")
    }
}

fn target(metric: &Value, current: Option<&Value>) -> String {
    let kind = text(metric, "/type");
    // The field is named as the type, with a small first letter: Resource → resource.
    let field = entries(metric, "")
        .into_iter()
        .find(|(key, _)| key.eq_ignore_ascii_case(kind))
        .map_or("", |f| f.0);
    let now = current.and_then(|c| c.pointer(&format!("/{field}/current")));
    let wanted = metric
        .pointer(&format!("/{field}/target"))
        .unwrap_or(&Value::Null);
    let label = match text(metric, &format!("/{field}/name")) {
        "" => String::new(),
        resource => format!("{resource}: "),
    };
    if let Some(percent) = wanted.get("averageUtilization") {
        let now = now
            .and_then(|n| n.get("averageUtilization"))
            .map_or(UNKNOWN.to_owned(), |n| format!("{n}%"));
        return format!("{label}{now}/{percent}%");
    }
    let average = !text_or(wanted, "/averageValue", "").is_empty();
    let pointer = if average { "/averageValue" } else { "/value" };
    let now = now.map_or(UNKNOWN, |n| text_or(n, pointer, UNKNOWN));
    let suffix = if average { " (avg)" } else { "" };
    format!("{label}{now}/{}{suffix}", text(wanted, pointer))
}
