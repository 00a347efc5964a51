//! Where a Service answers, seen from this machine.

use crate::api;
use crate::cli;
use crate::cluster::Cluster;
use anyhow::bail;
use k8s_openapi::api::core::v1::Service;
use std::time::Duration;

/// Waits for a ready endpoint, then prints the URL of every port at the first node's address.
///
/// # Errors
/// When the Service doesn't exist, has no node ports, or nothing behind it gets ready.
pub async fn show(options: &cli::Service) -> anyhow::Result<()> {
    let cluster = Cluster::open(&options.selected.profile)?;
    let client = cluster.client()?;
    let (namespace, name) = (&options.namespace, &options.name);
    let service = api::service(&client, namespace, name).await?;
    let ports = node_ports(&service);
    if ports.is_empty() {
        bail!(
            "Service `{name}` is reachable inside the cluster only; \
             expose it with type NodePort, for example: kubectl patch service {name} -p '{{\"spec\":{{\"type\":\"NodePort\"}}}}'"
        );
    }
    api::wait_for(Duration::from_secs(options.wait), || async {
        let ready = api::has_endpoint(&client, namespace, name).await?;
        Ok(if ready {
            Ok(())
        } else {
            Err(format!("no pod behind Service `{name}` is ready"))
        })
    })
    .await?;
    let Some(node) = cluster.profile.nodes.first() else {
        bail!("the cluster has no node")
    };
    let address = cluster.profile.node_address(node);
    for (port_name, port) in ports {
        if options.url {
            println!("http://{address}:{port}");
        } else {
            println!("{namespace}/{name} {port_name} http://{address}:{port}");
        }
    }
    Ok(())
}

/// Name (or number) and node port of every port that has one.
fn node_ports(service: &Service) -> Vec<(String, i32)> {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    ports
        .filter_map(|port| {
            let name = port.name.clone().unwrap_or_else(|| port.port.to_string());
            Some((name, port.node_port?))
        })
        .collect()
}
