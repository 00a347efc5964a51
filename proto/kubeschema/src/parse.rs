//! Parses the embedded schema table, once.
//!
//! One line each, written by `cargo xtask gen-kubeschema`:
//!
//! ```text
//! @core.v1.Container [atomic]             a message
//! =apps/v1/Deployment                     a kind it stands for (group may be empty)
//! %{"discriminator":"type",…}             a union
//! 2 * core.v1.VolumeSource                field 2, spread into the parent in JSON
//! 6 ports []core.v1.ContainerPort lt=map:containerPort,protocol ps=merge pk=containerPort
//! ```
//!
//! Types: `s` string, `i` int32, `l` int64, `b` bool, `d` double, `y` bytes, `q` quantity, `x`
//! int-or-string, `t` time, `u` micro-time, `D` duration, `r` raw extension, `f` managed-fields set, `j`
//! any JSON, `A`/`B`/`S` a JSON schema or array/bool/strings, `w` wrapped list of strings, `[]T`, `{}T`,
//! or a message name. Marks: `?` optional, `!` always written.

use crate::schema::{
    AnyKind, Field, GroupVersionKind, ListKind, Name, Presence, Scalar, Strategy, Table, Type, TypeDef,
    TypeId, Wire, WireTarget,
};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::OnceLock;

static SCHEMA: &str = include_str!("../data/schema.txt");

/// The table of the built-in kinds.
pub fn builtin() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| parse(SCHEMA))
}

/// The text is ours and covered by tests: a line that does not parse is skipped.
fn parse(text: &'static str) -> Table {
    let ids: BTreeMap<&'static str, TypeId> = text
        .lines()
        .filter_map(|line| line.strip_prefix('@'))
        .enumerate()
        .map(|(i, line)| (line.split(' ').next().unwrap_or(line), TypeId(i as u32)))
        .collect();
    let mut table = Table::default();
    let mut current: Option<TypeDef> = None;
    for line in text.lines() {
        if let Some(header) = line.strip_prefix('@') {
            if let Some(done) = current.take() {
                table.push(done);
            }
            let (name, rest) = header.split_once(' ').unwrap_or((header, ""));
            current = Some(TypeDef {
                name: Cow::Borrowed(name),
                atomic: rest == "atomic",
                ..TypeDef::default()
            });
        } else if let Some(def) = current.as_mut() {
            parse_line(def, line, &ids);
        }
    }
    if let Some(done) = current {
        table.push(done);
    }
    finish(&mut table);
    table
}

fn parse_line(def: &mut TypeDef, line: &'static str, ids: &BTreeMap<&'static str, TypeId>) {
    if let Some(kind) = line.strip_prefix('=') {
        let mut parts = kind.split('/');
        if let (Some(group), Some(version), Some(kind)) = (parts.next(), parts.next(), parts.next()) {
            def.kinds.push(GroupVersionKind::new(group, version, kind));
        }
        return;
    }
    if let Some(union) = line.strip_prefix('%') {
        def.unions.extend(serde_json::from_str(union));
        return;
    }
    let mut words = line.split(' ');
    let (Some(number), Some(json), Some(ty)) = (words.next(), words.next(), words.next()) else {
        return;
    };
    let Ok(number) = number.parse() else { return };
    if json == "*" {
        if let Some(id) = ids.get(ty) {
            def.wire.push(Wire {
                number,
                target: WireTarget::Inline(*id),
            });
        }
        return;
    }
    let Some(ty) = parse_type(ty, ids) else { return };
    let mut field = Field {
        json: Cow::Borrowed(json),
        ty,
        presence: Presence::NonZero,
        strategy: Strategy::default(),
        merge_key: None,
        default: None,
    };
    for word in words {
        parse_mark(&mut field, word);
    }
    def.wire.push(Wire {
        number,
        target: WireTarget::Field(def.fields.len()),
    });
    def.fields.push(field);
}

fn parse_mark(field: &mut Field, word: &'static str) {
    match word.split_once('=') {
        None if word == "?" => field.presence = Presence::Optional,
        None if word == "!" => field.presence = Presence::Always,
        Some(("lt", text)) => {
            let (name, names) = text.split_once(':').unwrap_or((text, ""));
            if let Type::List { kind, keys, .. } = &mut field.ty {
                *kind = match name {
                    "set" => ListKind::Set,
                    "map" => ListKind::Map,
                    _ => ListKind::Atomic,
                };
                *keys = names
                    .split(',')
                    .filter(|k| !k.is_empty())
                    .map(Name::Borrowed)
                    .collect();
            }
        }
        Some(("mt", "atomic")) => match &mut field.ty {
            Type::Map { atomic, .. } | Type::Object { atomic, .. } => *atomic = true,
            _ => {}
        },
        Some(("ps", text)) => {
            field.strategy = Strategy {
                merge: text.split(',').any(|s| s == "merge"),
                replace: text.split(',').any(|s| s == "replace"),
                retain_keys: text.split(',').any(|s| s == "retainKeys"),
            };
        }
        Some(("pk", key)) => field.merge_key = Some(Cow::Borrowed(key)),
        Some(("df", json)) => field.default = serde_json::from_str(json).ok(),
        _ => {}
    }
}

fn parse_type(text: &'static str, ids: &BTreeMap<&'static str, TypeId>) -> Option<Type> {
    if let Some(item) = text.strip_prefix("[]") {
        return Some(list(parse_type(item, ids)?, false));
    }
    if let Some(value) = text.strip_prefix("{}") {
        let value = Box::new(parse_type(value, ids)?);
        return Some(Type::Map { value, atomic: false });
    }
    Some(match text {
        "s" => Type::Scalar(Scalar::String),
        "i" => Type::Scalar(Scalar::Int32),
        "l" => Type::Scalar(Scalar::Int64),
        "b" => Type::Scalar(Scalar::Bool),
        "d" => Type::Scalar(Scalar::Double),
        "y" => Type::Scalar(Scalar::Bytes),
        "q" => Type::Scalar(Scalar::Quantity),
        "x" => Type::Scalar(Scalar::IntOrString),
        "t" => Type::Scalar(Scalar::Time),
        "u" => Type::Scalar(Scalar::MicroTime),
        "D" => Type::Scalar(Scalar::Duration),
        "r" => Type::Any(AnyKind::RawExtension),
        "f" => Type::Any(AnyKind::FieldsV1),
        "j" => Type::Any(AnyKind::Json),
        "A" => Type::Any(AnyKind::SchemaOrArray),
        "B" => Type::Any(AnyKind::SchemaOrBool),
        "S" => Type::Any(AnyKind::SchemaOrStrings),
        "w" => list(Type::Scalar(Scalar::String), true),
        name => Type::Object {
            id: *ids.get(name)?,
            atomic: false,
        },
    })
}

fn list(item: Type, wrapped: bool) -> Type {
    Type::List {
        item: Box::new(item),
        kind: ListKind::Atomic,
        keys: Vec::new(),
        wrapped,
    }
}

/// Spreads in-lined messages, sorts both views, and gives kinds their `apiVersion` and `kind`.
fn finish(table: &mut Table) {
    for i in 0..table.types.len() {
        let spread = spread_fields(&table.types, i, 0);
        let def = &mut table.types[i];
        let own = def.fields.len();
        def.fields.extend(spread.into_iter().skip(own));
        if !def.kinds.is_empty() {
            def.resource = true;
        }
        for name in ["apiVersion", "kind"] {
            let known = def.fields.iter().any(|f| f.json == name);
            if def.resource && !known {
                def.fields.push(Field {
                    json: Cow::Borrowed(name),
                    ty: Type::Scalar(Scalar::String),
                    presence: Presence::NonZero,
                    strategy: Strategy::default(),
                    merge_key: None,
                    default: None,
                });
            }
        }
    }
    for def in &mut table.types {
        let names: Vec<Name> = def.fields.iter().map(|f| f.json.clone()).collect();
        def.fields.sort_by(|a, b| a.json.cmp(&b.json));
        for wire in &mut def.wire {
            if let WireTarget::Field(at) = &mut wire.target {
                let sorted = def.fields.binary_search_by(|f| f.json.cmp(&names[*at]));
                *at = sorted.unwrap_or_default();
            }
        }
        def.wire.sort_by_key(|w| w.number);
    }
}

/// A type's own fields, then those of the messages it in-lines. Run before sorting, so that a type that
/// was already spread is not spread twice: only its own and nested wire entries are followed.
fn spread_fields(types: &[TypeDef], at: usize, depth: usize) -> Vec<Field> {
    let def = &types[at];
    let own = def.wire.iter().filter_map(|w| match w.target {
        WireTarget::Field(i) => def.fields.get(i).cloned(),
        WireTarget::Inline(_) => None,
    });
    let mut fields: Vec<Field> = own.collect();
    if depth < 4 {
        for wire in &def.wire {
            if let WireTarget::Inline(id) = wire.target {
                fields.extend(spread_fields(types, id.0 as usize, depth + 1));
            }
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Shape;

    #[test]
    fn every_line_of_the_table_is_understood() {
        let lines = SCHEMA
            .lines()
            .filter(|l| l.starts_with(|c: char| c.is_ascii_digit()))
            .count();
        let wires: usize = builtin().types.iter().map(|t| t.wire.len()).sum();
        assert_eq!(wires, lines);
    }

    #[test]
    fn a_containers_ports_are_a_map_list_with_two_keys() {
        let pod = crate::schema_for("", "v1", "Pod").expect("a kind");
        let containers = pod
            .field("spec")
            .and_then(|s| s.field("containers"))
            .expect("a field");
        let ports = containers.item().and_then(|c| c.field("ports")).expect("a field");
        let Shape::List { kind, keys, .. } = ports.shape() else {
            panic!("a list")
        };
        assert_eq!(kind, ListKind::Map);
        assert_eq!(keys, ["containerPort", "protocol"]);
        assert_eq!(containers.go_type(), "[]v1.Container");
    }

    #[test]
    fn inlined_messages_are_spread_in_json() {
        let table = builtin();
        for (name, field) in [
            ("core.v1.Volume", "emptyDir"),
            ("core.v1.Probe", "httpGet"),
            ("core.v1.PersistentVolumeSpec", "csi"),
            ("core.v1.SecretKeySelector", "name"),
            ("core.v1.EphemeralContainer", "image"),
            ("networking.v1.IngressRule", "http"),
            ("admissionregistration.v1.NamedRuleWithOperations", "apiGroups"),
            ("admissionregistration.v1.NamedRuleWithOperations", "operations"),
        ] {
            let schema = table.schema_named(name).expect(name);
            assert!(schema.field(field).is_some(), "{name}.{field}");
        }
    }
}
