//! Namespaces, events, leases, certificates and other cluster-level kinds.

use super::access::{NONE, UNKNOWN, flag, list, name, number, plain, text, text_or};
use super::age::{age, human_duration, since};
use super::{AGE, Printer, integer, name as name_column, text as column, wide};
use jiff::Timestamp;
use serde_json::Value;

pub const NAMESPACES: Printer = Printer {
    columns: &[name_column(), column("Status"), AGE],
    cells: |object, now| {
        vec![
            name(object),
            text(object, "/status/phase").into(),
            age(object, now),
        ]
    },
};

pub const EVENTS: Printer = Printer {
    columns: &[
        column("Last Seen"),
        column("Type"),
        column("Reason"),
        column("Object"),
        wide("Subobject"),
        wide("Source"),
        column("Message"),
        wide("First Seen"),
        wide("Count"),
        wide("Name"),
    ],
    cells: event,
};

pub const COMPONENT_STATUSES: Printer = Printer {
    columns: &[
        name_column(),
        column("Status"),
        column("Message"),
        column("Error"),
    ],
    cells: |object, _| {
        let healthy = list(object, "/conditions")
            .iter()
            .find(|c| text(c, "/type") == "Healthy");
        let of = |field: &str| healthy.map_or("", |c| text(c, field)).to_owned();
        let status = match of("/status").as_str() {
            "True" => "Healthy",
            "False" => "Unhealthy",
            _ => "Unknown",
        };
        vec![
            name(object),
            status.into(),
            of("/message").into(),
            of("/error").into(),
        ]
    },
};

pub const LEASES: Printer = Printer {
    columns: &[name_column(), column("Holder"), AGE],
    cells: |object, now| {
        vec![
            name(object),
            text(object, "/spec/holderIdentity").into(),
            age(object, now),
        ]
    },
};

pub const RUNTIME_CLASSES: Printer = Printer {
    columns: &[name_column(), column("Handler"), AGE],
    cells: |object, now| vec![name(object), text(object, "/handler").into(), age(object, now)],
};

pub const PRIORITY_CLASSES: Printer = Printer {
    columns: &[
        name_column(),
        integer("Value"),
        column("Global-Default"),
        AGE,
        column("PreemptionPolicy"),
    ],
    cells: |object, now| {
        vec![
            name(object),
            number(object, "/value").into(),
            flag(object, "/globalDefault").to_string().into(),
            age(object, now),
            text(object, "/preemptionPolicy").into(),
        ]
    },
};

pub const SIGNING_REQUESTS: Printer = Printer {
    columns: &[
        name_column(),
        AGE,
        column("SignerName"),
        column("Requestor"),
        column("RequestedDuration"),
        column("Condition"),
    ],
    cells: |object, now| {
        let requested = object.pointer("/spec/expirationSeconds").and_then(Value::as_i64);
        vec![
            name(object),
            age(object, now),
            text_or(object, "/spec/signerName", NONE).into(),
            text(object, "/spec/username").into(),
            requested.map_or_else(|| NONE.to_owned(), human_duration).into(),
            signing_condition(object).into(),
        ]
    },
};

pub const API_SERVICES: Printer = Printer {
    columns: &[name_column(), column("Service"), column("Available"), AGE],
    cells: |object, now| {
        let service = match object.pointer("/spec/service") {
            Some(Value::Object(_)) => {
                format!(
                    "{}/{}",
                    text(object, "/spec/service/namespace"),
                    text(object, "/spec/service/name")
                )
            }
            _ => "Local".to_owned(),
        };
        let condition = list(object, "/status/conditions")
            .iter()
            .find(|c| text(c, "/type") == "Available");
        let available = match condition {
            None => "Unknown".to_owned(),
            Some(c) if text(c, "/status") == "True" => "True".to_owned(),
            Some(c) => format!("{} ({})", text(c, "/status"), text(c, "/reason")),
        };
        vec![name(object), service.into(), available.into(), age(object, now)]
    },
};

fn event(event: &Value, now: Timestamp) -> Vec<Value> {
    // The events.k8s.io form names these fields differently; both are one object in the store.
    let about = |field: &str| {
        let core = text(event, &format!("/involvedObject/{field}"));
        if core.is_empty() {
            text(event, &format!("/regarding/{field}"))
        } else {
            core
        }
    };
    let first = [
        "/firstTimestamp",
        "/deprecatedFirstTimestamp",
        "/eventTime",
        "/metadata/creationTimestamp",
    ];
    let last = [
        "/series/lastObservedTime",
        "/lastTimestamp",
        "/deprecatedLastTimestamp",
    ];
    let first_seen = first
        .iter()
        .find(|p| !text(event, p).is_empty())
        .map(|p| since(event, p, now));
    let first_seen = first_seen.unwrap_or_else(|| UNKNOWN.to_owned());
    let last_seen = last
        .iter()
        .find(|p| !text(event, p).is_empty())
        .map(|p| since(event, p, now));
    let last_seen = last_seen.unwrap_or_else(|| first_seen.clone());
    let count = ["/series/count", "/count", "/deprecatedCount"]
        .iter()
        .map(|p| number(event, p))
        .find(|n| *n > 0)
        .unwrap_or(1);
    let component = text_or(event, "/source/component", text(event, "/reportingComponent"));
    let component = if component.is_empty() {
        text(event, "/reportingController")
    } else {
        component
    };
    let source = match text_or(event, "/source/host", text(event, "/reportingInstance")) {
        "" => component.to_owned(),
        host => format!("{component}, {host}"),
    };
    let message = text_or(event, "/message", text(event, "/note")).trim().to_owned();
    vec![
        last_seen.into(),
        text(event, "/type").into(),
        text(event, "/reason").into(),
        format!("{}/{}", about("kind").to_lowercase(), about("name")).into(),
        about("fieldPath").into(),
        source.into(),
        message.into(),
        first_seen.into(),
        count.to_string().into(),
        name(event),
    ]
}

fn signing_condition(request: &Value) -> String {
    let conditions = list(request, "/status/conditions");
    let holds = |kind: &str| conditions.iter().any(|c| text(c, "/type") == kind);
    let mut parts = Vec::new();
    if holds("Denied") {
        parts.push("Denied");
    } else if holds("Approved") {
        parts.push("Approved");
    } else {
        parts.push("Pending");
    }
    if holds("Failed") {
        parts.push("Failed");
    }
    if request
        .pointer("/status/certificate")
        .is_some_and(|c| !plain(c).is_empty())
    {
        parts.push("Issued");
    }
    parts.join(",")
}
