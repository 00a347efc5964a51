//! Nodes pull from a real registry: Debian's `docker-registry` on the host's end of the cluster's network.

use crate::world::{World, succeed, text, wait};
use std::process::{Command, Stdio};

#[test]
fn a_pod_runs_an_image_that_its_node_pulled_from_a_registry() {
    // The mirror's address follows from the cluster's, so the cluster comes first and learns it later.
    let world = World::up("registry", 1);
    let host = host_address(&world);
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("registry.yml");
    std::fs::write(
        &config,
        format!(
            "version: 0.1\nlog: {{level: warn}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"{host}:5000\"}}\n",
            folder.path().join("data").display()
        ),
    )
    .expect("a configuration");
    let mut registry = Command::new("docker-registry")
        .arg("serve")
        .arg(&config)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("docker-registry");
    assert!(
        wait(|| std::net::TcpStream::connect(format!("{host}:5000")).is_ok()),
        "the registry does not listen"
    );
    let socket = format!("/run/trireme/{0}/nodes/{0}-1/containerd.sock", world.profile);
    let ctr = |args: &[&str]| {
        let mut command = Command::new("ctr");
        command
            .args(["--address", &socket, "--namespace", "k8s.io", "images"])
            .args(args);
        command
    };
    let pushed = format!("{host}:5000/pulled/hello:7");
    succeed(ctr(&["tag", "docker.io/trireme/hello:1", &pushed]));
    succeed(ctr(&["push", "--plain-http", &pushed]));
    succeed(ctr(&["rm", &pushed]));

    world.trireme(&["stop"]);
    // Stopping removes the network, hence the registry's address; it comes back with the cluster.
    world.trireme(&[
        "up",
        "--registry-mirror",
        &format!("registry.example=http://{host}:5000"),
    ]);
    world.kubectl(&[
        "run",
        "pulled",
        "--image=registry.example/pulled/hello:7",
        "--image-pull-policy=Always",
    ]);
    world.kubectl(&["wait", "pod/pulled", "--for=condition=Ready", "--timeout=120s"]);
    world.kubectl(&["run", "absent", "--image=registry.example/pulled/absent:1"]);
    world.kubectl_until(&["get", "pod", "absent"], |line| {
        line.contains("ErrImagePull") || line.contains("ImagePullBackOff")
    });
    registry.kill().expect("ended");
    registry.wait().expect("collected");
}

/// The host's address in the cluster's network: `.254` beside the API server's `.1`.
fn host_address(world: &World) -> String {
    let server = world.kubectl(&["config", "view", "-o", "jsonpath={.clusters[0].cluster.server}"]);
    let address = text(server.trim().trim_start_matches("https://").as_bytes());
    let network = address.rsplit_once('.').expect("an IPv4 address").0.to_owned();
    format!("{network}.254")
}
