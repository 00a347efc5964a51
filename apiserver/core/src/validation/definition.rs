//! Definitions of custom resources, and aggregated APIs
//! (`apiextensions-apiserver/pkg/apis/apiextensions/validation`, `kube-aggregator/pkg/apis/apiregistration/validation`).
//!
//! Rules in CEL are not compiled here.

mod schema;

use std::collections::BTreeSet;

use serde_json::Value;

use super::check;
use crate::field_error::{ErrorList, FieldError, FieldPath};
use crate::{names, tree};

const APPROVAL: &str = "api-approved.kubernetes.io";

/// A new definition.
pub(super) fn create(object: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    let group = tree::text(object, &["spec", "group"]);
    let plural = tree::text(object, &["spec", "names", "plural"]);
    if tree::name(object) != format!("{plural}.{group}") {
        let path = FieldPath::new("metadata.name");
        let why = "must be spec.names.plural+\".\"+spec.group";
        errors.push(FieldError::invalid(&path, tree::name(object), why));
    }
    let protected = |domain: &str| group == domain || group.ends_with(&format!(".{domain}"));
    if (protected("k8s.io") || protected("kubernetes.io"))
        && tree::annotation(object, APPROVAL).unwrap_or("").is_empty()
    {
        let path = FieldPath::new("metadata.annotations").key(APPROVAL);
        let why = format!(
            "protected groups must have approval annotation \"{APPROVAL}\", see \
             https://github.com/kubernetes/enhancements/pull/1111"
        );
        errors.push(FieldError::required(&path, why));
    }
    errors.extend(definition(object));
    errors
}

/// One error for all reasons, as upstream tells them of definitions.
fn joined(path: &FieldPath, value: &str, reasons: &[String], before: &str) -> Option<FieldError> {
    (!reasons.is_empty()).then(|| FieldError::invalid(path, value, format!("{before}{}", reasons.join(","))))
}

pub(super) fn definition(object: &Value) -> ErrorList {
    let path = FieldPath::new("spec");
    let spec = object.get("spec").unwrap_or(&Value::Null);
    let mut errors = ErrorList::new();
    let group = tree::text(spec, &["group"]);
    let group_path = path.child("group");
    let reasons = names::dns1123_subdomain(group, false);
    if group.is_empty() {
        errors.push(FieldError::required(&group_path, ""));
    } else if reasons.is_empty() && !group.contains('.') {
        let why = "should be a domain with at least one dot";
        errors.push(FieldError::invalid(&group_path, group, why));
    } else {
        errors.extend(joined(&group_path, group, &reasons, ""));
    }
    errors.extend(check::one_of(spec, "scope", &path, &["Cluster", "Namespaced"]));
    if tree::flag(spec, &["preserveUnknownFields"]) {
        let path = path.child("preserveUnknownFields");
        let why = "must be false in order to use defaults in the schema";
        errors.push(FieldError::invalid(&path, true, why));
    }
    errors.extend(versions(spec, &path));
    let own_names = spec.get("names").unwrap_or(&Value::Null);
    let names_path = path.child("names");
    for field in ["plural", "singular", "kind", "listKind"] {
        errors.extend(check::required(own_names, field, &names_path));
    }
    errors.extend(resource_names(own_names, &names_path));
    errors.extend(conversion(spec, &path.child("conversion")));
    errors
}

fn versions(spec: &Value, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    let list = tree::list(spec, &["versions"]);
    let path = path.child("versions");
    let mut seen = BTreeSet::new();
    for (i, version) in list.iter().enumerate() {
        let name = tree::text(version, &["name"]);
        let reasons = names::dns1035_label(name, false);
        errors.extend(joined(&path.index(i).child("name"), name, &reasons, ""));
        seen.insert(name);
    }
    let mut fail = |why: &str| errors.push(FieldError::invalid(&path, list.to_vec(), why));
    if seen.len() != list.len() {
        fail("must contain unique version names");
    }
    let stored = |version: &&Value| tree::flag(version, &["storage"]);
    if list.iter().filter(stored).count() != 1 {
        fail("must have exactly one version marked as storage version");
    }
    let schema = |version: &Value| tree::at(version, &["schema", "openAPIV3Schema"]).cloned();
    // One schema of all versions counts as the definition's own.
    let shared = list
        .iter()
        .all(|version| schema(version) == list.first().and_then(schema));
    for (i, version) in list.iter().enumerate() {
        let at = path.index(i);
        let schema_path = at.child("schema").child("openAPIV3Schema");
        match schema(version) {
            None => errors.push(FieldError::required(&schema_path, "schemas are required")),
            Some(schema) if !shared => errors.extend(schema::structural(&schema, &schema_path)),
            Some(schema) if i == 0 => {
                let path = FieldPath::new("spec.validation.openAPIV3Schema");
                errors.extend(schema::structural(&schema, &path));
            }
            Some(_) => {}
        }
        errors.extend(subresources(version, &at.child("subresources")));
        for (j, column) in tree::list(version, &["additionalPrinterColumns"])
            .iter()
            .enumerate()
        {
            errors.extend(printer_column(
                column,
                &at.child("additionalPrinterColumns").index(j),
            ));
        }
    }
    errors
}

fn subresources(version: &Value, path: &FieldPath) -> ErrorList {
    let Some(scale) = tree::at(version, &["subresources", "scale"]) else {
        return ErrorList::new();
    };
    let path = path.child("scale");
    let mut errors = ErrorList::new();
    for (field, below, needed) in [
        ("specReplicasPath", ".spec.", true),
        ("statusReplicasPath", ".status.", true),
        ("labelSelectorPath", ".status.", false),
    ] {
        let text = tree::text(scale, &[field]);
        let at = path.child(field);
        if text.is_empty() {
            if needed {
                errors.push(FieldError::required(&at, ""));
            }
        } else if !(text.starts_with(below) || (!needed && text.starts_with(".spec."))) {
            let below = if needed {
                below.trim_end_matches('.')
            } else {
                "either .status or .spec"
            };
            let why = format!("should be a json path under {below}");
            errors.push(FieldError::invalid(&at, text, why));
        }
    }
    errors
}

fn printer_column(column: &Value, path: &FieldPath) -> ErrorList {
    let mut errors: ErrorList = check::required(column, "name", path).into_iter().collect();
    let kinds = ["boolean", "date", "integer", "number", "string"];
    let kind = tree::text(column, &["type"]);
    if kind.is_empty() {
        let why = format!("must be one of {}", kinds.join(","));
        errors.push(FieldError::required(&path.child("type"), why));
    } else if !kinds.contains(&kind) {
        let why = format!("must be one of {}", kinds.join(","));
        errors.push(FieldError::invalid(&path.child("type"), kind, why));
    }
    errors.extend(check::required(column, "jsonPath", path));
    errors
}

fn resource_names(own: &Value, path: &FieldPath) -> ErrorList {
    let mut errors = ErrorList::new();
    for (field, mixed) in [
        ("plural", false),
        ("singular", false),
        ("kind", true),
        ("listKind", true),
    ] {
        let name = tree::text(own, &[field]);
        let (judged, before) = if mixed {
            (
                name.to_lowercase(),
                "may have mixed case, but should otherwise match: ",
            )
        } else {
            (name.to_owned(), "")
        };
        if !name.is_empty() {
            let reasons = names::dns1035_label(&judged, false);
            errors.extend(joined(&path.child(field), name, &reasons, before));
        }
    }
    for field in ["shortNames", "categories"] {
        let list = tree::list(own, &[field]).iter();
        for (i, name) in list.filter_map(Value::as_str).enumerate() {
            let reasons = names::dns1035_label(name, false);
            errors.extend(joined(&path.child(field).index(i), name, &reasons, ""));
        }
    }
    let kind = tree::text(own, &["kind"]);
    if !kind.is_empty() && kind == tree::text(own, &["listKind"]) {
        let why = "kind and listKind may not be the same";
        errors.push(FieldError::invalid(&path.child("listKind"), kind, why));
    }
    errors
}

fn conversion(spec: &Value, path: &FieldPath) -> ErrorList {
    let Some(conversion) = tree::at(spec, &["conversion"]) else {
        return ErrorList::new();
    };
    let mut errors: ErrorList = check::one_of(conversion, "strategy", path, &["None", "Webhook"])
        .into_iter()
        .collect();
    let webhook = tree::at(conversion, &["webhook"]);
    let webhook_path = path.child("webhook");
    match (tree::text(conversion, &["strategy"]), webhook) {
        ("None", Some(_)) => {
            let why = "should not be set when strategy is not set to Webhook";
            errors.push(FieldError::forbidden(&webhook_path, why));
        }
        ("Webhook", None) => {
            let why = "required when strategy is set to Webhook";
            errors.push(FieldError::required(&webhook_path.child("clientConfig"), why));
        }
        ("Webhook", Some(webhook)) => {
            let client = webhook.get("clientConfig").unwrap_or(&Value::Null);
            let path = webhook_path.child("clientConfig");
            errors.extend(super::extension::client_config(client, &path));
            if tree::list(webhook, &["conversionReviewVersions"]).is_empty() {
                let path = webhook_path.child("conversionReviewVersions");
                errors.push(FieldError::required(&path, ""));
            }
        }
        _ => {}
    }
    errors
}

/// What is in use keeps its names, and what has been stored keeps its version.
pub(super) fn update(new: &Value, old: &Value) -> ErrorList {
    let path = FieldPath::new("spec");
    let null = Value::Null;
    let part = |object: &Value, field: &str| object.get("spec").and_then(|spec| spec.get(field)).cloned();
    let (now, before) = (new.get("spec").unwrap_or(&null), old.get("spec").unwrap_or(&null));
    let mut errors = check::immutable(now, before, &["group"], &path);
    let (names, old_names) = (
        part(new, "names").unwrap_or_default(),
        part(old, "names").unwrap_or_default(),
    );
    errors.extend(check::immutable(
        &names,
        &old_names,
        &["plural"],
        &path.child("names"),
    ));
    let established = tree::list(old, &["status", "conditions"])
        .iter()
        .any(|condition| {
            tree::text(condition, &["type"]) == "Established" && tree::text(condition, &["status"]) == "True"
        });
    if established {
        errors.extend(check::immutable(now, before, &["scope"], &path));
        errors.extend(check::immutable(
            &names,
            &old_names,
            &["kind"],
            &path.child("names"),
        ));
    }
    errors.extend(stored_versions(new));
    errors
}

/// No version is taken away while objects are stored in it.
fn stored_versions(object: &Value) -> ErrorList {
    let known: Vec<&str> = tree::list(object, &["spec", "versions"])
        .iter()
        .map(|version| tree::text(version, &["name"]))
        .collect();
    let path = FieldPath::new("status.storedVersions");
    tree::list(object, &["status", "storedVersions"])
        .iter()
        .filter_map(Value::as_str)
        .enumerate()
        .filter(|(_, version)| !known.contains(version))
        .map(|(i, version)| FieldError::invalid(&path.index(i), version, "must appear in spec.versions"))
        .collect()
}

/// An aggregated API, named `version.group`.
pub(super) fn api_service(object: &Value) -> ErrorList {
    let path = FieldPath::new("spec");
    let spec = object.get("spec").unwrap_or(&Value::Null);
    let (group, version) = (tree::text(spec, &["group"]), tree::text(spec, &["version"]));
    let mut errors = ErrorList::new();
    let wanted = format!("{version}.{group}");
    if tree::name(object) != wanted {
        let why = format!("must be `spec.version+\".\"+spec.group`: \"{wanted}\"");
        let path = FieldPath::new("metadata.name");
        errors.push(FieldError::invalid(&path, tree::name(object), why));
    }
    if group.is_empty() {
        // The core group is version v1 alone.
        if version != "v1" {
            let why = "only v1 may have an empty group and it better be legacy kube";
            errors.push(FieldError::required(&path.child("group"), why));
        }
    } else {
        let reasons = names::dns1123_subdomain(group, false);
        errors.extend(joined(&path.child("group"), group, &reasons, ""));
    }
    let reasons = names::dns1035_label(version, false);
    errors.extend(joined(&path.child("version"), version, &reasons, ""));
    for (field, max) in [("groupPriorityMinimum", 20_000), ("versionPriority", 1000)] {
        let number = tree::int(spec, &[field]).unwrap_or(0);
        if !(1..=max).contains(&number) {
            let why = if field == "versionPriority" {
                "must be positive and less than 1000"
            } else {
                "must be positive and less than 20000"
            };
            errors.push(FieldError::invalid(&path.child(field), number, why));
        }
    }
    let Some(service) = tree::at(spec, &["service"]) else {
        for (field, set) in [
            ("caBundle", !tree::text(spec, &["caBundle"]).is_empty()),
            (
                "insecureSkipTLSVerify",
                tree::flag(spec, &["insecureSkipTLSVerify"]),
            ),
        ] {
            if set {
                let why = "local APIServices may not have a caBundle";
                let why = if field == "caBundle" {
                    why
                } else {
                    "local APIServices may not have insecureSkipTLSVerify"
                };
                let shown = spec[field].clone();
                errors.push(FieldError::invalid(&path.child(field), shown, why));
            }
        }
        return errors;
    };
    for field in ["namespace", "name"] {
        errors.extend(check::required(service, field, &path.child("service")));
    }
    if tree::flag(spec, &["insecureSkipTLSVerify"]) && !tree::text(spec, &["caBundle"]).is_empty() {
        let why = "may not be true if caBundle is present";
        errors.push(FieldError::invalid(
            &path.child("insecureSkipTLSVerify"),
            true,
            why,
        ));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn texts(errors: ErrorList) -> Vec<String> {
        errors.into_iter().map(|error| error.to_string()).collect()
    }

    fn crontabs() -> Value {
        let mut object = json!({"metadata": {"name": "crontabs.example.com"}, "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "crontabs", "kind": "CronTab"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "subresources": {"scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "properties": {"list": {"type": "array", "items": {"type": "string"}},
                        "any": {"x-kubernetes-preserve-unknown-fields": true},
                        "map": {"type": "object", "additionalProperties": {"type": "integer"}},
                        "port": {"x-kubernetes-int-or-string": true}}}}}}}]}});
        crate::defaults::apply("apiextensions.k8s.io", "customresourcedefinitions", &mut object);
        object
    }

    #[test]
    fn problems_of_definitions_read_as_upstream() {
        assert_eq!(texts(create(&crontabs())), Vec::<String>::new());
        let schema = "/spec/versions/0/schema/openAPIV3Schema";
        let cases = [
            (
                "/metadata/name".to_owned(),
                json!("x"),
                "metadata.name: Invalid value: \"x\": must be spec.names.plural+\".\"+spec.group",
            ),
            (
                "/spec/scope".to_owned(),
                json!("Everywhere"),
                "spec.scope: Unsupported value: \"Everywhere\": supported values: \"Cluster\", \"Namespaced\"",
            ),
            (
                "/spec/versions/0/storage".to_owned(),
                json!(false),
                "spec.versions: Invalid value: [{",
            ),
            (
                "/spec/names/kind".to_owned(),
                json!("Cron_Tab"),
                "spec.names.kind: Invalid value: \"Cron_Tab\": may have mixed case, but should otherwise match: a DNS-1035 label",
            ),
            (
                format!("{schema}/type"),
                json!(""),
                "spec.validation.openAPIV3Schema.type: Required value: must not be empty at the root",
            ),
            (
                format!("{schema}/properties/spec/properties/list/items"),
                json!(null),
                "spec.validation.openAPIV3Schema.properties[spec].properties[list].items: Required value: must be specified",
            ),
            (
                format!("{schema}/properties/spec/properties/list/items/type"),
                json!(""),
                "spec.validation.openAPIV3Schema.properties[spec].properties[list].items.type: Required value: must not be empty for specified array items",
            ),
            (
                "/spec/versions/0/subresources/scale/specReplicasPath".to_owned(),
                json!(".replicas"),
                "spec.versions[0].subresources.scale.specReplicasPath: Invalid value: \".replicas\": should be a json path under .spec",
            ),
        ];
        for (pointer, value, expected) in cases {
            let mut object = crontabs();
            *object.pointer_mut(&pointer).unwrap() = value;
            let errors = texts(create(&object));
            assert_eq!(errors.len(), 1, "{pointer}: {errors:?}");
            assert!(errors[0].starts_with(expected), "{pointer}: {}", errors[0]);
        }
    }

    #[test]
    fn an_established_definition_keeps_what_its_objects_are_stored_by() {
        let mut old = crontabs();
        old["status"] = json!({"storedVersions": ["v1"],
            "conditions": [{"type": "Established", "status": "True"}]});
        let mut new = old.clone();
        new["spec"]["scope"] = json!("Cluster");
        new["spec"]["versions"][0]["name"] = json!("v2");
        assert_eq!(
            texts(update(&new, &old)),
            [
                "spec.scope: Invalid value: \"Cluster\": field is immutable",
                "status.storedVersions[0]: Invalid value: \"v1\": must appear in spec.versions",
            ]
        );
    }
}
