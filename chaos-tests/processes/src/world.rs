//! One run of a store: members start, clients work, faults come and go, all heals, the history is judged.

use crate::faults::{Acting, Duty, Faults, Kind, Struck};
use crate::figures::Figures;
use crate::members::{self, Program};
use crate::network::Named;
use crate::places::Places;
use crate::processes::Processes;
use chaos_store::client::Client;
use chaos_store::history::{self, History, now};
use chaos_store::observer::{self, Report as ObserverReport};
use chaos_store::stage::{Board, Stage};
use chaos_store::workload::{Duties, etcd_user, kubernetes_user, lease_holder, operator, watcher};
use chaos_store::{MEMBER_NAMES, Violation, Workload, judge, verdict};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use support::{Env, Random};
use tokio::task::JoinSet;

/// Everything that a run is given.
#[derive(Debug, Clone)]
pub struct Plan {
    pub seed: u64,
    pub program: Program,
    /// 1, 3 or 5.
    pub members: usize,
    /// Faults happen for so long.
    pub trouble: Duration,
    /// The mean time from one fault to the next.
    pub pace: Duration,
    pub kinds: Vec<Kind>,
    pub workload: Workload,
    /// Where data and logs of the members go.
    pub base: PathBuf,
}

/// How a run ended.
#[derive(Debug)]
pub struct Report {
    pub violation: Option<Violation>,
    pub operations: usize,
    pub sessions: usize,
    /// The store's last revision.
    pub revision: i64,
    pub struck: Vec<Struck>,
    pub healed_in: Duration,
    pub took: Duration,
    pub figures: Figures,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in &self.struck {
            writeln!(f, "fault {fault}")?;
        }
        write!(f, "{}", self.figures)?;
        if let Some(violation) = &self.violation {
            writeln!(f, "VIOLATION {violation}")?;
        }
        write!(
            f,
            "{} after {:.1?} ({:.1?} to heal): {} operations, {} watches, revision {}, {} faults",
            verdict(self.violation.as_ref()),
            self.took,
            self.healed_in,
            self.operations,
            self.sessions,
            self.revision,
            self.struck.len()
        )
    }
}

/// Clients still work for so long after the last fault.
const AFTERMATH: Duration = Duration::from_secs(2);
/// How often it is looked whether something is due.
const STEP: Duration = Duration::from_millis(20);
/// A majority that is well for so long, and takes no write, is stuck: far longer than elections and reconnections.
const BOUND: Duration = Duration::from_secs(15);
/// Members that don't come up at all.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs to the end.
///
/// # Errors
/// When the system doesn't do as it is told; what members do wrong is in the report.
pub async fn run(plan: Plan) -> anyhow::Result<Report> {
    history::count_real_time();
    let names = &MEMBER_NAMES[..plan.members];
    let random = Random::seeded(plan.seed);
    let env = || Env {
        net: Arc::new(Named {
            names: names.to_vec(),
            store_tls: None,
        }),
        random: random.fork(),
        ..Env::production()
    };
    let places = Places::make(&plan.base, names)?;
    let mut processes = Processes::start(&places, members::launches(&plan.program, &places))?;
    let (history, board, findings) = (History::default(), Board::default(), ObserverReport::default());
    let mut observing = std::pin::pin!(observer::observe(
        env(),
        names,
        history.clone(),
        board.clone(),
        findings.clone(),
    ));
    while board.leader().is_none() {
        anyhow::ensure!(now() < PATIENCE, "no member leads");
        tokio::select! {
            () = &mut observing => anyhow::bail!("the observer ended before it began"),
            () = tokio::time::sleep(STEP) => {}
        }
    }
    let clients = clients(&plan.workload, names, &env, (&history, &board));
    let stores = (0..plan.members).collect();
    let mut faults = Faults::new(random.fork(), plan.kinds.clone(), plan.pace, stores);
    let trouble_ends = now() + plan.trouble;
    let mut violation = None;
    let mut done = false;
    while violation.is_none() && !done {
        match board.stage() {
            Stage::Trouble if now() >= trouble_ends => {
                faults.heal(&mut processes, &places)?;
                board.enter(Stage::Healed);
            }
            Stage::Trouble => faults.step(&mut processes, &places, &acting(&board))?,
            Stage::Healed if now() >= trouble_ends + AFTERMATH => board.enter(Stage::Quiet),
            _ => {}
        }
        for ended in processes.ended()? {
            violation = violation.or(faults.ended(&ended).err());
        }
        tokio::select! {
            () = &mut observing => done = true,
            () = tokio::time::sleep(STEP) => {}
        }
    }
    let took = now();
    if violation.is_none() {
        clients.join_all().await;
    }
    let (operations, sessions) = history.take();
    let (observed, healed_in) = findings.with(|found| (found.violation.take(), found.healed_in));
    violation = violation.or(observed);
    let mut revision = 0;
    if violation.is_none() {
        match judge(&operations, &sessions) {
            Ok(last) => revision = last,
            Err(found) => violation = Some(found),
        }
    }
    let figures = Figures::of(&operations, faults.struck(), plan.members, trouble_ends);
    let (refusal, from) = figures.longest_refusal;
    if violation.is_none() && refusal > BOUND {
        violation = Some(Violation::liveness(
            "a majority that is well takes writes",
            format!("no write was acknowledged for {refusal:.1?} from {from:.1?} on"),
        ));
    }
    Ok(Report {
        violation,
        figures,
        operations: operations.len(),
        sessions: sessions.len(),
        revision,
        struck: faults.struck().to_vec(),
        healed_in,
        took,
    })
}

/// Who leads, as the observer has seen it.
fn acting(board: &Board) -> Acting {
    let leader = board.leader();
    let place = leader.and_then(|leader| MEMBER_NAMES.iter().position(|member| *member == leader));
    place.map(|place| (Duty::LeadStore, place)).into_iter().collect()
}

fn clients(
    workload: &Workload,
    names: &'static [&'static str],
    env: &dyn Fn() -> Env,
    (history, board): (&History, &Board),
) -> JoinSet<()> {
    let client =
        |kind: &str, number: usize| Client::new(format!("{kind}{number}"), env(), names, history.clone());
    let mut clients = JoinSet::new();
    for number in 0..workload.etcd_users {
        clients.spawn(etcd_user(client("e", number), board.clone(), workload.pace));
    }
    for number in 0..workload.kubernetes_users {
        clients.spawn(kubernetes_user(client("k", number), board.clone(), workload.pace));
    }
    for number in 0..workload.lease_holders {
        clients.spawn(lease_holder(client("l", number), board.clone(), workload.pace));
    }
    for number in 0..workload.watchers {
        clients.spawn(watcher(client("w", number), board.clone()));
    }
    let duties = Duties {
        transfers: workload.transfers,
        compactions: workload.compactions,
        recorders: names.len(),
    };
    clients.spawn(operator(client("operator", 0), board.clone(), duties));
    clients
}
