//! From arguments to an exit code.

use crate::command::{Command, run};
use clap::Parser;
use std::process::ExitCode;
use support::Env;

/// Backups of the store, in etcd's snapshot file format: etcd's tools take ours, and theirs are restored.
#[derive(Debug, Parser)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

/// Runs what `arguments` say; `program` is how it was called.
pub fn main(program: &str, arguments: &[String]) -> ExitCode {
    let words = std::iter::once(program).chain(arguments.iter().map(String::as_str));
    let line = match Line::try_parse_from(words) {
        Ok(line) => line,
        Err(error) => {
            // Nobody is left to tell when standard error is closed.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(u8::MAX));
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = match runtime {
        Ok(runtime) => runtime
            .block_on(run(line.command, &Env::production()))
            .map_err(|error| error.to_string()),
        Err(error) => Err(format!("starting the runtime: {error}")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error}");
            ExitCode::FAILURE
        }
    }
}
