//! Everything that decides a world; one seed gives all of it, and each part can be set by hand.

use crate::topology::{Machine, Topology};
use chaos_store::{FaultKind, Smaller, Told, Trouble, World, draw, one_of, parse_numbers};
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
    /// Of one object, by server-side apply.
    pub appliers: usize,
    /// Deployments that are left alone.
    pub steady: usize,
}

/// A world, before it is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    pub seed: u64,
    pub topology: Topology,
    pub nodes: usize,
    /// How the names begin of the machines that faults happen to; empty: all do.
    pub victims: Vec<String>,
    pub trouble: Trouble,
    pub workload: Workload,
}

impl Options {
    /// What `seed` decides for a topology. Whole kinds of faults are left out of some worlds: one that always
    /// happens may hide what another does (swarm testing).
    pub fn of_seed(seed: u64, topology: Topology, nodes: usize) -> Self {
        let random = Random::seeded(seed ^ 0x517c_c1b7_2722_0a95);
        let one_of = |choices: &[u64]| one_of(&random, choices);
        let few = |range: std::ops::Range<u64>| usize::try_from(random.below(range)).unwrap_or(0);
        let mut faults = BTreeMap::new();
        faults.extend(draw(&random, FaultKind::of_clusters(), &[0, 0, 1, 2, 4]));
        let lasts = Duration::from_secs(random.below(20..40));
        let pace = Duration::from_millis(one_of(&[2_000, 4_000, 8_000]));
        let mut workload = Workload {
            deployments: few(1..4),
            stateful_sets: few(0..3),
            counters: few(1..4),
            appliers: 0,
            steady: 0,
        };
        faults.extend(draw(&random, FaultKind::later_of_clusters(), &[0, 0, 0, 1, 2]));
        workload.appliers = few(0..4);
        faults.extend(draw(&random, FaultKind::latest_of_clusters(), &[0, 0, 0, 1, 2]));
        Self {
            seed,
            topology,
            nodes,
            victims: Vec::new(),
            trouble: Trouble {
                lasts,
                pace,
                faults,
                sabotage: None,
            },
            workload,
        }
    }

    /// The machines that faults happen to.
    pub fn victims<'a>(&self, machines: &'a [Machine]) -> impl Iterator<Item = &'a Machine> {
        let is_meant = |machine: &&Machine| {
            let mut beginnings = self.victims.iter();
            self.victims.is_empty() || beginnings.any(|begins| machine.name.starts_with(begins))
        };
        machines.iter().filter(is_meant)
    }
}

impl fmt::Display for Workload {
    /// As `--workload` takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "deployments={},stateful-sets={},counters={},appliers={},steady={}",
            self.deployments, self.stateful_sets, self.counters, self.appliers, self.steady
        )
    }
}

impl Workload {
    /// Changes what `text` names (`deployments=2,counters=0`) and leaves the rest.
    ///
    /// # Errors
    /// When a name or a number is none.
    pub fn change(&mut self, text: &str) -> Result<(), String> {
        for (name, count) in parse_numbers(text)? {
            match name {
                "deployments" => self.deployments = count,
                "stateful-sets" => self.stateful_sets = count,
                "counters" => self.counters = count,
                "appliers" => self.appliers = count,
                "steady" => self.steady = count,
                _ => return Err(format!("`{name}` is no part of a workload")),
            }
        }
        Ok(())
    }
}

impl World for Options {
    fn arguments(&self) -> String {
        let usual = Self::of_seed(self.seed, self.topology, self.nodes);
        let mut text = format!(
            "--seed {} --topology {} --nodes {}",
            self.seed, self.topology, self.nodes
        );
        if !self.victims.is_empty() {
            text += &format!(" --victims {}", self.victims.join(","));
        }
        text += &self.trouble.arguments_beside(&usual.trouble);
        if self.workload != usual.workload {
            text += &format!(" --workload {}", self.workload);
        }
        text
    }

    fn smaller(&self) -> Vec<Self> {
        let mut found = Smaller::of(self);
        if self.trouble.lasts > Duration::from_secs(5) {
            found.add(|smaller| smaller.trouble.lasts /= 2);
        }
        for kind in self.trouble.faults.keys() {
            found.add(|smaller| {
                smaller.trouble.faults.remove(kind);
            });
        }
        found.add(|smaller| smaller.workload.counters = 0);
        found.add(|smaller| smaller.workload.appliers = 0);
        found.add(|smaller| smaller.workload.stateful_sets = 0);
        found.add(|smaller| smaller.workload.steady = 0);
        found.add(|smaller| smaller.workload.deployments /= 2);
        found.worlds
    }

    fn name(&self) -> String {
        format!("seed {} {}", self.seed, self.topology)
    }

    fn file_name(&self) -> String {
        format!("{}-seed-{}", self.topology, self.seed)
    }

    fn run(self) -> Told {
        crate::world::run(self).told()
    }
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "seed {}: {} with {} nodes, {}, workload [{}]",
            self.seed, self.topology, self.nodes, self.trouble, self.workload
        )
    }
}
