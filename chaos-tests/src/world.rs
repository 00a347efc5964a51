//! Builds a world from its options, steps it through trouble and healing, and has its history judged.

use crate::failover;
use crate::hosts::{self, Hardware, NodeHardware};
use crate::identities::Directory;
use crate::invariants::{self, Excuses};
use crate::observer::Observer;
use crate::options::Options;
use crate::remains;
use crate::topology::{Machine, Role, with_role};
use crate::users::{self, Identity, Sessions, Wishlist};
use chaos_store::chronicle::Chronicle;
use chaos_store::history::History;
use chaos_store::observer::Report as Findings;
use chaos_store::stage::{Board, Stage};
use chaos_store::{
    Class, Ending, Exits, Failovers, FaultKind, Faults, Replacements, Seeds, Targets, Told, Violation,
    simulation, verdict,
};
use kvstore_storage::MemoryDisk;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use turmoil::Sim;

/// A cluster that isn't up by then never will be.
const COMES_UP: Duration = Duration::from_secs(60);
/// Users still work for so long after the last fault.
const AFTERMATH: Duration = Duration::from_secs(5);
/// Longer than all conditions of the observer together; a world that lives longer hangs.
const LIMIT: Duration = Duration::from_secs(1_800);
/// How often the nodes' runtimes are compared.
const COMPARE_EVERY: u64 = 50;
const USERS: &str = "users";
const OBSERVER: &str = "observer";

/// How a world ended.
#[derive(Debug)]
pub struct Report {
    pub options: Options,
    pub ending: Ending,
    pub failovers: Failovers,
    pub watches: usize,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ending = &self.ending;
        ending.write_violation(f)?;
        for line in self.failovers.lines() {
            writeln!(f, "{line}")?;
        }
        write!(
            f,
            "{} seed {} {} after {:?} simulated ({:?} to heal): revision {}, {} watches, {} faults, {} events, trace {:016x}",
            verdict(ending.violation.as_ref()),
            self.options.seed,
            self.options.topology,
            ending.simulated,
            ending.healed_in,
            ending.revision,
            self.watches,
            ending.faults.len(),
            ending.trace.events,
            ending.trace.hash
        )
    }
}

impl Report {
    pub(crate) fn told(&self) -> Told {
        Told {
            violation: self.ending.violation.clone(),
            text: self.to_string(),
            details: self.ending.details(self.options.seed),
        }
    }
}

/// Runs one world to its end. At most one in a process: see `support::sim`.
pub fn run(options: Options) -> Report {
    let seeds = Seeds::new(options.seed, options.trouble.sabotage);
    let mut sim = simulation(options.seed, LIMIT, Duration::from_millis(2));
    let machines = options.topology.machines(options.nodes);
    let directory = Arc::new(Directory::new(&machines));
    let (board, exits) = (Board::default(), Exits::default());
    let (history, findings) = (History::default(), Findings::default());
    let (wishes, sessions) = (Wishlist::default(), Sessions::default());
    let hardware = populate(&mut sim, &seeds, &machines, &directory, &exits);
    let working = users_of(&options, &seeds, &directory, (&board, &wishes, &sessions));
    sim.client(USERS, async move {
        working.join_all().await;
        Ok(())
    });
    let observer = Observer {
        env: seeds.env(),
        entrances: directory.entrances(),
        nodes: with_role(&machines, Role::Agent),
        history: history.clone(),
        board: board.clone(),
        report: findings.clone(),
        wishes,
    };
    sim.client(OBSERVER, async move {
        observer.observe().await;
        Ok(())
    });
    let mut faults = faults_of(&options, &seeds, &machines, &hardware, &board);
    let ended = step_to_the_end(&mut sim, &mut faults, &options, (&board, &exits), &hardware);
    let simulated = sim.elapsed();
    let (observed, healed_in) = findings.with(|findings| (findings.violation.take(), findings.healed_in));
    // What the observer found comes first: a world that then doesn't end is what follows from it.
    let mut violation = observed.or(ended.err());
    let (_, recorded) = history.take();
    let told = sessions.take();
    let (mut revision, mut changes, mut failovers) = (0, Vec::new(), Failovers::default());
    let judged = Chronicle::of(&recorded).and_then(|chronicle| {
        revision = chronicle.last();
        changes = invariants::changes(&chronicle);
        failovers = failover::measure(&changes, &faults.incidents(), &machines);
        let excuses = Excuses {
            nodes_hit_at: faults.first_hit(&with_role(&machines, Role::Agent)),
            clocks_were_wrong: options.trouble.faults.contains_key(&FaultKind::ClockJump),
        };
        invariants::check(&changes, &told, excuses)
    });
    // A promise that was broken tells more than what never came to be because of it.
    let weaker = |found: &Violation| found.class == Class::Liveness;
    if violation.as_ref().is_none_or(weaker) {
        violation = judged.err().or(violation);
    }
    let ending = Ending::new(
        violation,
        (simulated, healed_in, revision),
        (&faults, &seeds.trace),
        || remains::lines(&changes),
    );
    Report {
        ending,
        failovers,
        watches: told.len(),
        options,
    }
}

fn populate(
    sim: &mut Sim<'_>,
    seeds: &Seeds,
    machines: &[Machine],
    directory: &Arc<Directory>,
    exits: &Exits,
) -> BTreeMap<&'static str, Hardware> {
    // One key for all replicas; what it signs stays off the wire.
    let key: Arc<str> = rcgen::KeyPair::generate()
        .expect("a P-256 key can be made")
        .serialize_pem()
        .into();
    let mut all = BTreeMap::new();
    let nodes = u32::try_from(with_role(machines, Role::Agent).len()).unwrap_or(u32::MAX);
    for (number, machine) in machines.iter().enumerate() {
        let hardware = Hardware {
            machine: machine.clone(),
            directory: Arc::clone(directory),
            disk: MemoryDisk::new(),
            node: NodeHardware::new(number + 1, nodes),
            signing_key_pem: Arc::clone(&key),
        };
        all.insert(machine.name, hardware.clone());
        let (boot, exits) = (seeds.boots(&hardware.node.skew), exits.clone());
        sim.host(machine.name, move || {
            let living = hosts::live(hardware.clone(), boot(), exits.clone());
            async move {
                living.await;
                Ok(())
            }
        });
    }
    all
}

fn users_of(
    options: &Options,
    seeds: &Seeds,
    directory: &Directory,
    (board, wishes, sessions): (&Board, &Wishlist, &Sessions),
) -> Working {
    let mut working = Working::default();
    let user = |name: String, config: kubeclient::ClientConfig| {
        let env = seeds.env();
        Identity {
            name,
            random: env.random.fork(),
            env,
            config,
            board: board.clone(),
            wishes: wishes.clone(),
        }
    };
    let (admin, workload) = (directory.admin(), &options.workload);
    for number in 0..workload.deployments {
        let user = user(format!("web-{number}"), admin.clone());
        working.add(async { users::deploy(user.enter()).await });
    }
    for number in 0..workload.stateful_sets {
        let user = user(format!("db-{number}"), admin.clone());
        working.add(async { users::keep_ordinals(user.enter()).await });
    }
    for number in 0..workload.counters {
        let user = user(format!("counter-{number}"), admin.clone());
        working.add(async { users::count(user.enter()).await });
    }
    for number in 0..workload.appliers {
        let user = user(format!("applier-{number}"), admin.clone());
        working.add(async { users::apply(user.enter()).await });
    }
    for number in 0..workload.steady {
        let user = user(format!("steady-{number}"), admin.clone());
        working.add(async { users::leave_alone(user.enter()).await });
    }
    for api in directory.apis.clone() {
        let user = user(format!("watcher-of-{api}"), directory.admin_at(api));
        let sessions = sessions.clone();
        working.add(async move { users::watch_everything(user.enter(), api, sessions).await });
    }
    working
}

fn faults_of(
    options: &Options,
    seeds: &Seeds,
    machines: &[Machine],
    hardware: &BTreeMap<&'static str, Hardware>,
    board: &Board,
) -> Faults {
    let runtimes: BTreeMap<&'static str, NodeHardware> = hardware
        .iter()
        .map(|(name, hardware)| (*name, hardware.node.clone()))
        .collect();
    let disks = with_role(machines, Role::Store);
    let targets = Targets {
        victims: options.victims(machines).map(|machine| machine.name).collect(),
        hosts: machines
            .iter()
            .map(|machine| machine.name)
            .chain([USERS])
            .collect(),
        disks: disks
            .into_iter()
            .map(|name| (name, hardware[name].disk.clone()))
            .collect(),
        clocks: hardware
            .iter()
            .map(|(name, hardware)| (*name, hardware.node.skew.clone()))
            .collect(),
        terminators: hardware
            .iter()
            .map(|(name, hardware)| (*name, hardware.node.terminator.clone()))
            .collect(),
        // Members of the store are replaced in the store's own worlds.
        replacements: Replacements::default(),
        // With the power, everything that ran on the node is gone too.
        on_crash: Some(Box::new(move |host| {
            if let Some(node) = runtimes.get(host) {
                node.runtime.crash();
            }
        })),
    };
    let mut kinds = options.trouble.faults.clone();
    if machines.len() == 1 {
        kinds.retain(|kind, _| kind.concerns_one_member());
    }
    // A store whose disk has failed takes its whole control plane with it: told apart in the store's own worlds.
    kinds.remove(&FaultKind::BadDisk);
    Faults::new(
        seeds.random.fork(),
        (&kinds, options.trouble.pace),
        targets,
        board.clone(),
    )
    .with_disk_bug(options.trouble.sabotage)
}

/// Users that have not begun yet: tasks can be made only inside the simulation.
#[derive(Default)]
struct Working(Vec<std::pin::Pin<Box<dyn Future<Output = ()>>>>);

impl Working {
    fn add(&mut self, user: impl Future<Output = ()> + 'static) {
        self.0.push(Box::pin(user));
    }

    async fn join_all(self) {
        let mut tasks = JoinSet::new();
        for user in self.0 {
            tasks.spawn_local(user);
        }
        // A user that panics takes the simulation down.
        while tasks.join_next().await.is_some() {}
    }
}

fn step_to_the_end(
    sim: &mut Sim<'_>,
    faults: &mut Faults,
    options: &Options,
    (board, exits): (&Board, &Exits),
    hardware: &BTreeMap<&'static str, Hardware>,
) -> Result<(), Violation> {
    let mut up_at = None;
    let mut steps = 0_u64;
    while !faults.step_world(sim, exits)? {
        steps += 1;
        if steps.is_multiple_of(COMPARE_EVERY) {
            let running = hardware
                .iter()
                .map(|(name, hardware)| (*name, hardware.node.runtime.running()));
            invariants::once_each(running, sim.elapsed())?;
        }
        let now = sim.elapsed();
        if up_at.is_none() && board.is_up() {
            up_at = Some(now);
        }
        let Some(up_at) = up_at else {
            if now > COMES_UP && board.stage() < Stage::Done {
                return Err(Violation::liveness(
                    "a new cluster comes up",
                    format!("not within {COMES_UP:?}"),
                ));
            }
            continue;
        };
        // Watchers may still wait for what nobody will look at.
        if board.stage() == Stage::Done {
            break;
        }
        faults.follow_stage(sim, up_at + options.trouble.lasts, AFTERMATH);
    }
    Ok(())
}
