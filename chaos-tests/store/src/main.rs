//! Runs simulated worlds of the store; see `chaos_store::program`.

use chaos_store::sabotage::{BUGS, Bug};
use chaos_store::{Common, Options, Program, program};
use clap::Parser;
use std::process::ExitCode;

/// The store in one deterministic world.
#[derive(Debug, Clone, Parser)]
struct Arguments {
    #[command(flatten)]
    common: Common,
    /// Members of the store.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=5))]
    members: u64,
    #[arg(long)]
    snapshot_entries: Option<u64>,
}

impl Program for Arguments {
    const PACKAGE: &'static str = "chaos-store";
    const BUGS: &'static [Bug] = BUGS;
    type World = Options;

    fn common(&self) -> &Common {
        &self.common
    }

    fn world(&self, seed: u64) -> Result<Options, String> {
        let mut options = Options::of_seed(seed, usize::try_from(self.members).unwrap_or(3));
        self.common.change(&mut options.trouble)?;
        if let Some(text) = &self.common.workload {
            options.workload.change(text)?;
        }
        options.snapshot_entries = self.snapshot_entries.unwrap_or(options.snapshot_entries);
        Ok(options)
    }
}

fn main() -> ExitCode {
    program::main::<Arguments>()
}
