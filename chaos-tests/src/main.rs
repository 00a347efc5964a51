//! Runs one simulated world: `chaos-tests --seed 7`. Ends with 0 when it converged, 1 on a violation.

use chaos_tests::{Options, run};
use clap::Parser;

/// The whole control plane in one deterministic world.
#[derive(Debug, Parser)]
struct Arguments {
    /// Decides everything: latencies, elections, which process crashes when.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Logs of the components, with simulated times, on standard error.
    #[arg(long)]
    logs: bool,
}

fn main() {
    let arguments = Arguments::parse();
    let options = Options { seed: arguments.seed };
    println!("options {options:?}");
    if arguments.logs {
        chaos_tests::log_to_stderr();
    }
    match run(options) {
        Ok(report) => println!("{report}"),
        Err(violation) => {
            println!("VIOLATION {violation}");
            println!("again: cargo run -p chaos-tests -- --seed {}", arguments.seed);
            std::process::exit(1);
        }
    }
}
