//! The node's part of the pod network: forwarding, the CNI configuration, routes to other nodes' pods.

use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use tokio::process::Command;

/// Marks our routes in the kernel's table, so that we remove no one else's. Unassigned by the kernel and
/// by routing daemons.
const ROUTE_PROTOCOL: &str = "177";
const MTU: u32 = 1500;

pub(super) struct PodNetworkFiles {
    pub node_name: String,
    pub conf_dir: PathBuf,
    pub leases_dir: PathBuf,
}

/// Pods talk across nodes and to services: the node forwards, does not check source routes, and lets
/// bridged packets pass the service rules.
pub(super) fn enable_forwarding() -> io::Result<()> {
    let must = [
        ("net/ipv4/ip_forward", "1"),
        ("net/ipv4/conf/all/rp_filter", "0"),
        ("net/ipv4/conf/default/rp_filter", "0"),
    ];
    for (key, value) in must {
        fs::write(Path::new("/proc/sys").join(key), value)?;
    }
    // Absent without the module; then same-node service traffic needs it loaded.
    if let Err(error) = fs::write("/proc/sys/net/bridge/bridge-nf-call-iptables", "1") {
        tracing::warn!(%error, "bridged packets may bypass service rules");
    }
    Ok(())
}

impl PodNetworkFiles {
    /// Writes the one network configuration that the runtime loads. A node has a network name of its own:
    /// the plugins' result cache is shared by all nodes of a machine.
    pub fn write(&self, cidr: &str) -> io::Result<()> {
        let conf = json!({
            "cniVersion": "0.4.0",
            "name": format!("trireme-{}", self.node_name),
            "plugins": [
                {
                    "type": "bridge",
                    "bridge": "cni0",
                    "isGateway": true,
                    "forceAddress": true,
                    "hairpinMode": true,
                    "promiscMode": false,
                    // Masquerading belongs to the service rules.
                    "ipMasq": false,
                    "mtu": MTU,
                    "ipam": {
                        "type": "host-local",
                        "dataDir": self.leases_dir,
                        "ranges": [[{"subnet": cidr}]],
                        "routes": [{"dst": "0.0.0.0/0"}],
                    },
                },
                {"type": "portmap", "capabilities": {"portMappings": true}, "snat": true},
            ],
        });
        fs::create_dir_all(&self.conf_dir)?;
        fs::create_dir_all(&self.leases_dir)?;
        let path = self.conf_dir.join("10-trireme.conflist");
        let text = serde_json::to_vec_pretty(&conf)?;
        if fs::read(&path).is_ok_and(|old| old == text) {
            return Ok(());
        }
        // The runtime watches the directory: it must never read half a file.
        let fresh = self.conf_dir.join(".10-trireme.next");
        fs::write(&fresh, text)?;
        fs::rename(fresh, path)
    }
}

pub(super) async fn set_routes(routes: &BTreeMap<String, String>) -> io::Result<()> {
    let present = ip(&["-4", "route", "show", "proto", ROUTE_PROTOCOL]).await?;
    let present: BTreeSet<(String, String)> = present
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let destination = words.next()?.to_owned();
            let gateway = words.skip_while(|w| *w != "via").nth(1)?.to_owned();
            Some((destination, gateway))
        })
        .collect();
    for (destination, gateway) in &present {
        if routes.get(destination) != Some(gateway) {
            ip(&[
                "route",
                "del",
                destination,
                "via",
                gateway,
                "proto",
                ROUTE_PROTOCOL,
            ])
            .await?;
        }
    }
    for (destination, gateway) in routes {
        if !present.contains(&(destination.clone(), gateway.clone())) {
            let words = [
                "route",
                "replace",
                destination,
                "via",
                gateway,
                "proto",
                ROUTE_PROTOCOL,
            ];
            ip(&words).await?;
        }
    }
    Ok(())
}

async fn ip(words: &[&str]) -> io::Result<String> {
    let output = Command::new("ip").args(words).output().await?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(io::Error::other(format!(
            "ip {}: {}",
            words.join(" "),
            text.trim()
        )));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
