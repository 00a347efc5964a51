//! The program around simulated worlds: one world, many, one in two processes, smaller ones, or ones with known bugs.
//!
//! Ends with 0 when every promise was kept, 1 on a safety violation, 2 on a liveness violation, 3 on a crash, 4 when
//! the arguments make no sense.

use crate::outcome::Violation;
use crate::runner;
use crate::sabotage::{self, Bug};
use crate::trouble::{Trouble, parse_faults};
use clap::{Args, Parser};
use serde_json::Value;
use std::fmt::Display;
use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// What every program of worlds is told.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Decides everything: options, latencies, elections, faults.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A world for each of these seeds, `A..B` (B is left out), each in a process of its own.
    #[arg(long, value_parser = runner::parse_seeds, conflicts_with = "seed")]
    seeds: Option<Range<u64>>,
    /// So many worlds at a time.
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// Which faults happen, and how often: `crash=2,pause=1`, or `none`.
    #[arg(long)]
    faults: Option<String>,
    /// Who works in the world: `etcd=2,kubernetes=0,pace-ms=30` at a store, `deployments=2,counters=0` at a cluster;
    /// what isn't named is the seed's.
    #[arg(long)]
    pub workload: Option<String>,
    #[arg(long)]
    trouble_ms: Option<u64>,
    #[arg(long)]
    fault_pace_ms: Option<u64>,
    /// Puts a known bug back in, to see whether it is found.
    #[arg(long)]
    sabotage: Option<String>,
    /// After a violation, looks for a smaller world with the same one.
    #[arg(long)]
    shrink: bool,
    /// Runs the world in two processes; their traces must be equal.
    #[arg(long)]
    twice: bool,
    /// Puts every known bug back in, one after the other, and tells how many worlds it takes to find it; or
    /// only the one given by `--sabotage`.
    #[arg(long)]
    prove: bool,
    /// Where a violation is written to, as JSON.
    #[arg(long, default_value = "target/chaos")]
    failures: PathBuf,
    /// Logs of the components, with simulated times, on standard error; filtered by `TRIREME_LOG`.
    #[arg(long)]
    logs: bool,
}

impl Common {
    /// Changes what of a world's trouble was told.
    ///
    /// # Errors
    /// When a fault or a bug is not known.
    pub fn change(&self, trouble: &mut Trouble) -> Result<(), String> {
        if let Some(text) = &self.faults {
            trouble.faults = parse_faults(text)?;
        }
        let millis = |given: Option<u64>, usual| given.map_or(usual, Duration::from_millis);
        trouble.lasts = millis(self.trouble_ms, trouble.lasts);
        trouble.pace = millis(self.fault_pace_ms, trouble.pace);
        if let Some(name) = &self.sabotage {
            trouble.sabotage = Some(sabotage::find(name)?.name);
        }
        Ok(())
    }
}

/// A program's arguments, which know its worlds.
pub trait Program: Parser + Sync {
    /// The package that holds it.
    const PACKAGE: &'static str;
    /// The bugs that its worlds must find.
    const BUGS: &'static [Bug];
    type World: World;

    fn common(&self) -> &Common;

    /// The world of a seed, with what the arguments change of it.
    ///
    /// # Errors
    /// When the arguments make no sense.
    fn world(&self, seed: u64) -> Result<Self::World, String>;
}

/// All that decides a world, before it is built; shown, it is one line for people.
pub trait World: Clone + Display {
    /// The arguments that repeat it, without the program's name.
    fn arguments(&self) -> String;
    /// Each a step smaller than this world, the largest steps first.
    fn smaller(&self) -> Vec<Self>;
    /// For people: `seed 7 of 3 members`.
    fn name(&self) -> String;
    /// A file's name for its failure, without the ending.
    fn file_name(&self) -> String;
    /// Runs it to its end; at most one in a process.
    fn run(self) -> Told;
}

/// Worlds that differ from one by a single change.
pub struct Smaller<'a, W> {
    world: &'a W,
    pub worlds: Vec<W>,
}

impl<'a, W: Clone + PartialEq> Smaller<'a, W> {
    pub fn of(world: &'a W) -> Self {
        Self {
            world,
            worlds: Vec::new(),
        }
    }

    /// Adds the world with `change`, unless it is the same.
    pub fn add(&mut self, change: impl FnOnce(&mut W)) {
        let mut changed = self.world.clone();
        change(&mut changed);
        if changed != *self.world {
            self.worlds.push(changed);
        }
    }
}

/// What a world came to.
pub struct Told {
    pub violation: Option<Violation>,
    /// All of it, for people; the last line says how it ended.
    pub text: String,
    /// What of it belongs into the file of a failure: an object.
    pub details: Value,
}

/// The whole of a program.
pub fn main<P: Program>() -> ExitCode {
    runner::answer(dispatch::<P>)
}

fn dispatch<P: Program>(program: &P) -> Result<u8, String> {
    let text = |error: std::io::Error| error.to_string();
    let common = program.common();
    if let Some(seeds) = common.seeds.clone() {
        // Mistakes are told once, not by every world.
        program.world(seeds.start)?;
        let arguments = |seed| program.world(seed).map(|world| words(&world)).unwrap_or_default();
        let sweep = runner::sweep(seeds, common.jobs, arguments, |_| false);
        println!("{sweep}");
        return Ok(runner::exit_code(sweep.class()));
    }
    let world = program.world(common.seed)?;
    if common.prove {
        let only = common.sabotage.as_deref();
        let failures = |bug: &Bug| common.failures.join(bug.name).display().to_string();
        let words = |bug: &Bug| vec!["--failures".to_owned(), failures(bug)];
        let hidden = runner::prove(P::BUGS, only, common.jobs, words);
        return Ok(u8::from(hidden > 0));
    }
    if common.twice {
        return runner::twice(&words(&world)).map_err(text);
    }
    if common.shrink {
        let smallest = runner::shrink(world, World::smaller, words).map_err(text)?;
        println!("smallest: {}", again::<P>(&smallest));
        let ended = runner::run(&words(&smallest)).map_err(text)?;
        println!("{}", ended.output);
        return Ok(runner::exit_code(ended.class));
    }
    println!("options {world}");
    runner::report_panics(world.name(), again::<P>(&world), common.failures.clone());
    if common.logs {
        crate::log_to_stderr();
    }
    let told = world.clone().run();
    println!("{}", told.text);
    let Some(violation) = &told.violation else {
        return Ok(0);
    };
    let again = again::<P>(&world);
    println!("commit {}\nagain: {again}", runner::commit());
    let mut failure = told.details;
    failure["options"] = world.to_string().into();
    let file_name = format!("{}.json", world.file_name());
    match runner::write_failure(&common.failures.join(file_name), violation, &again, failure) {
        Ok(path) => println!("written to {}", path.display()),
        Err(error) => eprintln!("the failure could not be written: {error}"),
    }
    Ok(violation.class.exit_code())
}

fn words(world: &impl World) -> Vec<String> {
    world.arguments().split(' ').map(str::to_owned).collect()
}

/// The line that repeats a world.
fn again<P: Program>(world: &P::World) -> String {
    format!("cargo run -p {} -- {}", P::PACKAGE, world.arguments())
}
