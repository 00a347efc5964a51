//! Short runs of real processes. They need root, iproute2, nftables and util-linux; control planes also the `trireme`
//! beside the runner, and kubectl.

#![allow(clippy::unwrap_used)]

use std::process::Command;

fn run(arguments: &str) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_chaos-processes"))
        .args(arguments.split(' '))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    eprintln!("{text}\n{}", String::from_utf8_lossy(&output.stderr));
    (output.status.success(), text)
}

#[test]
fn three_members_keep_their_promises() {
    let (kept, text) = run("--seed 1 --members 3 --seconds 15");
    assert!(kept && text.contains("KEPT"), "{text}");
}

/// What the figures say is measured, not assumed: without faults there are none.
#[test]
fn a_store_of_one_without_faults_is_never_away() {
    let (kept, text) = run("--members 1 --seconds 3 --faults none");
    assert!(kept && !text.contains("of the leader"), "{text}");
}

#[test]
fn three_stacked_control_planes_keep_their_promises() {
    let (kept, text) = run(concat!(
        "--topology ha-stacked-3 --seed 1 --seconds 8 --fault-pace-ms 2000 --faults kill,restart,pause,unplug",
        " --nodes 1 --workload deployments=1,stateful-sets=0,counters=2"
    ));
    assert!(kept && text.contains("KEPT"), "{text}");
}

/// With nothing wrong, `kubectl` behind the balancer never sees an error: what it sees in other runs is the faults'.
#[test]
fn an_external_store_without_faults_is_never_away() {
    let (kept, text) = run(concat!(
        "--topology single-external --seed 1 --seconds 6 --faults none",
        " --nodes 1 --workload deployments=1,stateful-sets=0,counters=1"
    ));
    assert!(
        kept && text.contains("errors 0") && !text.contains(" times: first write"),
        "{text}"
    );
}
