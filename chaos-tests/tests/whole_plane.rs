//! The whole plane keeps its promises through faults, and one seed is one trace.

#![allow(clippy::unwrap_used)]

use std::process::Command;

/// A world in a process of its own; its last line.
fn world(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_chaos-tests"))
        .args(arguments)
        .args(["--failures", env!("CARGO_TARGET_TMPDIR")])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let last = text.lines().last().unwrap().to_owned();
    assert!(last.starts_with("KEPT"), "{text}");
    last
}

#[test]
fn a_stacked_control_plane_of_three_keeps_its_promises() {
    eprintln!("{}", world(&["--seed", "1", "--topology", "ha-stacked-3"]));
}

#[test]
fn one_machine_that_does_everything_keeps_its_promises() {
    eprintln!("{}", world(&["--seed", "2", "--topology", "all-in-one"]));
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let arguments = ["--seed", "7", "--topology", "apart", "--trouble-ms", "8000"];
    assert_eq!(world(&arguments), world(&arguments));
}
