//! Ingresses, network policies, service addresses.

use super::access::{NONE, joined, label_selector, list, name, text, text_or};
use super::age::age;
use super::{AGE, Printer, name as name_column, text as column};
use serde_json::Value;

pub const INGRESSES: Printer = Printer {
    columns: &[
        name_column(),
        column("Class"),
        column("Hosts"),
        column("Address"),
        column("Ports"),
        AGE,
    ],
    cells: |object, now| {
        let annotated = text_or(object, "/metadata/annotations/kubernetes.io~1ingress.class", NONE);
        let ports = if list(object, "/spec/tls").is_empty() {
            "80"
        } else {
            "80, 443"
        };
        vec![
            name(object),
            text_or(object, "/spec/ingressClassName", annotated).into(),
            hosts(object).into(),
            addresses(object).into(),
            ports.into(),
            age(object, now),
        ]
    },
};

pub const INGRESS_CLASSES: Printer = Printer {
    columns: &[name_column(), column("Controller"), column("Parameters"), AGE],
    cells: |object, now| {
        let parameters = match text(object, "/spec/parameters/kind") {
            "" => NONE.to_owned(),
            kind => match text(object, "/spec/parameters/apiGroup") {
                "" => format!("{kind}/{}", text(object, "/spec/parameters/name")),
                group => format!("{kind}.{group}/{}", text(object, "/spec/parameters/name")),
            },
        };
        vec![
            name(object),
            text(object, "/spec/controller").into(),
            parameters.into(),
            age(object, now),
        ]
    },
};

pub const POLICIES: Printer = Printer {
    columns: &[name_column(), column("Pod-Selector"), AGE],
    cells: |object, now| {
        vec![
            name(object),
            label_selector(object, "/spec/podSelector").into(),
            age(object, now),
        ]
    },
};

pub const IP_ADDRESSES: Printer = Printer {
    columns: &[name_column(), column("ParentRef")],
    cells: |object, _| {
        let part = |field: &str| text(object, &format!("/spec/parentRef/{field}"));
        let parts: Vec<&str> = [part("resource"), part("group"), part("namespace"), part("name")]
            .into_iter()
            .filter(|p| !p.is_empty())
            .collect();
        // resource[.group]/[namespace/]name
        let resource = match part("group") {
            "" => part("resource").to_owned(),
            group => format!("{}.{group}", part("resource")),
        };
        let target = match part("namespace") {
            "" => part("name").to_owned(),
            namespace => format!("{namespace}/{}", part("name")),
        };
        let parent = if parts.is_empty() {
            NONE.to_owned()
        } else {
            format!("{resource}/{target}")
        };
        vec![name(object), parent.into()]
    },
};

pub const SERVICE_CIDRS: Printer = Printer {
    columns: &[name_column(), column("CIDRs"), AGE],
    cells: |object, now| {
        vec![
            name(object),
            joined(list(object, "/spec/cidrs").iter().filter_map(Value::as_str)).into(),
            age(object, now),
        ]
    },
};

fn hosts(ingress: &Value) -> String {
    const SHOWN: usize = 3;
    let hosts: Vec<&str> = list(ingress, "/spec/rules")
        .iter()
        .map(|r| text(r, "/host"))
        .filter(|h| !h.is_empty())
        .collect();
    match hosts.len() {
        0 => "*".to_owned(),
        count if count > SHOWN => format!("{} + {} more...", hosts[..SHOWN].join(","), count - SHOWN),
        _ => hosts.join(","),
    }
}

fn addresses(ingress: &Value) -> String {
    let found = list(ingress, "/status/loadBalancer/ingress")
        .iter()
        .map(|i| text_or(i, "/ip", text(i, "/hostname")));
    found.filter(|a| !a.is_empty()).collect::<Vec<_>>().join(",")
}
