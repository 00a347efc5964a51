//! A cluster outlives its processes.

use crate::world::{World, exists, get, wait};

#[test]
fn everything_is_as_it_was_after_all_processes_were_killed_at_once() {
    let world = World::up("restart", 1);
    world.kubectl(&[
        "create",
        "deployment",
        "hw",
        "--image=trireme/hello:1",
        "--port=80",
    ]);
    world.kubectl(&["expose", "deployment", "hw", "--type=NodePort"]);
    world.kubectl(&["create", "configmap", "kept", "--from-literal=key=value"]);
    let url = world.url("hw");
    let uid = |what: &[&str]| world.kubectl(&[&["get", "-o", "jsonpath={.metadata.uid}"], what].concat());
    let before = [
        uid(&["configmap", "kept"]),
        uid(&["deployment", "hw"]),
        uid(&["service", "hw"]),
    ];

    kill_everything(&world);
    // A signal is sent in an instant; a process with many threads takes a moment to be gone.
    let stopped = || {
        world
            .trireme_command(&["status"])
            .output()
            .expect("trireme")
            .status
            .code()
            == Some(3)
    };
    assert!(wait(stopped), "something still runs");

    world.trireme(&["start"]);
    assert_eq!(world.url("hw"), url);
    assert!(wait(|| get(&url).is_ok_and(|answer| answer.contains("Hello"))));
    assert_eq!(
        [
            uid(&["configmap", "kept"]),
            uid(&["deployment", "hw"]),
            uid(&["service", "hw"])
        ],
        before
    );
    world.kubectl(&["rollout", "status", "deployment/hw", "--timeout=120s"]);

    // The orderly way leaves nothing of it on the machine but files, and brings it back as well.
    world.trireme(&["stop"]);
    assert!(!exists(&format!("/run/netns/trireme-{}-lan", world.profile)));
    world.trireme(&["start"]);
    assert!(wait(|| get(&url).is_ok_and(|answer| answer.contains("Hello"))));
    assert_eq!(
        [
            uid(&["configmap", "kept"]),
            uid(&["deployment", "hw"]),
            uid(&["service", "hw"])
        ],
        before
    );
}

/// SIGKILL to every process in the cluster's network namespaces and to all their descendants.
fn kill_everything(world: &World) {
    let script = format!(
        "pids() {{ ip netns pids trireme-{0}-lan; ip netns pids trireme-{0}-1; }}\n\
         all() {{ for p in $1; do echo $p; all \"$(pgrep -P $p)\"; done; }}\n\
         kill -9 $(all \"$(pids)\" | sort -u)\n",
        world.profile
    );
    let status = std::process::Command::new("sh")
        .args(["-c", &script])
        .status()
        .expect("sh");
    assert!(status.success(), "killing failed: {status}");
}
