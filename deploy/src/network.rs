//! The network of a local cluster: one namespace a node, one for the control plane, a bridge between them.
//!
//! ```text
//!   host ── tri<slot>h ═ veth ═ host ─┐
//!                                     ├─ br0 (10.200.SLOT.1: the control plane) in trireme-<profile>-lan
//!   node namespace ── eth0 ═ veth ═ nN┘
//! ```
//!
//! - Making is idempotent: what exists is kept, what is missing is added. Removing likewise.
//! - The host reaches every address of the subnet; nodes reach the outside through the host, which
//!   masquerades them in a table of its own.
//! - A node is cut off by downing its `nN` in the lan namespace; downing `eth0` inside would flush routes.

use crate::command::{run, run_with_input};
use crate::profile::{Node, Profile};
use std::fmt::Write as _;
use std::path::Path;

/// Makes whatever is missing.
///
/// # Errors
/// When `ip`, `sysctl` or `nft` refuse.
pub fn make(profile: &Profile) -> anyhow::Result<()> {
    make_lan(profile)?;
    for node in &profile.nodes {
        make_node(profile, node)?;
    }
    make_way_out(profile)
}

/// Removes everything that [`make`] made.
///
/// # Errors
/// When `ip` or `nft` refuse.
pub fn remove(profile: &Profile) -> anyhow::Result<()> {
    for node in &profile.nodes {
        remove_node(profile, node)?;
    }
    // Takes the bridge, the switch ports and the other end of the host's cable along.
    remove_namespace(&profile.lan_namespace())?;
    remove_interface(None, &host_interface(profile))?;
    let table = table(profile);
    run_with_input(
        "nft",
        &["-f", "-"],
        format!("add table ip {table}\ndelete table ip {table}\n").as_bytes(),
    )?;
    Ok(())
}

/// Removes one node's namespace with everything in it.
///
/// # Errors
/// When `ip` refuses.
pub fn remove_node(profile: &Profile, node: &Node) -> anyhow::Result<()> {
    remove_namespace(&profile.node_namespace(node))?;
    // A process that still lives in the namespace would keep the cable, and with it the name, for a while.
    if namespace_exists(&profile.lan_namespace()) {
        remove_interface(Some(&profile.lan_namespace()), &port(node))?;
    }
    Ok(())
}

fn make_lan(profile: &Profile) -> anyhow::Result<()> {
    let lan = profile.lan_namespace();
    let host = host_interface(profile);
    make_namespace(&lan)?;
    if !interface_exists(Some(&lan), "br0") {
        batch(
            &lan,
            &format!(
                "link set lo up\n\
                 link add br0 type bridge forward_delay 0\n\
                 addr add {}/24 dev br0\n\
                 link set br0 up\n\
                 route add default via {}\n",
                profile.control_address(),
                profile.host_address(),
            ),
        )?;
    }
    if !interface_exists(None, &host) {
        run(
            "ip",
            &[
                "link", "add", &host, "type", "veth", "peer", "name", "host", "netns", &lan,
            ],
        )?;
        batch(&lan, "link set host master br0 up\n")?;
        run(
            "ip",
            &[
                "addr",
                "add",
                &format!("{}/24", profile.host_address()),
                "dev",
                &host,
            ],
        )?;
        run("ip", &["link", "set", &host, "up"])?;
    }
    Ok(())
}

fn make_node(profile: &Profile, node: &Node) -> anyhow::Result<()> {
    let (lan, namespace, port) = (profile.lan_namespace(), profile.node_namespace(node), port(node));
    make_namespace(&namespace)?;
    if interface_exists(Some(&namespace), "eth0") {
        return Ok(());
    }
    if interface_exists(Some(&lan), &port) {
        // The other end went away with an earlier namespace.
        batch(&lan, &format!("link delete {port}\n"))?;
    }
    batch(
        &lan,
        &format!(
            "link add {port} type veth peer name eth0 netns {namespace}\nlink set {port} master br0 up\n"
        ),
    )?;
    batch(
        &namespace,
        &format!(
            "link set lo up\n\
             addr add {}/24 dev eth0\n\
             link set eth0 up\n\
             route add default via {}\n",
            profile.node_address(node),
            profile.host_address(),
        ),
    )?;
    run(
        "nsenter",
        &[
            &format!("--net=/run/netns/{namespace}"),
            "sysctl",
            "-qw",
            "net.ipv4.ip_forward=1",
            "net.ipv4.conf.all.rp_filter=0",
            "net.ipv4.conf.default.rp_filter=0",
        ],
    )?;
    Ok(())
}

/// Lets nodes reach what the host reaches: image registries, mostly.
fn make_way_out(profile: &Profile) -> anyhow::Result<()> {
    let (table, subnet, host) = (table(profile), profile.subnet(), host_interface(profile));
    let mut rules = String::new();
    writeln!(rules, "add table ip {table}")?;
    writeln!(rules, "flush table ip {table}")?;
    writeln!(
        rules,
        "add chain ip {table} post {{ type nat hook postrouting priority srcnat; }}"
    )?;
    writeln!(
        rules,
        "add rule ip {table} post ip saddr {subnet} oifname != \"{host}\" masquerade"
    )?;
    run_with_input("nft", &["-f", "-"], rules.as_bytes())?;
    run("sysctl", &["-qw", "net.ipv4.ip_forward=1"])?;
    Ok(())
}

fn make_namespace(name: &str) -> anyhow::Result<()> {
    if !namespace_exists(name) {
        run("ip", &["netns", "add", name])?;
    }
    Ok(())
}

fn remove_namespace(name: &str) -> anyhow::Result<()> {
    if namespace_exists(name) {
        run("ip", &["netns", "delete", name])?;
    }
    Ok(())
}

fn namespace_exists(name: &str) -> bool {
    Path::new("/run/netns").join(name).exists()
}

fn interface_exists(namespace: Option<&str>, interface: &str) -> bool {
    link(namespace, &["show", "dev", interface]).is_ok()
}

/// Removes an interface unless it goes by itself: the kernel takes a cable away some time after its other end's namespace.
fn remove_interface(namespace: Option<&str>, interface: &str) -> anyhow::Result<()> {
    if interface_exists(namespace, interface)
        && let Err(error) = link(namespace, &["delete", interface])
        && interface_exists(namespace, interface)
    {
        return Err(error);
    }
    Ok(())
}

fn link(namespace: Option<&str>, words: &[&str]) -> anyhow::Result<()> {
    let mut args = Vec::new();
    if let Some(namespace) = namespace {
        args.extend(["-n", namespace]);
    }
    args.push("link");
    args.extend(words);
    run("ip", &args).map(drop)
}

fn batch(namespace: &str, lines: &str) -> anyhow::Result<()> {
    run_with_input("ip", &["-n", namespace, "-batch", "-"], lines.as_bytes()).map(drop)
}

/// At most 15 bytes, as the kernel wants.
fn host_interface(profile: &Profile) -> String {
    format!("trireme{}", profile.slot)
}

/// A node's port at the switch.
fn port(node: &Node) -> String {
    format!("n{}", node.number)
}

fn table(profile: &Profile) -> String {
    format!("trireme_{}", profile.slot)
}
