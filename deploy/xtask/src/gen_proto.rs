//! Writes the `.proto` files of the wire contracts from tables of published facts.
//!
//! Input: a folder with `etcd-v3.json` (package → message → `[number, name, type, oneof?]`) and
//! `cri-v1.json` (`messages`, `enums`, `services`). Output: `proto/etcd/*.proto`, `proto/cri/*.proto`.
//! Field and message names are the interface itself; nothing else is carried over.

use anyhow::Context as _;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

pub fn run(facts: &Path, root: &Path) -> anyhow::Result<()> {
    etcd(&facts.join("etcd-v3.json"), &root.join("proto/etcd"))?;
    cri(&facts.join("cri-v1.json"), &root.join("proto/cri"))
}

fn read(path: &Path) -> anyhow::Result<Map<String, Value>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    Ok(serde_json::from_str(&text)?)
}

/// Imports between etcd's packages, by the first segment of a qualified type.
fn etcd(source: &Path, out: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(out)?;
    let packages = read(source)?;
    let owners: BTreeMap<&str, &str> = packages
        .iter()
        .flat_map(|(p, v)| {
            v.as_object()
                .into_iter()
                .flatten()
                .map(move |(name, _)| (name.as_str(), p.as_str()))
        })
        .filter(|(name, _)| !name.contains(' '))
        .fold(BTreeMap::new(), |mut m, (n, p)| {
            m.entry(n).or_insert(p);
            m
        });
    for (package, items) in &packages {
        let items = items.as_object().context("a package is a table")?;
        let mut messages = BTreeMap::new();
        let mut enums = BTreeMap::new();
        let mut services = BTreeMap::new();
        for (name, body) in items {
            if let Some(n) = name.strip_prefix("enum ") {
                enums.insert(n.to_owned(), body.clone());
            } else if let Some(n) = name.strip_prefix("service ") {
                services.insert(n.to_owned(), body.clone());
            } else {
                messages.insert(name.clone(), body.clone());
            }
        }
        let text = file(package, &messages, &enums, &services, &|ty| {
            if ty.contains('.') || items.contains_key(ty) || items.contains_key(&format!("enum {ty}")) {
                return ty.to_owned();
            }
            match owners.get(ty) {
                Some(owner) if owner != package => format!("{owner}.{ty}"),
                _ => ty.to_owned(),
            }
        })?;
        std::fs::write(out.join(format!("{package}.proto")), text)?;
    }
    Ok(())
}

fn cri(source: &Path, out: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(out)?;
    let facts = read(source)?;
    let part = |key: &str| -> anyhow::Result<BTreeMap<String, Value>> {
        let table = facts
            .get(key)
            .and_then(Value::as_object)
            .with_context(|| format!("no {key}"))?;
        Ok(table.iter().map(|(k, v)| (k.clone(), v.clone())).collect())
    };
    let text = file(
        "runtime.v1",
        &part("messages")?,
        &part("enums")?,
        &part("services")?,
        &|ty| ty.to_owned(),
    )?;
    std::fs::write(out.join("runtime.proto"), text)?;
    Ok(())
}

fn file(
    package: &str,
    messages: &BTreeMap<String, Value>,
    enums: &BTreeMap<String, Value>,
    services: &BTreeMap<String, Value>,
    resolve: &dyn Fn(&str) -> String,
) -> anyhow::Result<String> {
    let mut body = String::new();
    let mut imports = BTreeSet::new();
    for (name, values) in enums.iter().filter(|(n, _)| !n.contains('.')) {
        write_enum(&mut body, "", name, values)?;
    }
    for (name, fields) in messages.iter().filter(|(n, _)| !n.contains('.')) {
        writeln!(body, "message {name} {{")?;
        let prefix = format!("{name}.");
        for (inner, values) in enums.iter().filter(|(n, _)| n.starts_with(&prefix)) {
            write_enum(&mut body, "  ", &inner[prefix.len()..], values)?;
        }
        let mut open: Option<String> = None;
        for field in fields.as_array().context("a message is a list of fields")? {
            let number = field[0].as_i64().context("field number")?;
            let field_name = field[1].as_str().context("field name")?;
            let ty = field[2].as_str().context("field type")?;
            let oneof = field
                .get(3)
                .and_then(Value::as_str)
                .and_then(|s| s.strip_prefix("oneof "));
            if open.as_deref() != oneof {
                if open.is_some() {
                    writeln!(body, "  }}")?;
                }
                if let Some(o) = oneof {
                    writeln!(body, "  oneof {o} {{")?;
                }
                open = oneof.map(str::to_owned);
            }
            let (repeated, bare) = match ty.strip_prefix("repeated ") {
                Some(b) => ("repeated ", b),
                None => ("", ty),
            };
            let resolved = resolve(bare);
            if !bare.starts_with("map<")
                && let Some((owner, _)) = resolved.split_once('.')
                && owner != package
                && owner.ends_with("pb")
            {
                imports.insert(owner.to_owned());
            }
            writeln!(body, "  {repeated}{resolved} {field_name} = {number};")?;
        }
        if open.is_some() {
            writeln!(body, "  }}")?;
        }
        writeln!(body, "}}\n")?;
    }
    for (name, methods) in services {
        writeln!(body, "service {name} {{")?;
        for (method, shape) in methods.as_object().context("a service is a table")? {
            let shape = shape.as_str().context("method shape")?;
            let shape = resolve_shape(shape, resolve, &mut imports, package);
            writeln!(body, "  rpc {method}{shape};")?;
        }
        writeln!(body, "}}\n")?;
    }
    let mut text =
        String::from("// Written by `cargo xtask gen-proto`; do not edit.\nsyntax = \"proto3\";\n");
    writeln!(text, "package {package};\n")?;
    for import in imports {
        writeln!(text, "import \"{import}.proto\";")?;
    }
    text.push('\n');
    text.push_str(&body);
    Ok(text)
}

fn resolve_shape(
    shape: &str,
    resolve: &dyn Fn(&str) -> String,
    imports: &mut BTreeSet<String>,
    package: &str,
) -> String {
    shape
        .split(' ')
        .map(|word| {
            if word.is_empty() || matches!(word, "(" | ")" | "stream" | "returns") {
                return word.to_owned();
            }
            let resolved = resolve(word);
            if let Some((owner, _)) = resolved.split_once('.')
                && owner != package
            {
                imports.insert(owner.to_owned());
            }
            resolved
        })
        .collect::<Vec<_>>()
        .join(" ")
}

fn write_enum(out: &mut String, indent: &str, name: &str, values: &Value) -> anyhow::Result<()> {
    let values = values.as_object().context("an enum is a table")?;
    let mut entries: Vec<(i64, &str)> = values
        .iter()
        .map(|(k, v)| (v.as_i64().unwrap_or(0), k.as_str()))
        .collect();
    entries.sort_unstable();
    let distinct = entries.iter().map(|e| e.0).collect::<BTreeSet<_>>().len();
    writeln!(out, "{indent}enum {name} {{")?;
    if distinct != entries.len() {
        writeln!(out, "{indent}  option allow_alias = true;")?;
    }
    for (number, key) in entries {
        writeln!(out, "{indent}  {key} = {number};")?;
    }
    writeln!(out, "{indent}}}\n")?;
    Ok(())
}
