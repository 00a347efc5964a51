//! Short runs of real processes. They need root, iproute2, nftables and util-linux.

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
