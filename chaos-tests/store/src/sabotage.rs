//! Known bugs that can be put back in, to prove that the worlds find them.
//!
//! A bug of the disk is a disk that breaks its promise; a bug of the code is a question at the place where the
//! bug would be (`support::Sabotage`), which only a simulation can answer with yes.

/// Where a bug sits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Disk,
    Code,
}

/// A bug, and what a world needs for it to show.
#[derive(Debug, Clone, Copy)]
pub struct Bug {
    pub name: &'static str,
    pub place: Place,
    pub what: &'static str,
    /// Changes to the options that bring the bug out, as arguments; a seed's own options will do it too, later.
    pub arguments: &'static [&'static str],
}

const fn code(name: &'static str, what: &'static str) -> Bug {
    Bug {
        name,
        place: Place::Code,
        what,
        arguments: &[],
    }
}

const fn disk(name: &'static str, what: &'static str) -> Bug {
    Bug {
        name,
        place: Place::Disk,
        what,
        arguments: &["--faults", "power-cut=2,crash=2,crash-leader=2"],
    }
}

const fn with(bug: Bug, arguments: &'static [&'static str]) -> Bug {
    Bug { arguments, ..bug }
}

/// The canary: a store on such disks can't keep its promises, and a suite that doesn't say so is of no use.
pub const CANARY: &str = "syncs-ignored";

/// All of them.
pub const BUGS: &[Bug] = &[
    disk(CANARY, "the disk says that all is durable while nothing is"),
    disk("torn-writes", "half a write survives a power cut"),
    with(
        code(
            "vote-not-persisted",
            "a member forgets at a crash whom it voted for",
        ),
        &[
            "--faults",
            "power-cut=2,crash=4,crash-leader=4",
            "--fault-pace-ms",
            "300",
        ],
    ),
    with(
        code("ack-before-sync", "log entries count as durable before the sync"),
        &["--faults", "power-cut=2,crash=2,crash-leader=2"],
    ),
    with(
        code(
            "applied-index-lost",
            "a crash forgets how far the log was applied",
        ),
        &["--faults", "power-cut=2,crash=2,crash-leader=2"],
    ),
    with(
        code(
            "unchecked-lease-read",
            "whoever believes to lead answers reads without asking a quorum",
        ),
        &["--faults", "pause-leader=4,isolate-leader=4"],
    ),
    code(
        "read-without-barrier",
        "every member answers linearizable reads from what it has",
    ),
    with(
        code(
            "repeated-proposal",
            "a forwarded write whose answer was lost is sent again",
        ),
        &[
            "--faults",
            "pause-leader=2,isolate-leader=2,crash-leader=2,one-way=2",
        ],
    ),
    code("conditions-ignored", "transactions always succeed"),
    with(
        code(
            "lease-cut-by-new-leader",
            "a new leader takes leases to have run out",
        ),
        &[
            "--faults",
            "crash-leader=2,isolate-leader=2",
            "--workload",
            "leases=3,transfers=1",
        ],
    ),
    with(
        code(
            "expiry-by-ex-leader",
            "a leader that was replaced still lets leases end",
        ),
        &[
            "--faults",
            "pause-leader=4,isolate-leader=4",
            "--workload",
            "leases=3",
        ],
    ),
    with(
        code("renewal-not-counted", "a renewal is answered and forgotten"),
        &["--workload", "leases=3"],
    ),
    with(
        code(
            "renewal-by-ex-leader",
            "a leader that was replaced still renews leases",
        ),
        &[
            "--faults",
            "pause-leader=2,isolate-leader=4,split=4",
            "--workload",
            "leases=3",
        ],
    ),
    code(
        "watch-gap-at-resumption",
        "a watcher that goes on from the past is told only what is new",
    ),
    with(
        code(
            "watch-gap-at-snapshot",
            "what a snapshot from the leader skips is not told to watchers",
        ),
        &[
            "--faults",
            "isolate=4,pause=2",
            "--snapshot-entries",
            "50",
            "--workload",
            "watchers=2,pace-ms=10",
        ],
    ),
    with(
        code(
            "compaction-hides-gap",
            "a watcher from a compacted revision gets what is left",
        ),
        &[
            "--workload",
            "watchers=2,pace-ms=10,compactions=1",
            "--faults",
            "isolate=2,crash=2",
        ],
    ),
    code(
        "early-progress",
        "progress is told to watchers that are still behind",
    ),
    code(
        "split-revision",
        "a watcher is told one revision in several responses",
    ),
    code("previous-value-missing", "events come without the previous value"),
];

/// Bugs of the components above the store: found by whole clusters only.
pub const CLUSTER_BUGS: &[Bug] = &[
    with(
        code(
            "stale-update-accepted",
            "an object is replaced whatever happened to it since it was read",
        ),
        &[
            "--topology",
            "all-in-one",
            "--faults",
            "none",
            "--trouble-ms",
            "5000",
            "--workload",
            "deployments=0,stateful-sets=0,counters=8",
        ],
    ),
    with(
        code(
            "unguarded-write",
            "objects are written without asking the store whether they are still what was read",
        ),
        &[
            "--topology",
            "all-in-one",
            "--faults",
            "none",
            "--trouble-ms",
            "5000",
            "--workload",
            "deployments=0,stateful-sets=0,counters=0,appliers=8",
        ],
    ),
    with(
        code(
            "cache-skips-at-resumption",
            "a watch cache that resumes at the store skips a revision",
        ),
        &[
            "--topology",
            "single-external",
            "--faults",
            "crash=2,isolate=2",
            "--fault-pace-ms",
            "2000",
        ],
    ),
    with(
        code(
            "assumption-forgotten",
            "the scheduler doesn't count a pod until a watch shows it bound",
        ),
        &[
            "--topology",
            "all-in-one",
            "--faults",
            "none",
            "--workload",
            "deployments=8,stateful-sets=0,counters=0,appliers=0",
        ],
    ),
    with(
        code(
            "lease-taken-early",
            "a candidate takes a lease that has not run out",
        ),
        &["--topology", "apart", "--faults", "none", "--trouble-ms", "5000"],
    ),
    with(
        code("garbage-stays", "nothing is deleted with its owner"),
        &["--topology", "single", "--faults", "none"],
    ),
    with(
        code(
            "deletion-confirmed-early",
            "a node agent says that a pod is gone while its containers still stop",
        ),
        &[
            "--topology",
            "single",
            "--faults",
            "none",
            "--workload",
            "deployments=0,stateful-sets=3,counters=0,appliers=0",
        ],
    ),
    with(
        code(
            "deletes-by-force",
            "pods of a node that is given up are gone before it says that they have ended",
        ),
        &[
            "--topology",
            "single",
            "--faults",
            "exile=1",
            "--workload",
            "deployments=0,stateful-sets=3,counters=0,appliers=0",
        ],
    ),
    with(
        code(
            "rollout-takes-all",
            "a roll-out asks nobody how many pods it may take",
        ),
        &[
            "--topology",
            "single",
            "--faults",
            "none",
            "--workload",
            "deployments=3,stateful-sets=0,counters=0,appliers=0",
        ],
    ),
];

/// The bug of this name.
///
/// # Errors
/// When there is none; the known ones are listed.
pub fn find(name: &str) -> Result<&'static Bug, String> {
    let all = || BUGS.iter().chain(CLUSTER_BUGS);
    all().find(|bug| bug.name == name).ok_or_else(|| {
        let known: Vec<&str> = all().map(|bug| bug.name).collect();
        format!("`{name}` is no known bug; known are {}", known.join(" "))
    })
}

/// How often a world may be tried before a bug counts as not found.
pub const TRIES: u64 = 40;
/// A bug is looked for with these seeds.
pub const FIRST_SEED: u64 = 1;
