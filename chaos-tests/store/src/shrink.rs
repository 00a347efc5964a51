//! Smaller worlds than a given one.

use crate::options::Options;
use std::time::Duration;

/// Each a step smaller than `options`, the largest steps first.
pub fn candidates(options: &Options) -> Vec<Options> {
    let mut found = Vec::new();
    let mut add = |change: &dyn Fn(&mut Options)| {
        let mut smaller = options.clone();
        change(&mut smaller);
        if smaller != *options {
            found.push(smaller);
        }
    };
    if options.trouble > Duration::from_secs(3) {
        add(&|smaller| smaller.trouble /= 2);
        add(&|smaller| smaller.trouble = smaller.trouble * 3 / 4);
    }
    for kind in options.faults.keys() {
        add(&|smaller| {
            smaller.faults.remove(kind);
        });
    }
    add(&|smaller| smaller.workload.lease_holders = 0);
    add(&|smaller| smaller.workload.watchers = 0);
    add(&|smaller| smaller.workload.transfers = false);
    add(&|smaller| smaller.workload.compactions = false);
    add(&|smaller| smaller.workload.kubernetes_users = 0);
    add(&|smaller| smaller.workload.etcd_users /= 2);
    add(&|smaller| smaller.snapshot_entries = 5_000);
    found
}
