//! Endpoints and endpoint slices.

use super::access::{NONE, UNSET, list, name, number, text};
use super::age::age;
use super::{AGE, Printer, name as name_column, text as column};
use serde_json::Value;

/// Longer lists end in `+ N more...`.
const SHOWN: usize = 3;

pub const ENDPOINTS: Printer = Printer {
    columns: &[name_column(), column("Endpoints"), AGE],
    cells: |object, now| vec![name(object), endpoints(object).into(), age(object, now)],
};

pub const ENDPOINT_SLICES: Printer = Printer {
    columns: &[
        name_column(),
        column("AddressType"),
        column("Ports"),
        column("Endpoints"),
        AGE,
    ],
    cells: |object, now| {
        let ports: Vec<String> = list(object, "/ports")
            .iter()
            .map(|p| match number(p, "/port") {
                0 => "*".to_owned(),
                port => port.to_string(),
            })
            .collect();
        let addresses: Vec<String> = list(object, "/endpoints")
            .iter()
            .flat_map(|e| list(e, "/addresses"))
            .filter_map(|a| a.as_str().map(str::to_owned))
            .collect();
        vec![
            name(object),
            text(object, "/addressType").into(),
            shortened(&ports, UNSET).into(),
            shortened(&addresses, UNSET).into(),
            age(object, now),
        ]
    },
};

fn endpoints(object: &Value) -> String {
    let mut all = Vec::new();
    for subset in list(object, "/subsets") {
        let addresses = list(subset, "/addresses");
        let ports = list(subset, "/ports");
        if ports.is_empty() {
            all.extend(addresses.iter().map(|a| text(a, "/ip").to_owned()));
        }
        for port in ports {
            let port = number(port, "/port");
            all.extend(addresses.iter().map(|address| match text(address, "/ip") {
                ip if ip.contains(':') => format!("[{ip}]:{port}"),
                ip => format!("{ip}:{port}"),
            }));
        }
    }
    shortened(&all, NONE)
}

fn shortened(items: &[String], blank: &str) -> String {
    match items.len() {
        0 => blank.to_owned(),
        count if count > SHOWN => format!("{} + {} more...", items[..SHOWN].join(","), count - SHOWN),
        _ => items.join(","),
    }
}
