//! `--log-level`, `--log-format`, `--log-outputs`.

use crate::settings::Settings;
use support::telemetry::{Format, INFO, Logging, Output, SILENCED};

/// What is logged, how and where; anything unreadable counts as etcd's default.
pub fn of(settings: &Settings) -> Logging {
    let format = match settings.text("log-format").as_str() {
        "console" => Format::Text,
        _ => Format::Etcd,
    };
    let level = match settings.text("log-level").to_ascii_lowercase().as_str() {
        // The libraries below say so much that nothing else would be seen.
        "debug" => "debug,h2=info,hyper=info,hyper_util=info,tower=info,rustls=info,openraft=info",
        "warn" => "warn",
        "error" | "dpanic" | "panic" | "fatal" => "error",
        _ => INFO,
    };
    let filter = format!("{level},{SILENCED}");
    let outputs = settings.list("log-outputs");
    let outputs = outputs.iter().map(|output| match output.as_str() {
        // Under systemd standard error leads to the journal.
        "default" | "stderr" | "systemd/journal" => Output::Stderr,
        "stdout" => Output::Stdout,
        path => Output::File(path.into()),
    });
    let mut outputs: Vec<Output> = outputs.collect();
    if outputs.is_empty() {
        outputs.push(Output::Stderr);
    }
    outputs.dedup();
    Logging {
        format,
        filter,
        outputs,
    }
}
