//! Everything that decides a world; one seed gives all of it, and each part can be set by hand.

use crate::fault_kind::FaultKind;
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
}

/// A world, before it is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    pub seed: u64,
    /// Members of the store: 1, 3 or 5.
    pub members: usize,
    /// Faults happen for so long.
    pub trouble: Duration,
    /// The mean time from one fault to the next.
    pub fault_pace: Duration,
    /// How much each kind of fault weighs; those left out don't happen.
    pub faults: BTreeMap<FaultKind, u64>,
    pub workload: Workload,
    /// Log entries after which a member cuts its log: few, so that lagging members need snapshots.
    pub snapshot_entries: u64,
    /// A bug put back in, by name, to see whether it is found.
    pub sabotage: Option<&'static str>,
}

impl Options {
    /// What `seed` decides for a store of so many members. Whole kinds of faults are left out of some worlds:
    /// one that always happens may hide what another does (swarm testing).
    pub fn of_seed(seed: u64, members: usize) -> Self {
        // Of its own: options must not change what the world draws later.
        let random = Random::seeded(seed ^ 0x9e37_79b9_7f4a_7c15);
        let one_of =
            |choices: &[u64]| choices[usize::try_from(random.below(0..choices.len() as u64)).unwrap_or(0)];
        let few = |range: std::ops::Range<u64>| usize::try_from(random.below(range)).unwrap_or(0);
        let trouble = Duration::from_secs(random.below(8..20));
        let fault_pace = Duration::from_millis(one_of(&[300, 800, 2_000]));
        let mut faults = BTreeMap::new();
        for kind in FaultKind::ALL {
            let weight = one_of(&[0, 0, 1, 2, 4]);
            if weight > 0 && (members > 1 || kind.concerns_one_member()) {
                faults.insert(kind, weight);
            }
        }
        let workload = Workload {
            etcd_users: few(1..4),
            kubernetes_users: few(1..4),
            lease_holders: few(0..3),
            watchers: few(0..3),
            pace: Duration::from_millis(one_of(&[10, 30, 100])),
            transfers: random.below(0..2) == 0 && members > 1,
            compactions: random.below(0..3) > 0,
        };
        let snapshot_entries = one_of(&[50, 200, 5_000]);
        for kind in FaultKind::LATER {
            let weight = one_of(&[0, 0, 0, 1, 2]);
            if weight > 0 && (members > 1 || kind.concerns_one_member()) {
                faults.insert(kind, weight);
            }
        }
        Self {
            seed,
            members,
            trouble,
            fault_pace,
            faults,
            workload,
            snapshot_entries,
            sabotage: None,
        }
    }

    /// The arguments that repeat this world, without the program's name.
    pub fn arguments(&self) -> String {
        let mut text = format!("--seed {} --members {}", self.seed, self.members);
        let usual = Self::of_seed(self.seed, self.members);
        let faults = |faults: &BTreeMap<FaultKind, u64>| {
            let list: Vec<String> = faults
                .iter()
                .map(|(kind, weight)| format!("{kind}={weight}"))
                .collect();
            if list.is_empty() {
                "none".to_owned()
            } else {
                list.join(",")
            }
        };
        if self.faults != usual.faults {
            text += &format!(" --faults {}", faults(&self.faults));
        }
        if self.trouble != usual.trouble {
            text += &format!(" --trouble-ms {}", self.trouble.as_millis());
        }
        if self.fault_pace != usual.fault_pace {
            text += &format!(" --fault-pace-ms {}", self.fault_pace.as_millis());
        }
        if self.snapshot_entries != usual.snapshot_entries {
            text += &format!(" --snapshot-entries {}", self.snapshot_entries);
        }
        if self.workload != usual.workload {
            text += &format!(" --workload {}", self.workload);
        }
        if let Some(sabotage) = self.sabotage {
            text += &format!(" --sabotage {sabotage}");
        }
        text
    }
}

impl fmt::Display for Workload {
    /// As `--workload` takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "etcd={},kubernetes={},leases={},watchers={},pace-ms={},transfers={},compactions={}",
            self.etcd_users,
            self.kubernetes_users,
            self.lease_holders,
            self.watchers,
            self.pace.as_millis(),
            u8::from(self.transfers),
            u8::from(self.compactions)
        )
    }
}

impl Workload {
    /// Changes what `text` names (`etcd=2,pace-ms=30`) and leaves the rest.
    ///
    /// # Errors
    /// When a name or a number is none.
    pub fn change(&mut self, text: &str) -> Result<(), String> {
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (name, value) = part
                .split_once('=')
                .ok_or_else(|| format!("`{part}` has no value"))?;
            let number: u64 = value.parse().map_err(|_| format!("`{value}` is no number"))?;
            let count = usize::try_from(number).map_err(|error| error.to_string())?;
            match name {
                "etcd" => self.etcd_users = count,
                "kubernetes" => self.kubernetes_users = count,
                "leases" => self.lease_holders = count,
                "watchers" => self.watchers = count,
                "pace-ms" => self.pace = Duration::from_millis(number.max(1)),
                "transfers" => self.transfers = number > 0,
                "compactions" => self.compactions = number > 0,
                _ => return Err(format!("`{name}` is no part of a workload")),
            }
        }
        Ok(())
    }
}

/// Reads `crash=2,pause=1`, or `none`.
///
/// # Errors
/// When a kind or a weight is none.
pub fn parse_faults(text: &str) -> Result<BTreeMap<FaultKind, u64>, String> {
    let mut faults = BTreeMap::new();
    for part in text.split(',').filter(|part| !part.is_empty() && *part != "none") {
        let (name, weight) = part.split_once('=').unwrap_or((part, "1"));
        let kind = FaultKind::of_name(name).ok_or_else(|| format!("`{name}` is no kind of fault"))?;
        let weight = weight.parse().map_err(|_| format!("`{weight}` is no weight"))?;
        faults.insert(kind, weight);
    }
    Ok(faults)
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults: Vec<String> = self
            .faults
            .iter()
            .map(|(kind, weight)| format!("{kind}={weight}"))
            .collect();
        write!(
            f,
            "seed {}: {} members, {:?} of trouble, a fault every {:?} of [{}], log cut at {}, workload [{}], sabotage {}",
            self.seed,
            self.members,
            self.trouble,
            self.fault_pace,
            faults.join(" "),
            self.snapshot_entries,
            self.workload,
            self.sabotage.unwrap_or("none")
        )
    }
}
