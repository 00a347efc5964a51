//! Role bindings; roles use the default printer.

use super::access::{list, name, text};
use super::age::age;
use super::{AGE, Printer, name as name_column, text as column, wide};
use serde_json::Value;

pub const BINDINGS: Printer = Printer {
    columns: &[
        name_column(),
        column("Role"),
        AGE,
        wide("Users"),
        wide("Groups"),
        wide("ServiceAccounts"),
    ],
    cells: |object, now| {
        let role = format!(
            "{}/{}",
            text(object, "/roleRef/kind"),
            text(object, "/roleRef/name")
        );
        vec![
            name(object),
            role.into(),
            age(object, now),
            subjects(object, "User").into(),
            subjects(object, "Group").into(),
            subjects(object, "ServiceAccount").into(),
        ]
    },
};

fn subjects(binding: &Value, kind: &str) -> String {
    let of_kind = list(binding, "/subjects")
        .iter()
        .filter(|s| text(s, "/kind") == kind);
    of_kind
        .map(|s| match text(s, "/namespace") {
            "" => text(s, "/name").to_owned(),
            namespace => format!("{namespace}/{}", text(s, "/name")),
        })
        .collect::<Vec<_>>()
        .join(", ")
}
