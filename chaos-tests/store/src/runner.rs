//! Worlds as processes: sweeps over seeds, comparisons of two runs, smaller worlds that fail the same way.
//!
//! A world runs in a process of its own, so the runner starts its own program again, with the arguments of one
//! world. It knows nothing of what a world is: any program whose last line tells the end, and whose exit code
//! tells the class, can use it.

use crate::failover::Failovers;
use crate::outcome::{Class, Violation};
use crate::sabotage::{self, Bug};
use clap::Parser;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

/// The exit code for arguments that make no sense.
pub const USAGE: u8 = 4;

/// The whole of a runner's program: reads its arguments and does what they say; gives the exit code.
pub fn answer<A: Parser>(dispatch: impl FnOnce(&A) -> Result<u8, String>) -> ExitCode {
    let arguments = match A::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are no mistakes.
            let mistake = error.use_stderr();
            let _ = error.print();
            return if mistake {
                ExitCode::from(USAGE)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match dispatch(&arguments) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(USAGE)
        }
    }
}

/// Runs one world in two processes, whose traces must be equal; gives the exit code.
///
/// # Errors
/// When a process can't be started.
pub fn twice(arguments: &[String]) -> std::io::Result<u8> {
    let (one, other) = (run(arguments)?, run(arguments)?);
    println!("{}\n{}", one.last_line, other.last_line);
    if one.last_line != other.last_line {
        println!("VIOLATION one seed, two traces");
        return Ok(Class::Crash.exit_code());
    }
    Ok(exit_code(one.class))
}

/// 0 when every promise was kept.
pub fn exit_code(class: Option<Class>) -> u8 {
    class.map_or(0, Class::exit_code)
}

/// How the process of one world ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// `None`: it kept its promises.
    pub class: Option<Class>,
    /// The line that says how it ended.
    pub last_line: String,
    /// The line of the violation, if there was one.
    pub violation: Option<String>,
    pub output: String,
}

/// Runs one world, with these arguments.
///
/// # Errors
/// When the process can't be started.
pub fn run(arguments: &[String]) -> std::io::Result<Ended> {
    let output = Command::new(std::env::current_exe()?)
        .args(arguments)
        // A world doesn't live long: giving memory back and asking for it again is a tenth of its time.
        .env("MIMALLOC_PURGE_DELAY", "-1")
        .stdin(Stdio::null())
        .output()?;
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    let class = match output.status.code() {
        Some(0) => None,
        // Killed, aborted, or a panic outside of the simulation: all are crashes.
        code => Some(code.and_then(Class::of_exit_code).unwrap_or(Class::Crash)),
    };
    if class.is_some() {
        text.push_str(&String::from_utf8_lossy(&output.stderr));
    }
    let ends = |line: &&str| line.starts_with("KEPT") || line.starts_with("BROKEN");
    Ok(Ended {
        class,
        last_line: text.lines().rfind(ends).unwrap_or("no last line").to_owned(),
        violation: text
            .lines()
            .find(|line| line.starts_with("VIOLATION"))
            .map(str::to_owned),
        output: text,
    })
}

/// What a sweep came to.
#[derive(Debug, Default)]
pub struct Sweep {
    pub worlds: u64,
    pub failovers: Failovers,
    /// Seeds that failed, with how.
    pub failed: BTreeMap<u64, Ended>,
}

impl Sweep {
    /// The worst class: what the sweep's own exit code says.
    pub fn class(&self) -> Option<Class> {
        self.failed.values().filter_map(|ended| ended.class).min()
    }
}

impl fmt::Display for Sweep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}{} worlds, {} broken",
            self.failovers,
            self.worlds,
            self.failed.len()
        )?;
        for (seed, ended) in &self.failed {
            write!(
                f,
                "\n  seed {seed}: {}",
                ended.violation.as_deref().unwrap_or("no violation told")
            )?;
        }
        Ok(())
    }
}

/// Runs a world for each seed, so many at a time. Prints a line for each; stops early when `enough` says so.
pub fn sweep(
    seeds: Range<u64>,
    jobs: usize,
    arguments: impl Fn(u64) -> Vec<String> + Sync,
    enough: impl Fn(&Sweep) -> bool + Sync,
) -> Sweep {
    let next = AtomicU64::new(seeds.start);
    let sweep = Mutex::new(Sweep::default());
    let locked = || sweep.lock().unwrap_or_else(PoisonError::into_inner);
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || enough(&locked()) {
                        return;
                    }
                    let ended = run(&arguments(seed)).unwrap_or_else(|error| Ended {
                        class: Some(Class::Crash),
                        last_line: error.to_string(),
                        violation: Some(format!("VIOLATION the world could not be started: {error}")),
                        output: String::new(),
                    });
                    println!("{}", ended.last_line);
                    let mut sweep = locked();
                    sweep.worlds += 1;
                    sweep.failovers.read(&ended.output);
                    if ended.class.is_some() {
                        sweep.failed.insert(seed, ended);
                    }
                }
            });
        }
    });
    sweep.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// `A..B`, B left out.
///
/// # Errors
/// When that is no range, or an empty one.
pub fn parse_seeds(text: &str) -> Result<Range<u64>, String> {
    let (from, to) = text.split_once("..").ok_or("seeds are given as A..B")?;
    let number = |text: &str| text.parse::<u64>().map_err(|_| format!("`{text}` is no seed"));
    let seeds = number(from)?..number(to)?;
    if seeds.is_empty() {
        return Err(format!("there is no seed in {text}"));
    }
    Ok(seeds)
}

/// Puts bugs back in, one after the other (or `only` one), and tells how many worlds it takes to find each. Every
/// bug must be found, or the worlds prove nothing: gives how many were not. `words` are arguments of a bug's
/// worlds beside seed, bug and its own.
pub fn prove(
    bugs: &[Bug],
    only: Option<&str>,
    jobs: usize,
    words: impl Fn(&Bug) -> Vec<String> + Sync,
) -> usize {
    let mut hidden = 0;
    for bug in bugs {
        if only.is_some_and(|only| only != bug.name) {
            continue;
        }
        let wanted = |seed: u64| {
            let mut all = vec!["--seed".to_owned(), seed.to_string()];
            all.extend(["--sabotage".to_owned(), bug.name.to_owned()]);
            all.extend(words(bug));
            all.extend(bug.arguments.iter().map(|word| (*word).to_owned()));
            all
        };
        let seeds = sabotage::FIRST_SEED..sabotage::FIRST_SEED + sabotage::TRIES;
        let sweep = sweep(seeds, jobs, wanted, |sweep| !sweep.failed.is_empty());
        match sweep.failed.first_key_value() {
            Some((seed, ended)) => {
                let violation = ended.violation.as_deref().unwrap_or("a crash");
                let violation: String = violation.chars().take(160).collect();
                println!(
                    "FOUND {} after {} worlds, at seed {seed}: {violation}",
                    bug.name, sweep.worlds
                );
            }
            None => {
                hidden += 1;
                println!("HIDDEN {} from {} worlds: {}", bug.name, sweep.worlds, bug.what);
            }
        }
    }
    println!("{hidden} bugs were not found");
    hidden
}

/// Looks for a smaller world that fails in the same way: takes the first candidate that does, again and again.
pub fn shrink<O: Clone>(
    start: O,
    candidates: impl Fn(&O) -> Vec<O>,
    arguments: impl Fn(&O) -> Vec<String>,
) -> std::io::Result<O> {
    let promise = |ended: &Ended| {
        let violation = ended.violation.clone().unwrap_or_default();
        // The promise, without what happened: names and times differ from world to world.
        let words = violation.split(": ").take(2).collect::<Vec<_>>().join(": ");
        (ended.class, words)
    };
    let wanted = promise(&run(&arguments(&start))?);
    if wanted.0.is_none() {
        return Ok(start);
    }
    let mut smallest = start;
    'again: loop {
        for candidate in candidates(&smallest) {
            let ended = run(&arguments(&candidate))?;
            if promise(&ended) == wanted {
                println!("smaller: {}", arguments(&candidate).join(" "));
                smallest = candidate;
                continue 'again;
            }
        }
        return Ok(smallest);
    }
}

/// From now on a panic ends the process with the report of a crash: taking a world apart while it unwinds may
/// panic again, and then nothing would be told at all. `world` names it, `again` repeats it. Where it was is told on standard
/// error when `RUST_BACKTRACE=1` asks for it.
pub fn report_panics(world: String, again: String, failures: PathBuf) {
    std::panic::set_hook(Box::new(move |panic| {
        let at = crate::history::now();
        let what = format!("at {at:?}: {panic}").replace('\n', " ");
        let violation = Violation::crash("nothing panics", &what);
        eprintln!("{}", std::backtrace::Backtrace::capture());
        println!("VIOLATION {violation}");
        println!("BROKEN {world} after {at:?} simulated: a crash");
        println!("commit {}\nagain: {again}", commit());
        let path = failures.join(format!("{}.json", world.replace(' ', "-")));
        match write_failure(&path, &violation, &again, json!({})) {
            Ok(path) => println!("written to {}", path.display()),
            Err(error) => println!("the failure could not be written: {error}"),
        }
        std::process::exit(i32::from(violation.class.exit_code()));
    }));
}

/// Writes to `path` what repeats a violation, and the details of its world; gives the path back.
///
/// # Errors
/// When it can't be written.
pub fn write_failure<'a>(
    path: &'a Path,
    violation: &Violation,
    again: &str,
    details: Value,
) -> std::io::Result<&'a Path> {
    let mut failure = details;
    failure["commit"] = commit().into();
    failure["again"] = again.into();
    failure["class"] = violation.class.to_string().into();
    failure["promise"] = violation.promise.clone().into();
    failure["what"] = violation.what.clone().into();
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, format!("{failure:#}\n"))?;
    Ok(path)
}

/// The commit that is checked out, for reports.
pub fn commit() -> String {
    let output = Command::new("git")
        .args(["rev-parse", "--short", "HEAD"])
        .output();
    match output {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        _ => "unknown".to_owned(),
    }
}
