//! Tables and partial objects out of objects.

use super::{ColumnKind, Printer};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// How much of each object a row carries along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IncludeObject {
    None,
    #[default]
    Metadata,
    Object,
}

impl IncludeObject {
    /// The query parameter `includeObject`; `None` for a value that isn't one.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "" | "Metadata" => Some(Self::Metadata),
            "None" => Some(Self::None),
            "Object" => Some(Self::Object),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub struct TableOptions {
    pub include: IncludeObject,
    /// Watch events after the first carry no column definitions.
    pub headers: bool,
    /// `v1` or `v1beta1`.
    pub version: &'static str,
    pub now: Timestamp,
}

/// The table of a whole list, whose `metadata` (resourceVersion, continue …) it takes over.
pub fn list_table<'a>(
    printer: Printer,
    items: impl IntoIterator<Item = &'a Value>,
    metadata: Value,
    options: TableOptions,
) -> Value {
    let rows: Vec<Value> = items
        .into_iter()
        .map(|object| row(printer, object, options))
        .collect();
    let columns: Vec<Value> = if options.headers {
        printer
            .columns
            .iter()
            .map(|column| {
                let (kind, format) = match column.kind {
                    ColumnKind::Name => ("string", "name"),
                    ColumnKind::Text => ("string", ""),
                    ColumnKind::Integer => ("integer", ""),
                    ColumnKind::Date => ("date", ""),
                };
                json!({
                    "name": column.name, "type": kind, "format": format,
                    "description": column.name, "priority": column.priority,
                })
            })
            .collect()
    } else {
        Vec::new()
    };
    json!({
        "kind": "Table",
        "apiVersion": format!("meta.k8s.io/{}", options.version),
        "metadata": metadata,
        "columnDefinitions": columns,
        "rows": rows,
    })
}

/// The table of one object.
pub fn table_of(printer: Printer, object: &Value, options: TableOptions) -> Value {
    let version = object
        .pointer("/metadata/resourceVersion")
        .cloned()
        .unwrap_or(Value::Null);
    let metadata = if version.is_null() {
        json!({})
    } else {
        json!({ "resourceVersion": version })
    };
    list_table(printer, [object], metadata, options)
}

/// One row with its cells and as much of the object as was asked for.
pub fn row(printer: Printer, object: &Value, options: TableOptions) -> Value {
    let cells = (printer.cells)(object, options.now);
    let mut row = Map::new();
    row.insert("cells".to_owned(), Value::Array(cells));
    match options.include {
        IncludeObject::None => {}
        IncludeObject::Metadata => {
            row.insert("object".to_owned(), partial_object(object, options.version));
        }
        IncludeObject::Object => {
            row.insert("object".to_owned(), object.clone());
        }
    }
    Value::Object(row)
}

/// The object as `PartialObjectMetadata`.
pub fn partial_object(object: &Value, version: &str) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": format!("meta.k8s.io/{version}"),
        "metadata": object.get("metadata").cloned().unwrap_or_else(|| json!({})),
    })
}

/// A list as `PartialObjectMetadataList`.
pub fn partial_list<'a>(items: impl IntoIterator<Item = &'a Value>, metadata: Value, version: &str) -> Value {
    json!({
        "kind": "PartialObjectMetadataList",
        "apiVersion": format!("meta.k8s.io/{version}"),
        "metadata": metadata,
        "items": items.into_iter().map(|object| partial_object(object, version)).collect::<Vec<_>>(),
    })
}
