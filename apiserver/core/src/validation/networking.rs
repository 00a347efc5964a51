//! Ingresses and network policies (`pkg/apis/networking/validation/validation.go`).

use ipnet::IpNet;
use serde_json::Value;

use super::check;
use crate::field_error::{ErrorList, FieldError, FieldPath};
use crate::{label_selector, names, tree};

const INGRESS_CLASS: &str = "kubernetes.io/ingress.class";

pub(super) fn ingress(object: &Value) -> ErrorList {
    let path = FieldPath::new("spec");
    let spec = object.get("spec").unwrap_or(&Value::Null);
    let mut errors = ErrorList::new();
    let rules = tree::list(spec, &["rules"]);
    if rules.is_empty() && tree::at(spec, &["defaultBackend"]).is_none() {
        let why = "either `defaultBackend` or `rules` must be specified";
        errors.push(FieldError::invalid(&path, rules.to_vec(), why));
    }
    if let Some(backend) = tree::at(spec, &["defaultBackend"]) {
        errors.extend(ingress_backend(backend, &path.child("defaultBackend")));
    }
    for (i, rule) in rules.iter().enumerate() {
        let path = path.child("rules").index(i);
        errors.extend(host(tree::text(rule, &["host"]), &path.child("host")));
        if let Some(http) = tree::at(rule, &["http"]) {
            errors.extend(http_paths(http, &path.child("http").child("paths")));
        }
    }
    for (i, tls) in tree::list(spec, &["tls"]).iter().enumerate() {
        let path = path.child("tls").index(i);
        for (j, name) in tree::list(tls, &["hosts"])
            .iter()
            .filter_map(Value::as_str)
            .enumerate()
        {
            errors.extend(host_name(name, &path.child("hosts").index(j)));
        }
        let secret = tree::text(tls, &["secretName"]);
        if !secret.is_empty() {
            errors.extend(check::subdomain(secret, &path.child("secretName")));
        }
    }
    let class = tree::text(spec, &["ingressClassName"]);
    if !class.is_empty() {
        errors.extend(check::subdomain(class, &path.child("ingressClassName")));
    }
    errors
}

/// At creation, the class may be named in one way only.
pub(super) fn ingress_create(object: &Value) -> ErrorList {
    let mut errors = ingress(object);
    if let (Some(annotation), Some(_)) = (
        tree::annotation(object, INGRESS_CLASS),
        tree::at(object, &["spec", "ingressClassName"]),
    ) {
        let path = FieldPath::new("metadata.annotations").child(INGRESS_CLASS);
        let why = "can not be set when the class field is also set";
        errors.push(FieldError::invalid(&path, annotation, why));
    }
    errors
}

fn host(name: &str, path: &FieldPath) -> ErrorList {
    if name.is_empty() {
        return ErrorList::new();
    }
    let mut errors = ErrorList::new();
    if names::ip(name).is_empty() {
        let why = "must be a DNS name, not an IP address";
        errors.push(FieldError::invalid(path, name, why));
    }
    errors.extend(host_name(name, path));
    errors
}

/// A name, or `*.` and a name.
fn host_name(name: &str, path: &FieldPath) -> ErrorList {
    if !name.contains('*') {
        return check::subdomain(name, path);
    }
    let valid = name
        .strip_prefix("*.")
        .is_some_and(|rest| names::dns1123_subdomain(rest, false).is_empty());
    let why = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must \
               consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. \
               '*.example.com', regex used for validation is \
               '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
    if valid {
        ErrorList::new()
    } else {
        vec![FieldError::invalid(path, name, why)]
    }
}

/// Parts of a path that servers would take for another path.
const BAD_SEQUENCES: [&str; 6] = ["//", "/./", "/../", "%2f", "%2F", "\\"];
const BAD_SUFFIXES: [&str; 2] = ["/..", "/."];

fn http_paths(http: &Value, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    let list = tree::list(http, &["paths"]);
    if list.is_empty() {
        errors.push(FieldError::required(path, ""));
    }
    for (i, item) in list.iter().enumerate() {
        let path = path.index(i);
        let (text, kind) = (tree::text(item, &["path"]), tree::text(item, &["pathType"]));
        let at = path.child("path");
        match kind {
            "Exact" | "Prefix" => {
                if !text.starts_with('/') {
                    let why = "must be an absolute path";
                    errors.push(FieldError::invalid(&at, text, why));
                }
                for bad in BAD_SEQUENCES.iter().filter(|bad| text.contains(**bad)) {
                    errors.push(FieldError::invalid(
                        &at,
                        text,
                        format!("must not contain '{bad}'"),
                    ));
                }
                for bad in BAD_SUFFIXES.iter().filter(|bad| text.ends_with(**bad)) {
                    errors.push(FieldError::invalid(&at, text, format!("cannot end with '{bad}'")));
                }
            }
            "ImplementationSpecific" => {
                if !text.is_empty() && !text.starts_with('/') {
                    let why = "must be an absolute path";
                    errors.push(FieldError::invalid(&at, text, why));
                }
            }
            "" => {
                let why = "pathType must be specified";
                errors.push(FieldError::required(&path.child("pathType"), why));
            }
            other => {
                let kinds = ["Exact", "ImplementationSpecific", "Prefix"];
                errors.push(FieldError::not_supported(&path.child("pathType"), other, &kinds));
            }
        }
        let backend = item.get("backend").unwrap_or(&Value::Null);
        errors.extend(ingress_backend(backend, &path.child("backend")));
    }
    errors
}

fn ingress_backend(backend: &Value, path: &FieldPath) -> ErrorList {
    let service = tree::at(backend, &["service"]);
    match (service, tree::at(backend, &["resource"])) {
        (Some(_), Some(_)) => {
            let why = "cannot set both resource and service backends";
            vec![FieldError::invalid(path, "", why)]
        }
        (None, None) => {
            let why = "resource or service backend is required";
            vec![FieldError::required(path, why)]
        }
        (Some(service), None) => backend_service(service, &path.child("service")),
        (None, Some(resource)) => ["kind", "name"]
            .iter()
            .filter_map(|field| check::required(resource, field, &path.child("resource")))
            .collect(),
    }
}

fn backend_service(service: &Value, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    let name = tree::text(service, &["name"]);
    if name.is_empty() {
        errors.push(FieldError::required(&path.child("name"), ""));
    } else {
        errors.extend(check::invalid(
            &path.child("name"),
            name,
            names::dns1035_label(name, false),
        ));
    }
    let port_name = tree::text(service, &["port", "name"]);
    let number = tree::int(service, &["port", "number"]).unwrap_or(0);
    let path = path.child("port");
    match (port_name.is_empty(), number) {
        (true, 0) => errors.push(FieldError::required(&path, "port name or number is required")),
        (false, number) if number != 0 => {
            let why = "cannot set both port name & port number";
            errors.push(FieldError::invalid(&path, "", why));
        }
        (false, _) => errors.extend(check::invalid(
            &path.child("name"),
            port_name,
            names::port_name(port_name),
        )),
        (true, number) => errors.extend(check::port_number(number, &path.child("number"))),
    }
    errors
}

pub(super) fn network_policy(object: &Value) -> ErrorList {
    let path = FieldPath::new("spec");
    let spec = object.get("spec").unwrap_or(&Value::Null);
    let mut errors = ErrorList::new();
    if let Some(selector) = tree::at(spec, &["podSelector"]) {
        errors.extend(label_selector::validate(selector, &path.child("podSelector")));
    }
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        for (i, rule) in tree::list(spec, &[direction]).iter().enumerate() {
            let path = path.child(direction).index(i);
            for (j, port) in tree::list(rule, &["ports"]).iter().enumerate() {
                errors.extend(policy_port(port, &path.child("ports").index(j)));
            }
            for (j, peer) in tree::list(rule, &[peers]).iter().enumerate() {
                errors.extend(policy_peer(peer, &path.child(peers).index(j)));
            }
        }
    }
    let kinds = tree::list(spec, &["policyTypes"]);
    let path = path.child("policyTypes");
    if kinds.len() > 2 {
        let why = "may not specify more than two policyTypes";
        errors.push(FieldError::invalid(&path, kinds.to_vec(), why));
        return errors;
    }
    for (i, kind) in kinds.iter().filter_map(Value::as_str).enumerate() {
        let supported = ["Egress", "Ingress"];
        if !supported.contains(&kind) {
            errors.push(FieldError::not_supported(&path.index(i), kind, &supported));
        }
    }
    errors
}

fn policy_port(port: &Value, path: &FieldPath) -> ErrorList {
    let protocols = ["SCTP", "TCP", "UDP"];
    let mut errors: ErrorList = check::optional_one_of(port, "protocol", path, &protocols)
        .into_iter()
        .collect();
    let first = tree::at(port, &["port"]);
    if first.is_some() {
        errors.extend(check::port(first, &path.child("port")));
    }
    let Some(last) = tree::int(port, &["endPort"]) else {
        return errors;
    };
    let at = path.child("endPort");
    match first {
        None => {
            let why = "may not be specified when `port` is not specified";
            errors.push(FieldError::invalid(&at, last, why));
        }
        Some(Value::String(_)) => {
            let why = "may not be specified when `port` is non-numeric";
            errors.push(FieldError::invalid(&at, last, why));
        }
        Some(first) => {
            if last < first.as_i64().unwrap_or(0) {
                let why = "must be greater than or equal to `port`";
                errors.push(FieldError::invalid(&at, last, why));
            }
            errors.extend(check::port_number(last, &at));
        }
    }
    errors
}

fn policy_peer(peer: &Value, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    let mut selects = false;
    for field in ["podSelector", "namespaceSelector"] {
        if let Some(selector) = tree::at(peer, &[field]) {
            selects = true;
            errors.extend(label_selector::validate(selector, &path.child(field)));
        }
    }
    match tree::at(peer, &["ipBlock"]) {
        Some(_) if selects => {
            let why = "may not specify both ipBlock and another peer";
            errors.push(FieldError::forbidden(path, why));
        }
        Some(block) => errors.extend(ip_block(block, &path.child("ipBlock"))),
        None if !selects => errors.push(FieldError::required(path, "must specify a peer")),
        None => {}
    }
    errors
}

fn ip_block(block: &Value, path: &FieldPath) -> ErrorList {
    let text = tree::text(block, &["cidr"]);
    if text.is_empty() {
        return vec![FieldError::required(&path.child("cidr"), "")];
    }
    let mut errors = check::cidr(text, &path.child("cidr"));
    let Ok(whole) = text.parse::<IpNet>() else {
        return errors;
    };
    for (i, except) in tree::list(block, &["except"])
        .iter()
        .filter_map(Value::as_str)
        .enumerate()
    {
        let path = path.child("except").index(i);
        match except.parse::<IpNet>() {
            Ok(part) if whole.contains(&part.network()) && whole.prefix_len() < part.prefix_len() => {}
            Ok(_) => {
                let why = "must be a strict subset of `cidr`";
                errors.push(FieldError::invalid(&path, except, why));
            }
            Err(_) => errors.extend(check::cidr(except, &path)),
        }
    }
    errors
}

pub(super) fn ingress_class(object: &Value) -> ErrorList {
    const MAX_CONTROLLER: usize = 250;
    let path = FieldPath::new("spec");
    let spec = object.get("spec").unwrap_or(&Value::Null);
    let controller = tree::text(spec, &["controller"]);
    let at = path.child("controller");
    let mut errors = ErrorList::new();
    if controller.len() > MAX_CONTROLLER {
        errors.push(FieldError::too_long(&at, MAX_CONTROLLER));
    }
    match controller.split_once('/') {
        Some((domain, rest)) if !rest.is_empty() => errors.extend(check::subdomain(domain, &at)),
        _ => {
            let why = "must be a domain-prefixed path (such as \"acme.io/foo\")";
            errors.push(FieldError::invalid(&at, controller, why));
        }
    }
    if let Some(parameters) = tree::at(spec, &["parameters"]) {
        let path = path.child("parameters");
        for field in ["kind", "name"] {
            errors.extend(check::required(parameters, field, &path));
        }
        errors.extend(check::one_of(
            parameters,
            "scope",
            &path,
            &["Cluster", "Namespace"],
        ));
        let namespace = tree::text(parameters, &["namespace"]);
        match tree::text(parameters, &["scope"]) {
            "Namespace" if namespace.is_empty() => errors.push(FieldError::required(
                &path.child("namespace"),
                "`parameters.scope` is set to 'Namespace'",
            )),
            "Cluster" if !namespace.is_empty() => errors.push(FieldError::forbidden(
                &path.child("namespace"),
                "`parameters.scope` is set to 'Cluster'",
            )),
            _ => {}
        }
    }
    errors
}
