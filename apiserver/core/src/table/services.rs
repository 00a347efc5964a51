//! Services.

use super::access::{NONE, labels, list, name, number, text, text_or};
use super::age::age;
use super::{AGE, Printer, name as name_column, text as column, wide};
use serde_json::Value;

pub const SERVICES: Printer = Printer {
    columns: &[
        name_column(),
        column("Type"),
        column("Cluster-IP"),
        column("External-IP"),
        column("Port(s)"),
        AGE,
        wide("Selector"),
    ],
    cells: |object, now| {
        vec![
            name(object),
            text(object, "/spec/type").into(),
            text_or(object, "/spec/clusterIP", NONE).into(),
            external(object).into(),
            ports(object).into(),
            age(object, now),
            labels(object, "/spec/selector").into(),
        ]
    },
};

fn external(service: &Value) -> String {
    let addresses: Vec<&str> = list(service, "/spec/externalIPs")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    match text(service, "/spec/type") {
        "ExternalName" => text(service, "/spec/externalName").to_owned(),
        "LoadBalancer" => {
            let ingress = list(service, "/status/loadBalancer/ingress");
            let mut all: Vec<&str> = ingress
                .iter()
                .map(|i| text_or(i, "/ip", text(i, "/hostname")))
                .filter(|a| !a.is_empty())
                .collect();
            all.extend(addresses);
            if all.is_empty() {
                "<pending>".to_owned()
            } else {
                all.join(",")
            }
        }
        _ if addresses.is_empty() => NONE.to_owned(),
        _ => addresses.join(","),
    }
}

fn ports(service: &Value) -> String {
    super::access::joined(list(service, "/spec/ports").iter().map(|port| {
        let (number_, protocol) = (number(port, "/port"), text_or(port, "/protocol", "TCP"));
        match number(port, "/nodePort") {
            0 => format!("{number_}/{protocol}"),
            node_port => format!("{number_}:{node_port}/{protocol}"),
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::SERVICES;
    use jiff::Timestamp;
    use serde_json::json;

    #[test]
    fn a_node_port_follows_its_port() {
        let service = json!({"metadata": {"name": "s"}, "spec": {"type": "NodePort", "clusterIP": "10.96.0.7",
            "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]}});
        let cells = (SERVICES.cells)(&service, Timestamp::UNIX_EPOCH);
        assert_eq!(cells[3], "<none>");
        assert_eq!(cells[4], "80:30080/TCP,53/UDP");
    }

    #[test]
    fn a_load_balancer_without_address_is_pending() {
        let service = json!({"metadata": {"name": "s"}, "spec": {"type": "LoadBalancer"}});
        assert_eq!((SERVICES.cells)(&service, Timestamp::UNIX_EPOCH)[3], "<pending>");
    }
}
