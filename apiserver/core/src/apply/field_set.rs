//! Sets of field paths, and their `FieldsV1` form.
//!
//! A set is a tree: the members of a level and the sets below its elements. `f:name` is a field, `k:{…}` an item of
//! a list by its keys, `v:…` an item of a set by its value, `i:…` an item by index; `.` says that an element with
//! children is a member itself.
//!
//! Follows `structured-merge-diff/v6/fieldpath/{set,serialize}.go`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use kubeschema::Shape;
use serde_json::{Map, Value};

use super::typed::Node;

/// Nesting beyond this is refused when a set is read.
const MAX_DEPTH: usize = 100;

/// One step of a path. Keys and values are kept as their JSON text, keys in the order of their names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PathElement {
    Field(String),
    Key(String),
    Value(String),
    Index(i64),
}

impl PathElement {
    fn from_text(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        Some(match kind {
            "f" => Self::Field(rest.to_owned()),
            "k" => {
                let keys: Value = serde_json::from_str(rest).ok().filter(Value::is_object)?;
                Self::Key(sorted(keys).to_string())
            }
            "v" => Self::Value(serde_json::from_str::<Value>(rest).ok()?.to_string()),
            "i" => Self::Index(rest.parse().ok()?),
            _ => return None,
        })
    }

    fn to_text(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Key(json) => format!("k:{json}"),
            Self::Value(json) => format!("v:{json}"),
            Self::Index(i) => format!("i:{i}"),
        }
    }
}

/// The same object with its names in order, whatever map the JSON library is built with.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => map.into_iter().collect::<BTreeMap<_, _>>().into_iter().collect(),
        other => other,
    }
}

impl fmt::Display for PathElement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Key(json) => {
                let keys: Map<String, Value> = serde_json::from_str(json).unwrap_or_default();
                let parts: Vec<String> = keys.iter().map(|(k, v)| format!("{k}={v}")).collect();
                write!(f, "[{}]", parts.join(","))
            }
            Self::Value(json) => write!(f, "[={json}]"),
            Self::Index(i) => write!(f, "[{i}]"),
        }
    }
}

/// A set of paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSet {
    members: BTreeSet<PathElement>,
    children: BTreeMap<PathElement, FieldSet>,
}

impl FieldSet {
    /// Reads a `FieldsV1` tree.
    pub fn from_value(value: &Value) -> Option<Self> {
        Self::read(value, 0)
    }

    fn read(value: &Value, depth: usize) -> Option<Self> {
        let mut set = Self::default();
        if depth > MAX_DEPTH {
            return None;
        }
        for (key, below) in value.as_object()? {
            if key == "." {
                continue;
            }
            let element = PathElement::from_text(key)?;
            let below_map = below.as_object()?;
            if below_map.is_empty() || below_map.contains_key(".") {
                set.members.insert(element.clone());
            }
            let child = Self::read(below, depth + 1)?;
            if !child.is_empty() {
                set.children.insert(element, child);
            }
        }
        Some(set)
    }

    /// The `FieldsV1` tree.
    pub fn to_value(&self) -> Value {
        let mut map = Map::new();
        for (element, child) in &self.children {
            let mut below = child.to_value();
            if let (Value::Object(below), true) = (&mut below, self.members.contains(element)) {
                below.insert(".".to_owned(), Value::Object(Map::new()));
            }
            map.insert(element.to_text(), below);
        }
        for element in &self.members {
            map.entry(element.to_text())
                .or_insert_with(|| Value::Object(Map::new()));
        }
        Value::Object(map)
    }

    /// A set with the given paths of plain fields.
    pub fn of_fields(paths: &[&[&str]]) -> Self {
        let mut set = Self::default();
        for path in paths {
            let path: Vec<PathElement> = path.iter().map(|f| PathElement::Field((*f).to_owned())).collect();
            set.insert(&path);
        }
        set
    }

    pub fn insert(&mut self, path: &[PathElement]) {
        match path {
            [] => {}
            [last] => {
                self.members.insert(last.clone());
            }
            [first, rest @ ..] => self.children.entry(first.clone()).or_default().insert(rest),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty() && self.children.values().all(Self::is_empty)
    }

    pub fn has_member(&self, element: &PathElement) -> bool {
        self.members.contains(element)
    }

    /// The set below an element.
    pub fn below(&self, element: &PathElement) -> Option<&Self> {
        self.children.get(element).filter(|set| !set.is_empty())
    }

    pub fn union(&self, other: &Self) -> Self {
        let mut out = self.clone();
        out.members.extend(other.members.iter().cloned());
        for (element, set) in &other.children {
            let slot = out.children.entry(element.clone()).or_default();
            *slot = slot.union(set);
        }
        out
    }

    pub fn intersection(&self, other: &Self) -> Self {
        Self {
            members: self.members.intersection(&other.members).cloned().collect(),
            children: self
                .children
                .iter()
                .filter_map(|(element, set)| {
                    let common = set.intersection(other.children.get(element)?);
                    (!common.is_empty()).then(|| (element.clone(), common))
                })
                .collect(),
        }
    }

    /// Without the paths of `other`; what is below them stays.
    pub fn difference(&self, other: &Self) -> Self {
        Self {
            members: self.members.difference(&other.members).cloned().collect(),
            children: self
                .children
                .iter()
                .filter_map(|(element, set)| {
                    let rest = match other.children.get(element) {
                        Some(taken) => set.difference(taken),
                        None => set.clone(),
                    };
                    (!rest.is_empty()).then(|| (element.clone(), rest))
                })
                .collect(),
        }
    }

    /// Without the paths of `other` and everything below them.
    pub fn recursive_difference(&self, other: &Self) -> Self {
        Self {
            members: self.members.difference(&other.members).cloned().collect(),
            children: self
                .children
                .iter()
                .filter(|(element, _)| !other.members.contains(*element))
                .filter_map(|(element, set)| {
                    let rest = match other.children.get(element) {
                        Some(taken) => set.recursive_difference(taken),
                        None => set.clone(),
                    };
                    (!rest.is_empty()).then(|| (element.clone(), rest))
                })
                .collect(),
        }
    }

    /// The set with every declared field on the way to a member made a member too.
    pub(super) fn with_named_fields(&self, node: Node<'_>) -> Self {
        let mut out = Self {
            members: self.members.clone(),
            children: BTreeMap::new(),
        };
        for (element, set) in &self.children {
            let below = match (element, node) {
                (PathElement::Field(name), node) => {
                    if declared(node, name) {
                        out.members.insert(element.clone());
                    }
                    node.field(name)
                }
                (PathElement::Key(_), node) => node.item(),
                _ => Node::Deduced,
            };
            out.children.insert(element.clone(), set.with_named_fields(below));
        }
        out
    }

    /// Every path, in order.
    pub fn paths(&self) -> Vec<Vec<PathElement>> {
        let mut out = Vec::new();
        self.walk(&mut Vec::new(), &mut out);
        out
    }

    fn walk(&self, prefix: &mut Vec<PathElement>, out: &mut Vec<Vec<PathElement>>) {
        for element in &self.members {
            prefix.push(element.clone());
            out.push(prefix.clone());
            prefix.pop();
        }
        for (element, set) in &self.children {
            prefix.push(element.clone());
            set.walk(prefix, out);
            prefix.pop();
        }
    }
}

fn declared(node: Node<'_>, name: &str) -> bool {
    match node {
        Node::Typed(schema) => match schema.shape() {
            Shape::Object(object) => object.field(name).is_some(),
            _ => false,
        },
        _ => false,
    }
}

/// A path as conflicts show it: `.spec.containers[name="c"].image`.
pub(super) fn shown(path: &[PathElement]) -> String {
    path.iter().map(PathElement::to_string).collect()
}
