//! Runs simulated clusters; see `chaos_store::program`.

use chaos_store::sabotage::{Bug, CLUSTER_BUGS};
use chaos_store::{Common, Program, program};
use chaos_tests::{Options, Topology};
use clap::Parser;
use std::process::ExitCode;

// A fifth of a world's time went into the C library's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The whole control plane in one deterministic world.
#[derive(Debug, Clone, Parser)]
struct Arguments {
    #[command(flatten)]
    common: Common,
    /// all-in-one, single, single-external, ha-stacked-3, ha-stacked-5, ha-external-3, ha-external-5, apart; or
    /// `any`: the seed chooses.
    #[arg(long, default_value = "any")]
    topology: String,
    /// Nodes beside the control plane.
    #[arg(long, default_value_t = 2)]
    nodes: usize,
    /// Faults happen only to machines whose names begin so: `plane,store`, or `node`.
    #[arg(long, value_delimiter = ',')]
    victims: Vec<String>,
}

impl Program for Arguments {
    const PACKAGE: &'static str = "chaos-tests";
    const BUGS: &'static [Bug] = CLUSTER_BUGS;
    type World = Options;

    fn common(&self) -> &Common {
        &self.common
    }

    fn world(&self, seed: u64) -> Result<Options, String> {
        let topology = if self.topology == "any" {
            let number = usize::try_from(seed % Topology::ALL.len() as u64).unwrap_or(0);
            Topology::ALL[number]
        } else {
            Topology::parse(&self.topology)?
        };
        let mut options = Options::of_seed(seed, topology, self.nodes);
        options.victims.clone_from(&self.victims);
        if options.victims(&topology.machines(self.nodes)).next().is_none() {
            return Err(format!(
                "no machine of {topology} is called {}",
                self.victims.join(" or ")
            ));
        }
        self.common.change(&mut options.trouble)?;
        if let Some(text) = &self.common.workload {
            options.workload.change(text)?;
        }
        Ok(options)
    }
}

fn main() -> ExitCode {
    program::main::<Arguments>()
}
