//! The schema model: types, fields, and [`Schema`], the handle that walks them.
//!
//! A [`Table`] owns type definitions; types refer to each other by [`TypeId`], so recursive kinds
//! (`JSONSchemaProps`) cost nothing. A [`Schema`] is a `Copy` pair of table and type.
//!
//! Invariants: `TypeDef::fields` is sorted by JSON name and holds the JSON view (in-lined messages are
//! spread); `TypeDef::wire` is sorted by number and holds the protobuf view.

use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// Borrowed from the embedded table, or owned by a custom resource's table.
pub type Name = Cow<'static, str>;

/// Index of a type in its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TypeId(pub(crate) u32);

/// A kind with its group and version; the core group is `""`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupVersionKind {
    pub group: String,
    pub version: String,
    pub kind: String,
}

impl GroupVersionKind {
    pub fn new(group: impl Into<String>, version: impl Into<String>, kind: impl Into<String>) -> Self {
        Self {
            group: group.into(),
            version: version.into(),
            kind: kind.into(),
        }
    }

    /// From `apiVersion` (`v1`, `apps/v1`) and `kind`.
    pub fn from_api_version(api_version: &str, kind: &str) -> Self {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        Self::new(group, version, kind)
    }

    /// `v1` or `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }
}

impl fmt::Display for GroupVersionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, Kind={}", self.api_version(), self.kind)
    }
}

/// A single value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    String,
    Int32,
    Int64,
    Bool,
    Double,
    /// base64 in JSON
    Bytes,
    /// a decimal with a suffix; a JSON string, a number is accepted
    Quantity,
    IntOrString,
    /// RFC 3339, whole seconds
    Time,
    /// RFC 3339, microseconds
    MicroTime,
    /// `1h2m3s`
    Duration,
}

/// A value without a schema below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnyKind {
    /// `runtime.RawExtension`: an object of any kind
    RawExtension,
    /// a managed-fields set
    FieldsV1,
    /// any JSON value
    Json,
    /// a JSON schema, or a list of them
    SchemaOrArray,
    /// a JSON schema, or a boolean
    SchemaOrBool,
    /// a JSON schema, or a list of strings
    SchemaOrStrings,
}

/// How server-side apply merges a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListKind {
    Atomic,
    Set,
    Map,
}

/// The type of a field, an item or a value.
#[derive(Clone, Debug)]
pub enum Type {
    Scalar(Scalar),
    Any(AnyKind),
    /// `wrapped`: on the wire a message with the list in field 1 (`ExtraValue`, `Verbs`)
    List {
        item: Box<Type>,
        kind: ListKind,
        keys: Vec<Name>,
        wrapped: bool,
    },
    Map {
        value: Box<Type>,
        atomic: bool,
    },
    /// a type of the same table
    Object {
        id: TypeId,
        atomic: bool,
    },
    /// a type of the built-in table, seen from a custom resource's table
    Builtin {
        id: TypeId,
        atomic: bool,
    },
}

/// When a scalar appears in JSON, by the rules of upstream's Go encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// left out when zero
    NonZero,
    /// absent and zero differ
    Optional,
    /// written also when zero; an object with it is a plain struct in Go and never absent there,
    /// a list or map is printed as null when it is absent
    Always,
}

/// Strategic-merge-patch directives of a field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Strategy {
    pub merge: bool,
    pub replace: bool,
    pub retain_keys: bool,
}

/// One field of an object, in the JSON view.
#[derive(Clone, Debug)]
pub struct Field {
    pub json: Name,
    pub ty: Type,
    pub presence: Presence,
    pub strategy: Strategy,
    pub merge_key: Option<Name>,
    /// of a key field of a map list: what an item without it counts as
    pub default: Option<Value>,
}

/// One field of a message, in the protobuf view.
#[derive(Clone, Debug)]
pub struct Wire {
    pub number: u32,
    pub target: WireTarget,
}

#[derive(Clone, Debug)]
pub enum WireTarget {
    /// index into `TypeDef::fields`
    Field(usize),
    /// a nested message whose fields appear directly in the parent's JSON object
    Inline(TypeId),
}

/// An object type.
#[derive(Clone, Debug, Default)]
pub struct TypeDef {
    /// `core.v1.Container`; for custom resources the kind or the field path
    pub name: Name,
    pub kinds: Vec<GroupVersionKind>,
    pub fields: Vec<Field>,
    pub wire: Vec<Wire>,
    /// server-side apply treats the object as one value
    pub atomic: bool,
    /// unknown fields are kept (`x-kubernetes-preserve-unknown-fields`)
    pub preserve_unknown: bool,
    /// an object with `apiVersion`, `kind` and `metadata` of its own (kinds, embedded resources)
    pub resource: bool,
    /// discriminated unions, as in the `x-kubernetes-unions` extension
    pub unions: Vec<Value>,
}

impl TypeDef {
    pub fn field(&self, json: &str) -> Option<&Field> {
        let at = self.fields.binary_search_by(|f| f.json.as_ref().cmp(json)).ok()?;
        self.fields.get(at)
    }
}

/// Type definitions and the kinds they stand for.
#[derive(Debug, Default)]
pub struct Table {
    pub(crate) types: Vec<TypeDef>,
    pub(crate) kinds: BTreeMap<GroupVersionKind, TypeId>,
    pub(crate) names: BTreeMap<Name, TypeId>,
    /// one object type each, so that a handle can borrow it
    pub(crate) objects: Vec<Type>,
}

impl Table {
    pub fn schema_for(&self, group: &str, version: &str, kind: &str) -> Option<Schema<'_>> {
        let id = self.kinds.get(&GroupVersionKind::new(group, version, kind))?;
        Some(self.schema(*id))
    }

    /// By definition name: `core.v1.Container`.
    pub fn schema_named(&self, name: &str) -> Option<Schema<'_>> {
        Some(self.schema(*self.names.get(name)?))
    }

    pub fn schema(&self, id: TypeId) -> Schema<'_> {
        Schema {
            table: self,
            ty: &self.objects[id.0 as usize],
        }
    }

    pub fn def(&self, id: TypeId) -> &TypeDef {
        &self.types[id.0 as usize]
    }

    pub fn types(&self) -> impl Iterator<Item = (TypeId, &TypeDef)> {
        self.types
            .iter()
            .enumerate()
            .map(|(i, def)| (TypeId(i as u32), def))
    }

    pub(crate) fn push(&mut self, def: TypeDef) -> TypeId {
        let id = TypeId(self.types.len() as u32);
        self.names.insert(def.name.clone(), id);
        for kind in &def.kinds {
            self.kinds.insert(kind.clone(), id);
        }
        self.types.push(def);
        self.objects.push(Type::Object { id, atomic: false });
        id
    }
}

/// A type in its table: what code walks.
#[derive(Clone, Copy)]
pub struct Schema<'t> {
    pub(crate) table: &'t Table,
    pub(crate) ty: &'t Type,
}

/// What a [`Schema`] is, with the schemas below it.
#[derive(Clone, Copy)]
pub enum Shape<'t> {
    Scalar(Scalar),
    Any(AnyKind),
    List {
        item: Schema<'t>,
        kind: ListKind,
        keys: &'t [Name],
    },
    Map {
        value: Schema<'t>,
        atomic: bool,
    },
    Object(ObjectRef<'t>),
}

/// An object type with its table.
#[derive(Clone, Copy)]
pub struct ObjectRef<'t> {
    pub table: &'t Table,
    pub def: &'t TypeDef,
    /// by the type or by the field that holds it
    pub atomic: bool,
}

impl<'t> ObjectRef<'t> {
    pub fn field(&self, json: &str) -> Option<(&'t Field, Schema<'t>)> {
        let field = self.def.field(json)?;
        Some((
            field,
            Schema {
                table: self.table,
                ty: &field.ty,
            },
        ))
    }

    pub fn fields(&self) -> impl Iterator<Item = (&'t Field, Schema<'t>)> + use<'t> {
        let table = self.table;
        self.def
            .fields
            .iter()
            .map(move |field| (field, Schema { table, ty: &field.ty }))
    }
}

impl<'t> Schema<'t> {
    pub fn shape(self) -> Shape<'t> {
        let table = self.table;
        match self.ty {
            Type::Scalar(scalar) => Shape::Scalar(*scalar),
            Type::Any(kind) => Shape::Any(*kind),
            Type::List { item, kind, keys, .. } => Shape::List {
                item: Schema { table, ty: item },
                kind: *kind,
                keys,
            },
            Type::Map { value, atomic } => Shape::Map {
                value: Schema { table, ty: value },
                atomic: *atomic,
            },
            Type::Object { id, atomic } => {
                let def = table.def(*id);
                Shape::Object(ObjectRef {
                    table,
                    def,
                    atomic: *atomic || def.atomic,
                })
            }
            Type::Builtin { id, atomic } => {
                let table = crate::builtin();
                let def = table.def(*id);
                Shape::Object(ObjectRef {
                    table,
                    def,
                    atomic: *atomic || def.atomic,
                })
            }
        }
    }

    pub fn ty(self) -> &'t Type {
        self.ty
    }

    pub fn table(self) -> &'t Table {
        self.table
    }

    pub fn object(self) -> Option<ObjectRef<'t>> {
        match self.shape() {
            Shape::Object(object) => Some(object),
            _ => None,
        }
    }

    /// The schema of a field of an object, or of a value of a map.
    pub fn field(self, json: &str) -> Option<Schema<'t>> {
        match self.shape() {
            Shape::Object(object) => object.field(json).map(|(_, schema)| schema),
            Shape::Map { value, .. } => Some(value),
            _ => None,
        }
    }

    /// The schema of a list's items.
    pub fn item(self) -> Option<Schema<'t>> {
        match self.shape() {
            Shape::List { item, .. } => Some(item),
            _ => None,
        }
    }

    /// The type's name in Go, as upstream's decoding errors spell it: `int32`, `[]v1.Container`.
    pub fn go_type(self) -> String {
        match self.shape() {
            Shape::Scalar(scalar) => match scalar {
                Scalar::String => "string",
                Scalar::Int32 => "int32",
                Scalar::Int64 => "int64",
                Scalar::Bool => "bool",
                Scalar::Double => "float64",
                Scalar::Bytes => "[]uint8",
                Scalar::Quantity => "resource.Quantity",
                Scalar::IntOrString => "intstr.IntOrString",
                Scalar::Time => "v1.Time",
                Scalar::MicroTime => "v1.MicroTime",
                Scalar::Duration => "v1.Duration",
            }
            .to_owned(),
            Shape::Any(_) => "runtime.RawExtension".to_owned(),
            Shape::List { item, .. } => format!("[]{}", item.go_type()),
            Shape::Map { value, .. } => format!("map[string]{}", value.go_type()),
            Shape::Object(object) => match object.def.name.split_once('.') {
                Some((_, rest)) => rest.to_owned(),
                None => object.def.name.to_string(),
            },
        }
    }
}

impl std::fmt::Debug for Schema<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.go_type())
    }
}
