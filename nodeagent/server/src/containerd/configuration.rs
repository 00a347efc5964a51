//! containerd's configuration file (version 2, for containerd 1.6).

use crate::NodeAgentConfig;
use std::fs;
use std::io;
use std::path::Path;

pub(super) fn text(config: &NodeAgentConfig) -> String {
    let run = &config.run_dir;
    let own = &config.containerd;
    format!(
        r#"version = 2
root = {root}
state = {state}
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
  "io.containerd.internal.v1.tracing",
]

[grpc]
  address = {socket}

[plugins."io.containerd.internal.v1.opt"]
  path = {opt}

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = {pause}
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  disable_apparmor = true
  enable_selinux = false
  # Without CAP_SYS_RESOURCE the score cannot be lowered, and every pod would fail.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  tolerate_missing_hugetlb_controller = true
  disable_tcp_service = true
  max_container_log_line_size = 16384

[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = {cni_bin}
  conf_dir = {cni_conf}
  max_conf_num = 1

[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "overlayfs"
  default_runtime_name = "runc"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  SystemdCgroup = false
  Root = {runc}

[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = {certs}
"#,
        root = quoted(&config.data_dir.join("containerd")),
        state = quoted(&run.join("containerd")),
        socket = quoted(&config.runtime_socket()),
        opt = quoted(&config.data_dir.join("containerd-opt")),
        pause = quoted(Path::new(&own.pause_image)),
        cni_bin = quoted(&own.cni_bin_dir),
        cni_conf = quoted(&run.join("cni/net.d")),
        runc = quoted(&run.join("runc")),
        certs = quoted(&run.join("certs.d")),
    )
}

/// Mirrors of registries. `server` names the mirror itself: it is the fallback, and one that does not
/// resolve costs ten seconds a pull.
pub(super) fn write_registries(config: &NodeAgentConfig) -> io::Result<()> {
    for (host, mirror) in &config.containerd.registry_mirrors {
        let directory = config.run_dir.join("certs.d").join(host);
        fs::create_dir_all(&directory)?;
        let quoted = quoted(Path::new(mirror));
        let text =
            format!("server = {quoted}\n\n[host.{quoted}]\n  capabilities = [\"pull\", \"resolve\"]\n");
        fs::write(directory.join("hosts.toml"), text)?;
    }
    fs::create_dir_all(config.run_dir.join("certs.d"))
}

/// A TOML string. Paths of ours hold no control characters.
fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
