//! Builds a world from its options, steps it through trouble and healing, and has its history judged.

use crate::client::Client;
use crate::failover::Failovers;
use crate::fault_kind::FaultKind;
use crate::faults::{Faults, Targets};
use crate::history::History;
use crate::members::{self, Exits, MemberOptions, Replacements, Terminator};
use crate::observer::{self, Report as ObserverReport};
use crate::options::Options;
use crate::oracles;
use crate::outcome::{Ending, Violation, verdict};
use crate::program::Told;
use crate::seeds::Seeds;
use crate::simulation::simulation;
use crate::stage::Board;
use crate::workload::{
    Duties, etcd_user, kubernetes_user, lease_holder, operator, prober, replacer, watcher,
};
use kvstore_storage::MemoryDisk;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;
use support::sim::Skew;
use tokio::task::JoinSet;
use turmoil::Sim;

/// Clients still work for so long after the last fault.
const AFTERMATH: Duration = Duration::from_secs(2);
/// Longer than all conditions of the observer together; a world that lives longer hangs.
const LIMIT: Duration = Duration::from_secs(400);
/// Clients live on two hosts, so that they can be cut off from members apart from each other.
const CLIENT_HOSTS: [&str; 2] = ["clients-1", "clients-2"];
const OBSERVER: &str = "observer";

/// How a world ended.
#[derive(Debug)]
pub struct Report {
    pub options: Options,
    pub ending: Ending,
    pub operations: usize,
    pub failovers: Failovers,
    pub sessions: usize,
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
            "{} seed {} after {:?} simulated ({:?} to heal): {} operations, {} watches, revision {}, {} faults, {} events, trace {:016x}",
            verdict(ending.violation.as_ref()),
            self.options.seed,
            ending.simulated,
            ending.healed_in,
            self.operations,
            self.sessions,
            ending.revision,
            ending.faults.len(),
            ending.trace.events,
            ending.trace.hash
        )
    }
}

impl Report {
    pub(crate) fn told(&self) -> Told {
        let mut details = self.ending.details(self.options.seed);
        details["operations"] = self.operations.into();
        Told {
            violation: self.ending.violation.clone(),
            text: self.to_string(),
            details,
        }
    }
}

/// Runs one world to its end. At most one in a process: see `support::sim`.
pub fn run(options: Options) -> Report {
    let seeds = Seeds::new(options.seed, options.trouble.sabotage);
    let mut sim = simulation(options.seed, LIMIT, Duration::from_millis(1));
    let members = &members::NAMES[..options.members];
    let (history, board) = (History::default(), Board::default());
    let (findings, exits) = (ObserverReport::default(), Exits::default());
    let disks: BTreeMap<&'static str, MemoryDisk> =
        members.iter().map(|name| (*name, MemoryDisk::new())).collect();
    let clocks: BTreeMap<&'static str, Skew> = members.iter().map(|name| (*name, Skew::default())).collect();
    let terminators: BTreeMap<&'static str, Terminator> = members
        .iter()
        .map(|name| (*name, Terminator::default()))
        .collect();
    for name in members {
        let terminator = terminators[name].clone();
        let (boot, exits) = (seeds.boots(&clocks[name]), exits.clone());
        let member = MemberOptions {
            name,
            members,
            disk: disks[name].clone(),
            snapshot_entries: options.snapshot_entries,
            terminator,
        };
        sim.host(*name, move || {
            let living = members::live(member.clone(), boot(), exits.clone());
            async move {
                living.await;
                Ok(())
            }
        });
    }
    let replacements = Replacements::default();
    for host in CLIENT_HOSTS {
        let working = clients(&options, &seeds, members, host, (&history, &board, &replacements));
        sim.client(host, async move {
            working.join_all().await;
            Ok(())
        });
    }
    {
        let (env, history, board, report) = (seeds.env(), history.clone(), board.clone(), findings.clone());
        sim.client(OBSERVER, async move {
            observer::observe(env, members, history, board, report).await;
            Ok(())
        });
    }
    // The observer is out of everyone's reach: what it records must be complete.
    let targets = Targets {
        victims: members.to_vec(),
        hosts: members.iter().copied().chain(CLIENT_HOSTS).collect(),
        disks,
        clocks,
        terminators,
        replacements,
        on_crash: None,
    };
    let mut kinds = options.trouble.faults.clone();
    if options.workload.replacements {
        // A member less, and the disk of another lost, could be too much.
        kinds.remove(&FaultKind::Wipe);
    }
    let mut faults = Faults::new(
        seeds.random.fork(),
        (&kinds, options.trouble.pace),
        targets,
        board.clone(),
    )
    .with_disk_bug(options.trouble.sabotage);
    let ended = step_to_the_end(&mut sim, &mut faults, &options, &exits);
    let simulated = sim.elapsed();
    let (operations, sessions) = history.take();
    let failovers = Failovers::of(&operations, faults.leader_hits());
    let (observed, healed_in) = findings.with(|findings| (findings.violation.take(), findings.healed_in));
    let mut violation = ended.err().or(observed);
    let mut revision = 0;
    if violation.is_none() {
        match oracles::judge(&operations, &sessions) {
            Ok(last) => revision = last,
            Err(found) => violation = Some(found),
        }
    }
    let ending = Ending::new(
        violation,
        (simulated, healed_in, revision),
        (&faults, &seeds.trace),
        || findings.with(|findings| dump(&findings.seen)),
    );
    Report {
        ending,
        operations: operations.len(),
        failovers,
        sessions: sessions.len(),
        options,
    }
}

fn dump(seen: &observer::Seen) -> Vec<String> {
    seen.iter()
        .map(|(member, (at, status))| {
            format!(
                "{member} at {at:?}: id {:x}, leader {:x}, term {}, index {}, applied {}, revision {}, {:?}",
                status.header.as_ref().map_or(0, |header| header.member_id),
                status.leader,
                status.raft_term,
                status.raft_index,
                status.raft_applied_index,
                status.header.as_ref().map_or(0, |header| header.revision),
                status.errors
            )
        })
        .collect()
}

/// The clients of one host; every second of each sort lives there.
fn clients(
    options: &Options,
    seeds: &Seeds,
    members: &'static [&'static str],
    host: &str,
    (history, board, replacements): (&History, &Board, &Replacements),
) -> Working {
    let mut working = Working::default();
    let side = CLIENT_HOSTS.iter().position(|name| *name == host).unwrap_or(0);
    let workload = &options.workload;
    let pace = workload.pace;
    let client = |kind: &str, number: usize| {
        Client::new(format!("{kind}{number}"), seeds.env(), members, history.clone())
    };
    for number in (0..workload.etcd_users).filter(|number| number % 2 == side) {
        working.add(board.employ(etcd_user(client("e", number), board.clone(), pace)));
    }
    for number in (0..workload.kubernetes_users).filter(|number| number % 2 != side) {
        working.add(board.employ(kubernetes_user(client("k", number), board.clone(), pace)));
    }
    for number in (0..workload.lease_holders).filter(|number| number % 2 == side) {
        working.add(board.employ(lease_holder(client("l", number), board.clone(), pace)));
    }
    for number in (0..workload.watchers).filter(|number| number % 2 != side) {
        working.add(watcher(client("w", number), board.clone()));
    }
    for (number, member) in members
        .iter()
        .enumerate()
        .filter(|(number, _)| number % 2 == side)
    {
        for prober_of_it in 0..workload.probers {
            let name = format!("probe/{number}-{prober_of_it}");
            let client = Client::new(name, seeds.env(), &[*member], history.clone());
            working.add(board.employ(prober(client, board.clone())));
        }
    }
    if side == 0 {
        let duties = Duties {
            transfers: workload.transfers,
            compactions: workload.compactions,
            recorders: members.len(),
        };
        working.add(board.employ(operator(client("operator", 0), board.clone(), duties)));
    }
    if side == 1 && workload.replacements {
        let client = client("replacer", 0);
        let replacer = replacer(client, members, board.clone(), replacements.clone());
        working.add(board.employ(replacer));
    }
    working
}

/// Clients that have not begun yet: tasks can be made only inside the simulation.
#[derive(Default)]
struct Working(Vec<std::pin::Pin<Box<dyn Future<Output = ()> + Send>>>);

impl Working {
    fn add(&mut self, client: impl Future<Output = ()> + Send + 'static) {
        self.0.push(Box::pin(client));
    }

    async fn join_all(self) {
        let mut tasks = JoinSet::new();
        for client in self.0 {
            tasks.spawn(client);
        }
        // A client that panics takes the simulation down.
        while tasks.join_next().await.is_some() {}
    }
}

fn step_to_the_end(
    sim: &mut Sim<'_>,
    faults: &mut Faults,
    options: &Options,
    exits: &Exits,
) -> Result<(), Violation> {
    while !faults.step_world(sim, exits)? {
        faults.follow_stage(sim, options.trouble.lasts, AFTERMATH);
    }
    Ok(())
}
