//! Every flag of etcd's, 3.4 to 3.8 (`embed.Config.AddFlags`, `etcdmain/config.go`), and ours.
//!
//! Invariants, each held by a test:
//! - A name occurs once; a default is in its flag's own syntax.
//! - A flag that isn't served says why.

mod cluster;
mod legacy;
mod member;
mod security;
mod tuning;

use crate::flag::{Flag, Kind, Standing};
use std::collections::BTreeMap;

/// Flags under a heading, as `--help` shows them.
pub struct Group {
    pub title: &'static str,
    pub flags: &'static [Flag],
}

pub const GROUPS: [Group; 5] = [
    Group {
        title: "Member",
        flags: member::FLAGS,
    },
    Group {
        title: "Cluster",
        flags: cluster::FLAGS,
    },
    Group {
        title: "Security",
        flags: security::FLAGS,
    },
    Group {
        title: "Tuning, logs, checks",
        flags: tuning::FLAGS,
    },
    Group {
        title: "Of older versions",
        flags: legacy::FLAGS,
    },
];

/// A feature gate of etcd's (`server/features/etcd_features.go`).
struct Gate {
    name: &'static str,
    default: bool,
    /// `AllAlpha` and `AllBeta` open or close these.
    stage: Stage,
}

#[derive(PartialEq, Eq)]
enum Stage {
    Alpha,
    Beta,
}

const GATES: [Gate; 9] = [
    gate("StopGRPCServiceOnDefrag", false, Stage::Alpha),
    gate("InitialCorruptCheck", false, Stage::Alpha),
    gate("CompactHashCheck", false, Stage::Alpha),
    gate("TxnModeWriteWithSharedBuffer", true, Stage::Beta),
    gate("LeaseCheckpoint", false, Stage::Alpha),
    gate("LeaseCheckpointPersist", false, Stage::Alpha),
    gate("SetMemberLocalAddr", false, Stage::Alpha),
    gate("FastLeaseKeepAlive", true, Stage::Beta),
    gate("PriorityRequest", false, Stage::Alpha),
];

const fn gate(name: &'static str, default: bool, stage: Stage) -> Gate {
    Gate { name, default, stage }
}

const fn flag(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    standing: Standing,
    help: &'static str,
) -> Flag {
    Flag {
        name,
        kind,
        default,
        standing,
        help,
    }
}

/// A flag that does what it says.
const fn served(name: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Flag {
    flag(name, kind, default, Standing::Served, help)
}

/// A flag that is taken and changes nothing.
const fn idle(name: &'static str, kind: Kind, default: &'static str, reason: &'static str) -> Flag {
    flag(name, kind, default, Standing::Idle(reason), "")
}

/// A flag that must keep its default.
const fn refused(name: &'static str, kind: Kind, default: &'static str, reason: &'static str) -> Flag {
    flag(name, kind, default, Standing::Refused(reason), "")
}

pub fn all() -> impl Iterator<Item = &'static Flag> {
    GROUPS.into_iter().flat_map(|group| group.flags)
}

pub fn find(name: &str) -> Option<&'static Flag> {
    all().find(|flag| flag.name == name)
}

/// # Errors
/// When a gate is unknown.
pub fn check_gates(gates: &BTreeMap<String, bool>) -> Result<(), String> {
    let known =
        |name: &str| matches!(name, "AllAlpha" | "AllBeta") || GATES.iter().any(|gate| gate.name == name);
    match gates.keys().find(|name| !known(name)) {
        Some(name) => Err(format!("unrecognized feature gate: {name}")),
        None => Ok(()),
    }
}

/// Whether a gate is open when these were set.
pub fn gate_is_open(set: &BTreeMap<String, bool>, name: &str) -> bool {
    if let Some(open) = set.get(name) {
        return *open;
    }
    let Some(gate) = GATES.iter().find(|gate| gate.name == name) else {
        return false;
    };
    let all = match gate.stage {
        Stage::Alpha => "AllAlpha",
        Stage::Beta => "AllBeta",
    };
    set.get(all).copied().unwrap_or(gate.default)
}

#[cfg(test)]
mod tests {
    use super::{all, check_gates, find, gate_is_open};
    use crate::flag::Standing;
    use crate::value::gates;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_defaults_are_readable_and_successors_exist() {
        let mut seen = BTreeSet::new();
        for flag in all() {
            assert!(seen.insert(flag.name), "{} is there twice", flag.name);
            flag.kind
                .parse(flag.default)
                .unwrap_or_else(|reason| panic!("{}: {reason}", flag.name));
            match flag.standing {
                Standing::Renamed(name) => {
                    let successor = find(name).unwrap_or_else(|| panic!("{name} is no flag"));
                    assert_eq!(successor.kind, flag.kind, "{}", flag.name);
                }
                Standing::Idle(reason) | Standing::Refused(reason) => assert!(!reason.is_empty()),
                Standing::Gate(name) => {
                    assert_eq!(
                        check_gates(&gates(&format!("{name}=true")).expect("a gate")),
                        Ok(())
                    );
                }
                Standing::Served => assert!(!flag.help.is_empty(), "{} has no help", flag.name),
            }
        }
    }

    #[test]
    fn gates_are_opened_one_by_one_and_by_stage() {
        let open = |set: &str, name: &str| gate_is_open(&gates(set).expect("gates"), name);
        assert!(!open("", "CompactHashCheck"));
        assert!(open("CompactHashCheck=true", "CompactHashCheck"));
        assert!(open("AllAlpha=true", "CompactHashCheck"));
        assert!(!open("AllAlpha=true,CompactHashCheck=false", "CompactHashCheck"));
        assert!(!open("AllBeta=false", "FastLeaseKeepAlive"));
        assert_eq!(
            check_gates(&gates("Nonsense=true").expect("gates")),
            Err("unrecognized feature gate: Nonsense".to_owned())
        );
    }
}
