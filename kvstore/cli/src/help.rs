//! `--help` and `--version`.

use crate::catalogue::{self, GROUPS};
use crate::flag::{Kind, Standing};
use kvstore_server::ETCD_VERSION;
use std::fmt::Write as _;

/// What `-h` prints.
pub fn usage(program: &str) -> String {
    let mut text = format!(
        "Usage:\n\n  {program} [FLAGS]\n    Run a member of the store, which speaks etcd v3.\n\n  \
         {program} --config-file FILE\n    The same, configured by a file in etcd's format.\n\n  \
         {program} --version\n  {program} -h | --help\n  {program} gateway start [FLAGS]\n\n\
         Every flag can also be given as a variable: --listen-client-urls as ETCD_LISTEN_CLIENT_URLS.\n"
    );
    for group in &GROUPS {
        let shown: Vec<_> = group.flags.iter().filter(|flag| !flag.help.is_empty()).collect();
        if shown.is_empty() {
            continue;
        }
        // Writing to a String can't fail.
        let _ = write!(text, "\n{}:\n", group.title);
        for flag in shown {
            let default = match (flag.kind, flag.default) {
                (
                    Kind::Text | Kind::Choice(_) | Kind::Set | Kind::Urls | Kind::List | Kind::Origins,
                    default,
                ) => {
                    format!("'{default}'")
                }
                (Kind::Gates, _) => "''".to_owned(),
                (_, default) => default.to_owned(),
            };
            let _ = write!(text, "\n  --{} {default}\n    {}\n", flag.name, flag.help);
        }
    }
    text.push_str("\nTaken, and without effect when set:\n\n");
    text.push_str(&names(|standing| matches!(standing, Standing::Idle(_))));
    text.push_str("\nRefused unless at their defaults:\n\n");
    text.push_str(&names(|standing| matches!(standing, Standing::Refused(_))));
    text.push_str("\nOlder names, still taken:\n\n");
    text.push_str(&names(|standing| {
        matches!(standing, Standing::Renamed(_) | Standing::Gate(_))
    }));
    text
}

/// Flags of a standing, one a line.
fn names(wanted: impl Fn(Standing) -> bool) -> String {
    let mut text = String::new();
    for flag in catalogue::all().filter(|flag| wanted(flag.standing)) {
        let remark = match flag.standing {
            Standing::Idle(reason) | Standing::Refused(reason) => reason.to_owned(),
            Standing::Renamed(name) => format!("--{name}"),
            Standing::Gate(name) => format!("--feature-gates={name}"),
            Standing::Served => String::new(),
        };
        let _ = writeln!(text, "  --{}: {remark}", flag.name);
    }
    text
}

/// What `--version` prints: etcd's lines, which scripts read, then ours.
pub fn version() -> String {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!(
        "etcd Version: {ETCD_VERSION}\nGit SHA: Not provided\nGo Version: none\nGo OS/Arch: {}/{arch}\n\
         Trireme Version: {}\n",
        std::env::consts::OS,
        env!("CARGO_PKG_VERSION")
    )
}
