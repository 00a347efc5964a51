//! Schemas of the Kubernetes API as tables, and what follows from them alone.
//!
//! * [`builtin`]: the schema of every kind that is served by default (fields, list and map types, merge
//!   keys, wire numbers), and [`Schema`], the handle by which code walks it. Custom resources bring their
//!   own [`Table`] by [`custom::table`] and are walked by the same handle.
//! * [`discovery`]: the groups, versions, resources and sub-resources, in upstream's order.
//! * [`startup_objects`]: what an API server creates when it starts.
//! * [`protobuf`]: Kubernetes protobuf to JSON values and back.
//!
//! Pure: no clock, no I/O; tables are parsed once, on first use, and borrow the embedded text.

pub mod custom;
mod discovery;
mod parse;
pub mod protobuf;
mod schema;
mod startup;
pub mod time;

pub use discovery::{
    Discovery, DiscoveryGroup, DiscoveryResource, DiscoverySubresource, DiscoveryVersion, discovery,
};
pub use parse::builtin;
pub use schema::{
    AnyKind, Field, GroupVersionKind, ListKind, Name, ObjectRef, Presence, Scalar, Schema, Shape, Strategy,
    Table, Type, TypeDef, TypeId, Wire, WireTarget,
};
pub use startup::{startup_objects, startup_objects_of};

/// The schema of a built-in kind; the core group is `""`.
pub fn schema_for(group: &str, version: &str, kind: &str) -> Option<Schema<'static>> {
    builtin().schema_for(group, version, kind)
}
