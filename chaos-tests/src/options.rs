//! Everything that decides a world; one seed gives all of it, and each part can be set by hand.

use crate::topology::Topology;
use chaos_store::FaultKind;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;
use support::Random;

/// Which users there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Workload {
    pub deployments: usize,
    pub stateful_sets: usize,
    pub counters: usize,
}

/// A world, before it is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    pub seed: u64,
    pub topology: Topology,
    pub nodes: usize,
    /// Faults happen for so long, once the cluster is up.
    pub trouble: Duration,
    pub fault_pace: Duration,
    pub faults: BTreeMap<FaultKind, u64>,
    pub workload: Workload,
    /// A bug put back in, by name, to see whether it is found.
    pub sabotage: Option<&'static str>,
}

impl Options {
    /// What `seed` decides for a topology. Whole kinds of faults are left out of some worlds: one that always
    /// happens may hide what another does (swarm testing).
    pub fn of_seed(seed: u64, topology: Topology, nodes: usize) -> Self {
        let random = Random::seeded(seed ^ 0x517c_c1b7_2722_0a95);
        let one_of =
            |choices: &[u64]| choices[usize::try_from(random.below(0..choices.len() as u64)).unwrap_or(0)];
        let few = |range: std::ops::Range<u64>| usize::try_from(random.below(range)).unwrap_or(0);
        let mut faults = BTreeMap::new();
        for kind in FaultKind::of_clusters() {
            let weight = one_of(&[0, 0, 1, 2, 4]);
            if weight > 0 {
                faults.insert(kind, weight);
            }
        }
        let trouble = Duration::from_secs(random.below(20..40));
        let fault_pace = Duration::from_millis(one_of(&[2_000, 4_000, 8_000]));
        let workload = Workload {
            deployments: few(1..4),
            stateful_sets: few(0..3),
            counters: few(1..4),
        };
        for kind in FaultKind::later_of_clusters() {
            let weight = one_of(&[0, 0, 0, 1, 2]);
            if weight > 0 {
                faults.insert(kind, weight);
            }
        }
        Self {
            seed,
            topology,
            nodes,
            trouble,
            fault_pace,
            faults,
            workload,
            sabotage: None,
        }
    }

    /// The arguments that repeat this world, without the program's name.
    pub fn arguments(&self) -> String {
        let usual = Self::of_seed(self.seed, self.topology, self.nodes);
        let mut text = format!(
            "--seed {} --topology {} --nodes {}",
            self.seed, self.topology, self.nodes
        );
        if self.faults != usual.faults {
            text += &format!(" --faults {}", list(&self.faults, ","));
        }
        if self.trouble != usual.trouble {
            text += &format!(" --trouble-ms {}", self.trouble.as_millis());
        }
        if self.fault_pace != usual.fault_pace {
            text += &format!(" --fault-pace-ms {}", self.fault_pace.as_millis());
        }
        if self.workload != usual.workload {
            text += &format!(" --workload {}", self.workload);
        }
        if let Some(sabotage) = self.sabotage {
            text += &format!(" --sabotage {sabotage}");
        }
        text
    }

    /// Each a step smaller than this world, the largest steps first.
    pub fn smaller(&self) -> Vec<Self> {
        let mut found = Vec::new();
        let mut add = |change: &dyn Fn(&mut Self)| {
            let mut smaller = self.clone();
            change(&mut smaller);
            if smaller != *self {
                found.push(smaller);
            }
        };
        if self.trouble > Duration::from_secs(5) {
            add(&|smaller| smaller.trouble /= 2);
        }
        for kind in self.faults.keys() {
            add(&|smaller| {
                smaller.faults.remove(kind);
            });
        }
        add(&|smaller| smaller.workload.counters = 0);
        add(&|smaller| smaller.workload.stateful_sets = 0);
        add(&|smaller| smaller.workload.deployments /= 2);
        found
    }
}

fn list(faults: &BTreeMap<FaultKind, u64>, between: &str) -> String {
    let list: Vec<String> = faults
        .iter()
        .map(|(kind, weight)| format!("{kind}={weight}"))
        .collect();
    if list.is_empty() {
        "none".to_owned()
    } else {
        list.join(between)
    }
}

impl fmt::Display for Workload {
    /// As `--workload` takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "deployments={},stateful-sets={},counters={}",
            self.deployments, self.stateful_sets, self.counters
        )
    }
}

impl Workload {
    /// Changes what `text` names (`deployments=2,counters=0`) and leaves the rest.
    ///
    /// # Errors
    /// When a name or a number is none.
    pub fn change(&mut self, text: &str) -> Result<(), String> {
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (name, value) = part
                .split_once('=')
                .ok_or_else(|| format!("`{part}` has no value"))?;
            let count = value.parse().map_err(|_| format!("`{value}` is no number"))?;
            match name {
                "deployments" => self.deployments = count,
                "stateful-sets" => self.stateful_sets = count,
                "counters" => self.counters = count,
                _ => return Err(format!("`{name}` is no part of a workload")),
            }
        }
        Ok(())
    }
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "seed {}: {} with {} nodes, {:?} of trouble, a fault every {:?} of [{}], workload [{}], sabotage {}",
            self.seed,
            self.topology,
            self.nodes,
            self.trouble,
            self.fault_pace,
            list(&self.faults, " "),
            self.workload,
            self.sabotage.unwrap_or("none")
        )
    }
}
