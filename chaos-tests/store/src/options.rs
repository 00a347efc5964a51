//! Everything that decides a world; one seed gives all of it, and each part can be set by hand.

use crate::fault_kind::FaultKind;
use crate::program::{Smaller, Told, World};
use crate::trouble::{Trouble, draw, one_of, parse_numbers};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;
use support::Random;

/// Which clients there are, and how busy they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    pub etcd_users: usize,
    pub kubernetes_users: usize,
    pub lease_holders: usize,
    pub watchers: usize,
    /// The mean pause between two requests of one client.
    pub pace: Duration,
    pub transfers: bool,
    pub compactions: bool,
    /// Members are removed, and fresh ones added in their places.
    pub replacements: bool,
    /// So many write to each member without a break, to time failovers; no seed has any.
    pub probers: usize,
}

/// A world, before it is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    pub seed: u64,
    /// Members of the store: 1, 3 or 5.
    pub members: usize,
    pub trouble: Trouble,
    pub workload: Workload,
    /// Log entries after which a member cuts its log: few, so that lagging members need snapshots.
    pub snapshot_entries: u64,
}

impl Options {
    /// What `seed` decides for a store of so many members. Whole kinds of faults are left out of some worlds:
    /// one that always happens may hide what another does (swarm testing).
    pub fn of_seed(seed: u64, members: usize) -> Self {
        // Of its own: options must not change what the world draws later.
        let random = Random::seeded(seed ^ 0x9e37_79b9_7f4a_7c15);
        let one_of = |choices: &[u64]| one_of(&random, choices);
        let concerned = |(kind, _): &(FaultKind, u64)| members > 1 || kind.concerns_one_member();
        let few = |range: std::ops::Range<u64>| usize::try_from(random.below(range)).unwrap_or(0);
        let lasts = Duration::from_secs(random.below(8..20));
        let pace = Duration::from_millis(one_of(&[300, 800, 2_000]));
        let mut faults = BTreeMap::new();
        faults.extend(draw(&random, FaultKind::ALL, &[0, 0, 1, 2, 4]).filter(concerned));
        let mut workload = Workload {
            etcd_users: few(1..4),
            kubernetes_users: few(1..4),
            lease_holders: few(0..3),
            watchers: few(0..3),
            pace: Duration::from_millis(one_of(&[10, 30, 100])),
            transfers: random.below(0..2) == 0 && members > 1,
            compactions: random.below(0..3) > 0,
            replacements: false,
            probers: 0,
        };
        let snapshot_entries = one_of(&[50, 200, 5_000]);
        faults.extend(draw(&random, FaultKind::LATER, &[0, 0, 0, 1, 2]).filter(concerned));
        workload.replacements = random.below(0..3) == 0 && members > 1;
        faults.extend(draw(&random, FaultKind::LATEST, &[0, 0, 0, 1, 2]).filter(concerned));
        Self {
            seed,
            members,
            trouble: Trouble {
                lasts,
                pace,
                faults,
                sabotage: None,
            },
            workload,
            snapshot_entries,
        }
    }
}

impl fmt::Display for Workload {
    /// As `--workload` takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "etcd={},kubernetes={},leases={},watchers={},pace-ms={},transfers={},compactions={},replacements={},probers={}",
            self.etcd_users,
            self.kubernetes_users,
            self.lease_holders,
            self.watchers,
            self.pace.as_millis(),
            u8::from(self.transfers),
            u8::from(self.compactions),
            u8::from(self.replacements),
            self.probers
        )
    }
}

impl Workload {
    /// Changes what `text` names (`etcd=2,pace-ms=30`) and leaves the rest.
    ///
    /// # Errors
    /// When a name or a number is none.
    pub fn change(&mut self, text: &str) -> Result<(), String> {
        for (name, count) in parse_numbers(text)? {
            match name {
                "etcd" => self.etcd_users = count,
                "kubernetes" => self.kubernetes_users = count,
                "leases" => self.lease_holders = count,
                "watchers" => self.watchers = count,
                "pace-ms" => self.pace = Duration::from_millis(count.max(1) as u64),
                "transfers" => self.transfers = count > 0,
                "compactions" => self.compactions = count > 0,
                "probers" => self.probers = count,
                "replacements" => self.replacements = count > 0,
                _ => return Err(format!("`{name}` is no part of a workload")),
            }
        }
        Ok(())
    }
}

impl World for Options {
    fn arguments(&self) -> String {
        let mut text = format!("--seed {} --members {}", self.seed, self.members);
        let usual = Self::of_seed(self.seed, self.members);
        text += &self.trouble.arguments_beside(&usual.trouble);
        if self.snapshot_entries != usual.snapshot_entries {
            text += &format!(" --snapshot-entries {}", self.snapshot_entries);
        }
        if self.workload != usual.workload {
            text += &format!(" --workload {}", self.workload);
        }
        text
    }

    fn smaller(&self) -> Vec<Self> {
        let mut found = Smaller::of(self);
        if self.trouble.lasts > Duration::from_secs(3) {
            found.add(|smaller| smaller.trouble.lasts /= 2);
            found.add(|smaller| smaller.trouble.lasts = smaller.trouble.lasts * 3 / 4);
        }
        for kind in self.trouble.faults.keys() {
            found.add(|smaller| {
                smaller.trouble.faults.remove(kind);
            });
        }
        found.add(|smaller| smaller.workload.lease_holders = 0);
        found.add(|smaller| smaller.workload.watchers = 0);
        found.add(|smaller| smaller.workload.transfers = false);
        found.add(|smaller| smaller.workload.compactions = false);
        found.add(|smaller| smaller.workload.replacements = false);
        found.add(|smaller| smaller.workload.kubernetes_users = 0);
        found.add(|smaller| smaller.workload.etcd_users /= 2);
        found.add(|smaller| smaller.snapshot_entries = 5_000);
        found.worlds
    }

    fn name(&self) -> String {
        format!("seed {} of {} members", self.seed, self.members)
    }

    fn file_name(&self) -> String {
        format!("store-{}-seed-{}", self.members, self.seed)
    }

    fn run(self) -> Told {
        crate::world::run(self).told()
    }
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "seed {}: {} members, {}, log cut at {}, workload [{}]",
            self.seed, self.members, self.trouble, self.snapshot_entries, self.workload
        )
    }
}
