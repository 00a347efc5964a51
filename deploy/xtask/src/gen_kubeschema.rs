//! Writes the tables that `kubeschema` embeds, from tables of published interface facts.
//!
//! Input: a folder with `discovery-1.36.json`, `schema-extensions-1.36.json`,
//! `kubernetes-protobuf-1.36.json`, `startup-objects-1.36.json`, and the project's own
//! `proto/kubeschema/data/presence.txt`. Output: `schema.txt`, `discovery.txt` and `startup.json` in
//! that same folder; the formats are described in `kubeschema`'s `table.rs` and `discovery.rs`.

use anyhow::{Context as _, bail};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

/// Packages of group-versions that are served by default, or appear in requests and responses.
const PACKAGES: [(&str, &str); 24] = [
    ("admission.v1", "admission.k8s.io"),
    ("admissionregistration.v1", "admissionregistration.k8s.io"),
    ("apiextensions.v1", "apiextensions.k8s.io"),
    ("apiregistration.v1", "apiregistration.k8s.io"),
    ("apps.v1", "apps"),
    ("authentication.v1", "authentication.k8s.io"),
    ("authorization.v1", "authorization.k8s.io"),
    ("autoscaling.v1", "autoscaling"),
    ("autoscaling.v2", "autoscaling"),
    ("batch.v1", "batch"),
    ("certificates.v1", "certificates.k8s.io"),
    ("coordination.v1", "coordination.k8s.io"),
    ("core.v1", ""),
    ("discovery.v1", "discovery.k8s.io"),
    ("events.v1", "events.k8s.io"),
    ("flowcontrol.v1", "flowcontrol.apiserver.k8s.io"),
    ("meta.v1", "meta.k8s.io"),
    ("networking.v1", "networking.k8s.io"),
    ("node.v1", "node.k8s.io"),
    ("policy.v1", "policy"),
    ("rbac.v1", "rbac.authorization.k8s.io"),
    ("resource.v1", "resource.k8s.io"),
    ("scheduling.v1", "scheduling.k8s.io"),
    ("storage.v1", "storage.k8s.io"),
];

/// Fields that are one message on the wire and spread into their parent in JSON.
const INLINE: [(&str, &str); 17] = [
    (
        "admissionregistration.v1.NamedRuleWithOperations",
        "ruleWithOperations",
    ),
    ("admissionregistration.v1.RuleWithOperations", "rule"),
    ("core.v1.ConfigMapEnvSource", "localObjectReference"),
    ("core.v1.ConfigMapKeySelector", "localObjectReference"),
    ("core.v1.ConfigMapProjection", "localObjectReference"),
    ("core.v1.ConfigMapVolumeSource", "localObjectReference"),
    ("core.v1.EphemeralContainer", "ephemeralContainerCommon"),
    ("core.v1.PersistentVolumeSpec", "persistentVolumeSource"),
    ("core.v1.Probe", "handler"),
    ("core.v1.SecretEnvSource", "localObjectReference"),
    ("core.v1.SecretKeySelector", "localObjectReference"),
    ("core.v1.SecretProjection", "localObjectReference"),
    ("core.v1.Volume", "volumeSource"),
    ("networking.v1.IngressRule", "ingressRuleValue"),
    ("resource.v1.DeviceAllocationConfiguration", "deviceConfiguration"),
    ("resource.v1.DeviceClaimConfiguration", "deviceConfiguration"),
    ("resource.v1.DeviceClassConfiguration", "deviceConfiguration"),
];

/// Wire names that are spelled differently in JSON. An empty type means "in every message".
const RENAMED: [(&str, &str, &str); 15] = [
    ("", "Webhooks", "webhooks"),
    ("admissionregistration.v1.Validation", "Expression", "expression"),
    ("admissionregistration.v1.Variable", "Name", "name"),
    ("admissionregistration.v1.Variable", "Expression", "expression"),
    ("authentication.v1.BoundObjectReference", "uID", "uid"),
    (
        "networking.v1.IngressClassParametersReference",
        "aPIGroup",
        "apiGroup",
    ),
    ("apiextensions.v1.JSONSchemaProps", "schema", "$schema"),
    ("apiextensions.v1.JSONSchemaProps", "ref", "$ref"),
    (
        "",
        "xKubernetesPreserveUnknownFields",
        "x-kubernetes-preserve-unknown-fields",
    ),
    (
        "",
        "xKubernetesEmbeddedResource",
        "x-kubernetes-embedded-resource",
    ),
    ("", "xKubernetesIntOrString", "x-kubernetes-int-or-string"),
    ("", "xKubernetesListMapKeys", "x-kubernetes-list-map-keys"),
    ("", "xKubernetesListType", "x-kubernetes-list-type"),
    ("", "xKubernetesMapType", "x-kubernetes-map-type"),
    ("", "xKubernetesValidations", "x-kubernetes-validations"),
];

/// Keys of map lists that have a default, as JSON.
const DEFAULTS: [(&str, &str, &str); 3] = [
    ("core.v1.ContainerPort", "protocol", "\"TCP\""),
    ("core.v1.ServicePort", "protocol", "\"TCP\""),
    ("core.v1.LocalObjectReference", "name", "\"\""),
];

pub fn run(facts: &Path, root: &Path) -> anyhow::Result<()> {
    let data = root.join("proto/kubeschema/data");
    let presence = std::fs::read_to_string(data.join("presence.txt")).context("reading presence.txt")?;
    let schema = schema(
        &read(&facts.join("kubernetes-protobuf-1.36.json"))?,
        &read(&facts.join("schema-extensions-1.36.json"))?,
        &presence,
    )?;
    std::fs::write(data.join("schema.txt"), schema)?;
    std::fs::write(
        data.join("discovery.txt"),
        discovery(&read(&facts.join("discovery-1.36.json"))?)?,
    )?;
    let startup = Value::Object(read(&facts.join("startup-objects-1.36.json"))?);
    std::fs::write(data.join("startup.json"), serde_json::to_vec(&startup)?)?;
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<Map<String, Value>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    Ok(serde_json::from_str(&text)?)
}

/// `k8s.io.api.core.v1` and `io.k8s.api.core.v1` both become `core.v1`.
fn short(package: &str) -> String {
    let parts: Vec<&str> = package.rsplit('.').take(2).collect();
    format!("{}.{}", parts[1], parts[0])
}

fn schema(
    protobuf: &Map<String, Value>,
    extensions: &Map<String, Value>,
    presence: &str,
) -> anyhow::Result<String> {
    let mut messages: BTreeMap<String, &Value> = BTreeMap::new();
    for (package, body) in protobuf {
        let name = short(package);
        let known = PACKAGES.iter().any(|(p, _)| *p == name);
        if !known || package.contains(".metrics.") || package.contains("testapi") || package.contains("audit")
        {
            continue;
        }
        for (message, fields) in body.as_object().context("a package is a table")? {
            messages.insert(format!("{name}.{message}"), fields);
        }
    }
    let hints = table(extensions, "fields")?;
    let kinds = table(extensions, "gvk")?;
    let presence = read_presence(presence);
    let mut out = String::from("# Written by `cargo xtask gen-kubeschema`; do not edit.\n");
    let mut seen = BTreeSet::new();
    let mut used = BTreeSet::new();
    for (name, fields) in &messages {
        if special(name).is_some() {
            continue;
        }
        let definition = definition(name);
        let hints = hints.get(&definition).and_then(Value::as_object);
        let atomic = hints
            .and_then(|h| h.get("."))
            .is_some_and(|h| h.get("map-type").is_some());
        writeln!(out, "@{name}{}", if atomic { " atomic" } else { "" })?;
        for gvk in gvks(name, fields, kinds.get(&definition)) {
            if seen.insert(gvk.clone()) {
                writeln!(out, "={gvk}")?;
            }
        }
        for union in hints
            .and_then(|h| h.get(".")?.get("unions")?.as_array())
            .into_iter()
            .flatten()
        {
            writeln!(out, "%{}", serde_json::to_string(union)?)?;
        }
        for field in fields.as_array().context("a message is a list of fields")? {
            let (Some(number), Some(wire), Some(ty)) =
                (field[0].as_u64(), field[1].as_str(), field[2].as_str())
            else {
                bail!("{name}: a field is [number, name, type]");
            };
            let ty = field_type(name, ty);
            if ty.contains('.') {
                used.insert(ty.trim_start_matches(['[', ']', '{', '}']).to_owned());
            }
            if INLINE.contains(&(name.as_str(), wire)) {
                writeln!(out, "{number} * {ty}")?;
                continue;
            }
            let json = RENAMED
                .iter()
                .find(|(n, w, _)| (n.is_empty() || n == name) && *w == wire)
                .map_or(wire, |(_, _, json)| json);
            write!(out, "{number} {json} {ty}")?;
            if let Some(mark) = presence.get(&(name.as_str(), json)) {
                write!(out, " {mark}")?;
            }
            if let Some(hint) = hints.and_then(|h| h.get(json)).and_then(Value::as_object) {
                write_hints(&mut out, hint)?;
            }
            let default = DEFAULTS.iter().find(|(n, f, _)| n == name && *f == json);
            if let Some((_, _, default)) = default {
                write!(out, " df={default}")?;
            }
            out.push('\n');
        }
    }
    for name in used {
        if !messages.contains_key(&name) {
            bail!("{name} is used but not in the packages");
        }
    }
    Ok(out)
}

fn write_hints(out: &mut String, hint: &Map<String, Value>) -> anyhow::Result<()> {
    let text = |key: &str| hint.get(key).and_then(Value::as_str);
    if let Some(kind) = text("list-type") {
        let keys: Vec<&str> = hint
            .get("list-map-keys")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        write!(out, " lt={kind}")?;
        if !keys.is_empty() {
            write!(out, ":{}", keys.join(","))?;
        }
    }
    if let Some(kind) = text("map-type") {
        write!(out, " mt={kind}")?;
    }
    if let Some(strategy) = text("patch-strategy") {
        write!(out, " ps={strategy}")?;
    }
    if let Some(key) = text("patch-merge-key") {
        write!(out, " pk={key}")?;
    }
    Ok(())
}

fn table<'a>(facts: &'a Map<String, Value>, key: &str) -> anyhow::Result<&'a Map<String, Value>> {
    facts
        .get(key)
        .and_then(Value::as_object)
        .with_context(|| format!("no {key}"))
}

fn read_presence(text: &str) -> BTreeMap<(&str, &str), char> {
    let mut marks = BTreeMap::new();
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        let mut words = line.split(' ');
        let Some(name) = words.next() else { continue };
        for word in words {
            if let Some(mark) = word.chars().next() {
                marks.insert((name, &word[mark.len_utf8()..]), mark);
            }
        }
    }
    marks
}

fn definition(name: &str) -> String {
    match name.split('.').next() {
        Some("meta") => format!("io.k8s.apimachinery.pkg.apis.{name}"),
        Some("apiextensions") => format!("io.k8s.apiextensions-apiserver.pkg.apis.{name}"),
        Some("apiregistration") => format!("io.k8s.kube-aggregator.pkg.apis.{name}"),
        _ => format!("io.k8s.api.{name}"),
    }
}

/// Kinds a message stands for: those of the published definitions, and every other top-level message.
fn gvks(name: &str, fields: &Value, known: Option<&Value>) -> Vec<String> {
    let mut kinds: Vec<String> = known
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(|text| {
            if text.matches('/').count() == 1 {
                format!("/{text}")
            } else {
                text.to_owned()
            }
        })
        .collect();
    let has_meta = fields.as_array().into_iter().flatten().any(|f| {
        f[1] == "metadata"
            && f[2]
                .as_str()
                .is_some_and(|t| t.ends_with("ObjectMeta") || t.ends_with("ListMeta"))
    });
    let nested = ["Template", "TemplateSpec"].iter().any(|s| name.ends_with(s))
        && !["core.v1.PodTemplate", "resource.v1.ResourceClaimTemplate"].contains(&name);
    let options = name.ends_with("Options") || name == "admission.v1.AdmissionReview";
    if (has_meta && !nested) || options {
        let (package, kind) = name.rsplit_once('.').unwrap_or(("", name));
        let version = package.rsplit('.').next().unwrap_or_default();
        let group = PACKAGES
            .iter()
            .find(|(p, _)| *p == package)
            .map_or("", |(_, g)| g);
        kinds.push(format!("{group}/{version}/{kind}"));
        if package == "meta.v1" {
            kinds.push(format!("/v1/{kind}"));
        }
    }
    kinds.sort();
    kinds.dedup();
    kinds
}

/// Types with an own form in JSON, as one letter (see `kubeschema::table`).
fn special(name: &str) -> Option<&'static str> {
    Some(match name {
        "meta.v1.Time" | "meta.v1.Timestamp" => "t",
        "meta.v1.MicroTime" => "u",
        "meta.v1.Duration" => "D",
        "meta.v1.FieldsV1" => "f",
        "meta.v1.Verbs"
        | "authentication.v1.ExtraValue"
        | "authorization.v1.ExtraValue"
        | "certificates.v1.ExtraValue" => "w",
        "api.resource.Quantity" => "q",
        "util.intstr.IntOrString" => "x",
        "pkg.runtime.RawExtension" => "r",
        "apiextensions.v1.JSON" => "j",
        "apiextensions.v1.JSONSchemaPropsOrArray" => "A",
        "apiextensions.v1.JSONSchemaPropsOrBool" => "B",
        "apiextensions.v1.JSONSchemaPropsOrStringArray" => "S",
        _ => return None,
    })
}

fn field_type(owner: &str, ty: &str) -> String {
    if let Some(item) = ty.strip_prefix("repeated ") {
        return format!("[]{}", field_type(owner, item));
    }
    if let Some(value) = ty.strip_prefix("map<string,").and_then(|t| t.strip_suffix('>')) {
        return format!("{{}}{}", field_type(owner, value));
    }
    let letter = match ty {
        "string" => "s",
        "int32" => "i",
        "int64" => "l",
        "bool" => "b",
        "double" => "d",
        "bytes" => "y",
        _ => "",
    };
    if !letter.is_empty() {
        return letter.to_owned();
    }
    let full = match ty.strip_prefix('.') {
        Some(absolute) => {
            let (package, message) = absolute.rsplit_once('.').unwrap_or(("", absolute));
            format!("{}.{message}", short(package))
        }
        None => {
            let package = owner.rsplit_once('.').map_or("", |(p, _)| p);
            format!("{package}.{ty}")
        }
    };
    special(&full).map_or(full, str::to_owned)
}

fn discovery(facts: &Map<String, Value>) -> anyhow::Result<String> {
    let mut out = String::from("# Written by `cargo xtask gen-kubeschema`; do not edit.\n");
    for part in ["api", "apis"] {
        for group in facts[part]["items"].as_array().context("groups")? {
            writeln!(
                out,
                "G {}",
                group["metadata"]["name"].as_str().unwrap_or_default()
            )?;
            for version in group["versions"].as_array().context("versions")? {
                writeln!(out, "V {}", version["version"].as_str().context("version")?)?;
                for resource in version["resources"].as_array().context("resources")? {
                    write_resource(&mut out, resource)?;
                }
            }
        }
    }
    Ok(out.replace("G \n", "G\n"))
}

fn write_resource(out: &mut String, resource: &Value) -> anyhow::Result<()> {
    let text = |v: &Value| v.as_str().map(str::to_owned).context("a text");
    let list = |v: &Value| -> String {
        let words: Vec<&str> = v
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        if words.is_empty() {
            "-".to_owned()
        } else {
            words.join(",")
        }
    };
    writeln!(
        out,
        "R {} {} {} {} {} {} {}",
        text(&resource["resource"])?,
        text(&resource["singularResource"])?,
        text(&resource["responseKind"]["kind"])?,
        if resource["scope"] == "Namespaced" {
            "N"
        } else {
            "C"
        },
        list(&resource["verbs"]),
        list(&resource["shortNames"]),
        list(&resource["categories"]),
    )?;
    for sub in resource["subresources"].as_array().into_iter().flatten() {
        let kind = &sub["responseKind"];
        let own = match (kind["group"].as_str(), kind["version"].as_str()) {
            (Some(group), Some(version)) if !version.is_empty() => format!("{group}/{version}"),
            _ => "-".to_owned(),
        };
        writeln!(
            out,
            "S {} {} {own} {}",
            text(&sub["subresource"])?,
            text(&kind["kind"])?,
            list(&sub["verbs"])
        )?;
    }
    Ok(())
}
