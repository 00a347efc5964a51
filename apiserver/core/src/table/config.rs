//! Config maps, secrets, service accounts, quotas.

use super::access::{entries, name, plain, size, text};
use super::age::age;
use super::{AGE, Printer, integer, name as name_column, text as column};
use serde_json::Value;

pub const CONFIG_MAPS: Printer = Printer {
    columns: &[name_column(), integer("Data"), AGE],
    cells: |object, now| {
        vec![
            name(object),
            (size(object, "/data") + size(object, "/binaryData")).into(),
            age(object, now),
        ]
    },
};

pub const SECRETS: Printer = Printer {
    columns: &[name_column(), column("Type"), integer("Data"), AGE],
    cells: |object, now| {
        vec![
            name(object),
            text(object, "/type").into(),
            size(object, "/data").into(),
            age(object, now),
        ]
    },
};

pub const SERVICE_ACCOUNTS: Printer = Printer {
    columns: &[name_column(), AGE],
    cells: |object, now| vec![name(object), age(object, now)],
};

pub const RESOURCE_QUOTAS: Printer = Printer {
    columns: &[name_column(), column("Request"), column("Limit"), AGE],
    cells: |object, now| {
        let (limits, requests): (Vec<_>, Vec<_>) = entries(object, "/status/hard")
            .into_iter()
            .partition(|(resource, _)| resource.starts_with("limits"));
        vec![
            name(object),
            used(object, &requests).into(),
            used(object, &limits).into(),
            age(object, now),
        ]
    },
};

fn used(quota: &Value, hard: &[(&str, &Value)]) -> String {
    let used = quota.pointer("/status/used");
    hard.iter()
        .map(|(resource, limit)| {
            let used = used
                .and_then(|u| u.get(*resource))
                .map_or_else(|| "0".to_owned(), plain);
            format!("{resource}: {used}/{}", plain(limit))
        })
        .collect::<Vec<_>>()
        .join(", ")
}
