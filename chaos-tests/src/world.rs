//! Builds a world from its options, steps it, makes the faults, and reports.

use crate::hosts::{self, Machine};
use crate::identities::{API_SERVERS, CONTROLLERS, NODES, SCHEDULERS, STORES};
use crate::scenario::{Phase, Story};
use crate::user;
use kvstore_storage::MemoryDisk;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use support::sim::{Trace, TraceSummary, sim_env};
use support::{Env, Random};

/// A world that has not ended by itself by then hangs.
const LIMIT: Duration = Duration::from_secs(600);

#[derive(Debug, Clone, Copy)]
pub struct Options {
    pub seed: u64,
}

/// What a world that converged has to say.
#[derive(Debug, Clone)]
pub struct Report {
    pub seed: u64,
    pub simulated: Duration,
    pub crashes: Vec<String>,
    pub trace: TraceSummary,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "CONVERGED seed {} after {:?} simulated, crashed {}, {} events, trace {:016x}",
            self.seed,
            self.simulated,
            self.crashes.join(" "),
            self.trace.events,
            self.trace.hash
        )
    }
}

/// A promise that was not kept, with what led to it.
#[derive(Debug)]
pub struct Violation {
    what: String,
    simulated: Duration,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {:?}: {}", self.simulated, self.what)
    }
}

/// Gives every boot of every host randomness of its own, all of it decided by the world's seed.
struct Seeds {
    random: Random,
    trace: Trace,
}

impl Seeds {
    fn env(&self) -> Env {
        sim_env(self.random.u64(), &self.trace)
    }

    /// Environments of one host, a new one at each boot.
    fn boots(&self) -> impl Fn() -> Env + 'static {
        let (seed, trace, boots) = (self.random.u64(), self.trace.clone(), AtomicU64::new(0));
        move || sim_env(seed.wrapping_add(boots.fetch_add(1, Ordering::Relaxed)), &trace)
    }
}

/// Runs one world to its end.
///
/// # Errors
/// The first violation.
pub fn run(options: Options) -> Result<Report, Violation> {
    let seeds = Seeds {
        random: Random::seeded(options.seed),
        trace: Trace::default(),
    };
    let mut sim = turmoil::Builder::new()
        .rng_seed(options.seed)
        .simulation_duration(LIMIT)
        .tick_duration(Duration::from_millis(1))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(4))
        .tcp_capacity(65_536)
        .build();
    let disks: BTreeMap<&str, MemoryDisk> = STORES.iter().map(|name| (*name, MemoryDisk::new())).collect();
    populate(&mut sim, &seeds, &disks);
    let story = Story::default();
    {
        let (env, story) = (seeds.env(), story.clone());
        sim.client("user", async move {
            user::live(env, story).await.map_err(|e| format!("{e:#}").into())
        });
    }
    let mut faults = Faults {
        disks,
        random: seeds.random.fork(),
        down: BTreeMap::new(),
        crashes: Vec::new(),
    };
    let mut seen = Phase::Starting;
    loop {
        let violation = |what: String, sim: &turmoil::Sim<'_>| Violation {
            what,
            simulated: sim.elapsed(),
        };
        match sim.step() {
            Ok(true) => break,
            Ok(false) => {}
            Err(error) => return Err(violation(error.to_string(), &sim)),
        }
        faults.bring_back(&mut sim);
        story.report_up(faults.down.is_empty());
        let phase = story.phase();
        if phase != seen {
            seen = phase;
            match phase {
                Phase::StoreAndApiDown => {
                    let leader = story.store_leader().unwrap_or_else(|| STORES[0].to_owned());
                    faults.crash(&mut sim, &leader);
                    faults.crash(&mut sim, API_SERVERS[0]);
                }
                Phase::LeadersDown => {
                    faults.crash(&mut sim, SCHEDULERS[0]);
                    faults.crash(&mut sim, CONTROLLERS[0]);
                }
                _ => {}
            }
        }
    }
    Ok(Report {
        seed: options.seed,
        simulated: sim.elapsed(),
        crashes: faults.crashes,
        trace: seeds.trace.summary(),
    })
}

fn populate(sim: &mut turmoil::Sim<'_>, seeds: &Seeds, disks: &BTreeMap<&str, MemoryDisk>) {
    for name in STORES {
        let (boot, disk) = (seeds.boots(), disks[name].clone());
        sim.host(name, move || hosts::store(name, disk.clone(), boot()));
    }
    // One key for all replicas; what it signs stays off the wire.
    let key: Arc<str> = signing_key().into();
    for name in API_SERVERS {
        let (boot, key) = (seeds.boots(), Arc::clone(&key));
        sim.host(name, move || hosts::api_server(name, key.to_string(), boot()));
    }
    for name in SCHEDULERS {
        let boot = seeds.boots();
        sim.host(name, move || hosts::scheduler(name, boot()));
    }
    for name in CONTROLLERS {
        let boot = seeds.boots();
        sim.host(name, move || hosts::controllers(name, boot()));
    }
    for (index, name) in NODES.into_iter().enumerate() {
        let (boot, machine) = (seeds.boots(), Machine::new(index + 1));
        sim.host(name, move || hosts::node_agent(name, machine.clone(), boot()));
    }
}

fn signing_key() -> String {
    rcgen::KeyPair::generate()
        .expect("a P-256 key can be made")
        .serialize_pem()
}

/// Crashes now, returns later.
struct Faults {
    disks: BTreeMap<&'static str, MemoryDisk>,
    random: Random,
    /// Host → when it comes back.
    down: BTreeMap<String, Duration>,
    crashes: Vec<String>,
}

impl Faults {
    fn crash(&mut self, sim: &mut turmoil::Sim<'_>, host: &str) {
        sim.crash(host);
        if let Some(disk) = self.disks.get(host) {
            // Of what was not synced, some prefix may have reached the platter all the same.
            let unsynced = u64::try_from(disk.unsynced()).unwrap_or(u64::MAX - 1);
            disk.survive(usize::try_from(self.random.below(0..unsynced + 1)).unwrap_or(0));
        }
        let back = sim.elapsed() + Duration::from_millis(self.random.below(2_000..6_000));
        self.down.insert(host.to_owned(), back);
        self.crashes.push(host.to_owned());
    }

    fn bring_back(&mut self, sim: &mut turmoil::Sim<'_>) {
        let now = sim.elapsed();
        let due: Vec<String> = self
            .down
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(host, _)| host.clone())
            .collect();
        for host in due {
            self.down.remove(&host);
            sim.bounce(host.as_str());
        }
    }
}
