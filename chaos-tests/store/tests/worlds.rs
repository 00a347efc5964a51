//! Worlds that must keep their promises, one that must not, and one that must be the same twice.

#![allow(clippy::unwrap_used)]

use std::process::Command;

/// A world in a process of its own: whether it kept its promises, and its last line that says how it ended.
fn world(arguments: &str) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_chaos-store"))
        .args(arguments.split(' '))
        .args(["--failures", env!("CARGO_TARGET_TMPDIR")])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let ends = |line: &&str| line.starts_with("KEPT") || line.starts_with("BROKEN");
    let last = text.lines().rfind(ends).unwrap_or_default().to_owned();
    if !output.status.success() {
        eprintln!("{text}\n{}", String::from_utf8_lossy(&output.stderr));
    }
    (output.status.success(), last)
}

fn kept(arguments: &str) -> String {
    let (kept, last) = world(arguments);
    assert!(kept && last.starts_with("KEPT"), "{arguments}: {last}");
    eprintln!("{last}");
    last
}

#[test]
fn three_members_keep_their_promises() {
    for seed in 1..=4 {
        kept(&format!("--seed {seed} --members 3 --trouble-ms 6000"));
    }
}

#[test]
fn five_members_keep_their_promises() {
    kept("--seed 1 --members 5 --trouble-ms 6000");
}

#[test]
fn a_store_of_one_keeps_its_promises() {
    kept("--seed 1 --members 1 --trouble-ms 6000");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let arguments = "--seed 7 --members 3 --trouble-ms 6000";
    assert_eq!(kept(arguments), kept(arguments));
}

/// The canary: a store on disks that lie about syncs can't keep its promises. A suite that doesn't say so is of
/// no use.
#[test]
fn a_store_on_lying_disks_breaks_its_promises() {
    let arguments = "--members 3 --faults power-cut=2,crash=2,crash-leader=2 --sabotage syncs-ignored";
    let found = (1..=8).any(|seed| !world(&format!("--seed {seed} {arguments}")).0);
    assert!(found, "eight worlds on lying disks kept every promise");
}

/// Found by worlds like these: a leader that came back from a crash within its lease led on without an election,
/// and answered reads from before writes that it had acknowledged.
#[test]
fn a_leader_that_comes_back_reads_what_it_acknowledged() {
    for seed in [2, 3] {
        kept(&format!(
            "--seed {seed} --members 3 --trouble-ms 6000 --faults power-cut=2,crash-leader=4"
        ));
    }
}

/// A leader that was replaced without knowing it must not renew leases: the new leader's clock doesn't know.
#[test]
fn a_leader_that_was_replaced_renews_no_lease() {
    kept("--seed 5 --members 3 --trouble-ms 9000 --faults split=4,isolate-leader=2 --workload leases=3");
}

#[test]
fn members_that_are_replaced_under_load_lose_nothing() {
    for seed in [1, 2] {
        kept(&format!(
            "--seed {seed} --members 3 --trouble-ms 9000 --faults crash=1,roll=1 --workload replacements=1"
        ));
    }
}

/// A member that took the place of another crashed before it had applied that, and refused its own folder: the peer
/// URLs were the other's, as far as it knew.
#[test]
fn a_member_that_crashes_while_it_catches_up_comes_back() {
    kept("--seed 11141 --members 3");
}

/// A client that had looked whether it should go on wrote once more while everything was being looked at for the last
/// time: a fault of the world, which heard of no such revision.
#[test]
fn what_clients_ask_last_is_recorded() {
    kept("--seed 17212 --members 3");
}

#[test]
fn mistakes_in_the_arguments_have_an_exit_code_of_their_own() {
    let output = Command::new(env!("CARGO_BIN_EXE_chaos-store"))
        .args(["--faults", "sunshine=1"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(4));
}
