//! How a world ended, for people and for machines.

use crate::faults::Faults;
use serde_json::{Value, json};
use std::fmt;
use std::time::Duration;
use support::sim::{Trace, TraceSummary};

/// Lines of the network's in the report of a violation.
const DUMPED_LINES: usize = 40;

/// What kind of promise was broken; the runner's exit code says which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Something happened that must never happen.
    Safety,
    /// Something that must happen did not, in time.
    Liveness,
    /// A component panicked, or stopped by itself without cause.
    Crash,
}

impl Class {
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Safety => 1,
            Self::Liveness => 2,
            Self::Crash => 3,
        }
    }

    pub fn of_exit_code(code: i32) -> Option<Self> {
        [Self::Safety, Self::Liveness, Self::Crash]
            .into_iter()
            .find(|class| i32::from(class.exit_code()) == code)
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Safety => "safety",
            Self::Liveness => "liveness",
            Self::Crash => "crash",
        })
    }
}

/// A promise that was not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub class: Class,
    /// The promise, in words.
    pub promise: String,
    /// What happened instead.
    pub what: String,
}

impl Violation {
    pub fn safety(promise: &str, what: impl Into<String>) -> Self {
        Self::new(Class::Safety, promise, what)
    }

    pub fn liveness(promise: &str, what: impl Into<String>) -> Self {
        Self::new(Class::Liveness, promise, what)
    }

    pub fn crash(promise: &str, what: impl Into<String>) -> Self {
        Self::new(Class::Crash, promise, what)
    }

    fn new(class: Class, promise: &str, what: impl Into<String>) -> Self {
        Self {
            class,
            promise: promise.to_owned(),
            what: what.into(),
        }
    }
}

/// What worlds of every sort end with.
#[derive(Debug)]
pub struct Ending {
    pub violation: Option<Violation>,
    pub simulated: Duration,
    pub healed_in: Duration,
    /// The store's last revision.
    pub revision: i64,
    /// What the world did to its hosts.
    pub faults: Vec<String>,
    /// What was last seen of them; only after a violation.
    pub dump: Vec<String>,
    pub trace: TraceSummary,
}

impl Ending {
    /// `seen` is asked only after a violation; what last crossed the network goes with it.
    pub fn new(
        violation: Option<Violation>,
        (simulated, healed_in, revision): (Duration, Duration, i64),
        (faults, trace): (&Faults, &Trace),
        seen: impl FnOnce() -> Vec<String>,
    ) -> Self {
        let mut dump = Vec::new();
        if violation.is_some() {
            let recent = trace.recent();
            let last = recent.len().saturating_sub(DUMPED_LINES);
            dump.extend(seen());
            dump.extend(recent.into_iter().skip(last));
        }
        Self {
            violation,
            simulated,
            healed_in,
            revision,
            faults: faults.log().to_vec(),
            dump,
            trace: trace.summary(),
        }
    }

    /// What led to a violation, for people, if there is one.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn write_violation(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(violation) = &self.violation else {
            return Ok(());
        };
        for fault in &self.faults {
            writeln!(f, "fault {fault}")?;
        }
        for line in &self.dump {
            writeln!(f, "dump {line}")?;
        }
        writeln!(f, "VIOLATION {violation}")
    }

    /// What of it belongs into the file of a failure.
    pub fn details(&self, seed: u64) -> Value {
        json!({
            "seed": seed,
            "simulated_ms": u64::try_from(self.simulated.as_millis()).unwrap_or(u64::MAX),
            "revision": self.revision,
            "faults": self.faults,
            "dump": self.dump,
            "trace": format!("{:016x}", self.trace.hash),
        })
    }
}

/// The word that begins the last line of every report.
pub fn verdict(violation: Option<&Violation>) -> &'static str {
    if violation.is_none() { "KEPT" } else { "BROKEN" }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} violation: not so that {}: {}",
            self.class, self.promise, self.what
        )
    }
}
