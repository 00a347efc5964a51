//! Every topology keeps its promises through faults, one seed is one trace, and a known bug is found.

#![allow(clippy::unwrap_used)]

use std::process::Command;

/// A world in a process of its own: whether it kept its promises, and all that it printed.
fn world(arguments: &str) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_chaos-tests"))
        .args(arguments.split(' '))
        .args(["--failures", env!("CARGO_TARGET_TMPDIR")])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        eprintln!("{text}\n{}", String::from_utf8_lossy(&output.stderr));
    }
    (output.status.success(), text)
}

/// The last line of a world that must keep its promises.
fn kept(arguments: &str) -> String {
    let (kept, text) = world(arguments);
    let last = text.lines().last().unwrap_or_default().to_owned();
    assert!(kept && last.starts_with("KEPT"), "{arguments}: {last}");
    eprintln!("{last}");
    last
}

/// A world with a known bug must break this promise.
fn found_out(arguments: &str, promise: &str) {
    let (kept, text) = world(arguments);
    assert!(!kept && text.contains(promise), "{text}");
}

#[test]
fn one_machine_that_does_everything_keeps_its_promises() {
    kept("--seed 2 --topology all-in-one --trouble-ms 6000");
}

#[test]
fn a_single_control_plane_keeps_its_promises() {
    kept("--seed 3 --topology single --trouble-ms 6000");
}

/// Found by this world: an agent whose API server refused connections wrote a pod's status again and again
/// without a pause, until the node had no port left.
#[test]
fn agents_bear_an_api_server_that_refuses_them() {
    kept(concat!(
        "--seed 2 --topology single-external --trouble-ms 15000 --fault-pace-ms 2000",
        " --faults power-cut=4,isolate=4,one-way=4,slow-network=4,lossy-network=1,full-disk=4",
        " --workload deployments=2,stateful-sets=0,counters=3"
    ));
}

#[test]
fn a_stacked_control_plane_of_three_keeps_its_promises() {
    kept("--seed 1 --topology ha-stacked-3 --nodes 3 --trouble-ms 5000 --fault-pace-ms 1000");
}

#[test]
fn a_stacked_control_plane_of_five_keeps_its_promises() {
    kept("--seed 2 --topology ha-stacked-5 --trouble-ms 3000 --fault-pace-ms 1000");
}

#[test]
fn an_external_store_of_three_keeps_its_promises() {
    kept("--seed 7 --topology ha-external-3 --trouble-ms 3000 --fault-pace-ms 1000");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let arguments = "--seed 7 --topology single-external --trouble-ms 4000 --fault-pace-ms 1000";
    assert_eq!(kept(arguments), kept(arguments));
}

/// The canary: an API server that takes whatever it is given loses updates. A suite that doesn't say so is of
/// no use.
#[test]
fn an_api_server_that_takes_stale_updates_is_found_out() {
    found_out(
        concat!(
            "--seed 1 --topology all-in-one --faults none --trouble-ms 5000",
            " --workload deployments=0,stateful-sets=0,counters=8 --sabotage stale-update-accepted"
        ),
        "no update is lost",
    );
}

/// A roll-out was looked for under a key where it never is, and so never judged.
#[test]
fn a_roll_out_that_takes_too_many_pods_is_found_out() {
    found_out(
        concat!(
            "--seed 1 --topology single --faults none --trouble-ms 5000",
            " --workload deployments=3,stateful-sets=0,counters=0,appliers=0 --sabotage rollout-takes-all"
        ),
        "a roll-out keeps replicas - maxUnavailable pods available",
    );
}

#[test]
fn a_lease_that_is_taken_early_is_found_out() {
    found_out(
        concat!(
            "--seed 1 --topology apart --faults none --trouble-ms 1000",
            " --workload deployments=0,stateful-sets=0,counters=1,appliers=0 --sabotage lease-taken-early"
        ),
        "a lease is taken over only when it has run out",
    );
}

#[test]
fn pods_of_machines_that_are_given_up_but_live_do_not_run_twice() {
    kept(concat!(
        "--seed 14 --topology single --nodes 3 --faults exile=2 --trouble-ms 21000",
        " --workload deployments=1,stateful-sets=2,counters=0,appliers=0"
    ));
}

/// Found by this world: what a ReplicaSet was about to delete counted as available, and one pod too many went.
#[test]
fn a_roll_out_counts_no_pod_that_is_about_to_go() {
    kept("--seed 14057 --topology single --nodes 2 --trouble-ms 22000");
}

#[test]
fn mistakes_in_the_arguments_have_an_exit_code_of_their_own() {
    let output = Command::new(env!("CARGO_BIN_EXE_chaos-tests"))
        .args(["--topology", "donut"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(4));
}
