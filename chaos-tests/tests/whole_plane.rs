//! The whole plane converges through crashes, and one seed is one trace.

#![allow(clippy::unwrap_used)]

use std::process::Command;

/// A world in a process of its own; its last line.
fn world(seed: u64) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_chaos-tests"))
        .args(["--seed", &seed.to_string()])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let last = text.lines().last().unwrap().to_owned();
    assert!(last.starts_with("CONVERGED"), "{text}");
    last
}

#[test]
fn a_deployment_becomes_ready_and_stays_right_through_crashes() {
    for seed in 1..=2 {
        eprintln!("{}", world(seed));
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    assert_eq!(world(7), world(7));
}
