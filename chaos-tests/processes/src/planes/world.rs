//! One run of a whole cluster: its control plane starts, users work, machines fail and come back, all heals, the history
//! is judged.

use super::acting::{self, Seen};
use super::balancer::Balancer;
use super::beats::{self, Beats};
use super::figures::{Figures, Material};
use super::keys::Keys;
use super::kubectl::{Calls, Kubectl};
use super::machines::Machines;
use super::nodes::Nodes;
use super::writers::{self, Records};
use super::{judgement, prepare};
use crate::faults::{Faults, Kind, Struck};
use crate::network::Named;
use crate::places::{Places, address};
use crate::processes::Processes;
use chaos_store::chronicle::Chronicle;
use chaos_store::history::{self, History, now};
use chaos_store::observer::Report as Findings;
use chaos_store::stage::{Board, Stage};
use chaos_store::{Class, Violation, verdict};
use chaos_tests::invariants::{Change, Excuses};
use chaos_tests::observer::{Entrances, Observer};
use chaos_tests::users::{self, Identity, Sessions, Wishlist};
use chaos_tests::{Role, Topology, Workload, invariants};
use serde_json::Value;
use std::fmt;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use support::{Env, Random};
use tokio::task::JoinSet;

/// Everything that a run is given.
#[derive(Debug, Clone)]
pub struct Plan {
    pub seed: u64,
    /// `trireme`.
    pub program: PathBuf,
    pub topology: Topology,
    /// Agents beside the control plane.
    pub nodes: usize,
    /// Faults happen for so long.
    pub trouble: Duration,
    /// The mean time from one fault to the next.
    pub pace: Duration,
    pub kinds: Vec<Kind>,
    pub workload: Workload,
    pub writers: usize,
    /// Whether somebody works with `kubectl`.
    pub kubectl: bool,
    /// Where data, keys and logs go.
    pub base: PathBuf,
}

/// How a run ended.
#[derive(Debug)]
pub struct Report {
    pub violation: Option<Violation>,
    pub watches: usize,
    /// The store's last revision.
    pub revision: i64,
    pub struck: Vec<Struck>,
    pub up_after: Duration,
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
            "{} after {:.1?} (up after {:.1?}, {:.1?} to heal): {} watches, revision {}, {} faults",
            verdict(self.violation.as_ref()),
            self.took,
            self.up_after,
            self.healed_in,
            self.watches,
            self.revision,
            self.struck.len()
        )
    }
}

/// Users still work for so long after the last fault.
const AFTERMATH: Duration = Duration::from_secs(3);
/// How often it is looked whether something is due.
const STEP: Duration = Duration::from_millis(20);
/// How often the nodes are compared.
const COMPARE: Duration = Duration::from_millis(500);
/// A control plane that is well for so long, and takes no write, is stuck: longer than it takes to start anew on a slow,
/// busy machine.
const BOUND: Duration = Duration::from_secs(30);
/// A cluster whose nodes aren't ready by then never will be.
const COMES_UP: Duration = Duration::from_secs(120);

/// Runs to the end; must be called inside a `LocalSet`.
///
/// # Errors
/// When the system doesn't do as it is told, or the cluster doesn't come up; what it does wrong later is in the report.
pub async fn run(plan: Plan) -> anyhow::Result<Report> {
    history::count_real_time();
    let machines = Machines::of(plan.topology, plan.nodes);
    let (names, apis) = (machines.names(), machines.apis());
    let places = Places::make(&plan.base, &names)?;
    let addresses: Vec<String> = (0..names.len()).map(address).collect();
    let keys = Keys::make(&plan.program, &plan.base.join("pki"), &addresses)?;
    let (random, store_tls) = (Random::seeded(plan.seed), keys.store_client()?);
    let env = || Env {
        net: Arc::new(Named {
            names: names.clone(),
            store_tls: Some(store_tls.clone()),
        }),
        random: random.fork(),
        ..Env::production()
    };
    let mut processes = Processes::start(&places, machines.launches(&plan.program, &keys, &places))?;
    let admin = kubeclient::client(&env(), &keys.admin(&apis)?)?;
    prepare::prepare(&admin).await?;
    let mut nodes = Nodes::start(&machines.nodes, &apis, (&keys, &plan.base), &env)?;

    let (history, board, findings) = (History::default(), Board::default(), Findings::default());
    let (wishes, seen) = (Wishlist::default(), Seen::default());
    let entrances = entrances(&machines, &keys)?;
    let observer = Observer {
        env: env(),
        entrances: entrances.clone(),
        nodes: machines.nodes.clone(),
        history: history.clone(),
        board: board.clone(),
        report: findings.clone(),
        wishes: wishes.clone(),
    };
    tokio::task::spawn_local(observer.observe());
    tokio::spawn(acting::look(admin, names.clone(), board.clone(), seen.clone()));
    while !board.is_up() {
        anyhow::ensure!(
            now() < COMES_UP && board.stage() < Stage::Done,
            "the nodes don't become ready"
        );
        tokio::time::sleep(STEP).await;
    }
    let up_after = now();
    let balancer = Balancer::start(&plan.program, &keys, &apis, &places).await?;
    let records = Recorded::default();
    let mut users = working(
        &plan,
        &env,
        (&keys, &apis),
        (&board, &wishes),
        (&entrances, &records),
    )?;

    let stores = machines.places_of(Role::Store);
    let mut faults = Faults::new(random.fork(), plan.kinds.clone(), plan.pace, stores.clone());
    let trouble = (now(), now() + plan.trouble);
    let (mut violation, mut compare_at) = (None, now());
    while violation.is_none() && board.stage() < Stage::Done {
        match board.stage() {
            Stage::Trouble if now() >= trouble.1 => {
                faults.heal(&mut processes, &places)?;
                board.enter(Stage::Healed);
            }
            Stage::Trouble => faults.step(&mut processes, &places, &seen.with(&board, &names))?,
            Stage::Healed if now() >= trouble.1 + AFTERMATH => board.enter(Stage::Quiet),
            _ => {}
        }
        for ended in processes.ended()? {
            violation = violation.or(faults.ended(&ended).err());
        }
        if now() >= compare_at {
            compare_at = now() + COMPARE;
            violation = violation.or(nodes.look().err());
        }
        tokio::time::sleep(STEP).await;
    }
    let took = now();
    // Watchers and recorders end with the board; whoever still asks asks in vain.
    board.enter(Stage::Done);
    users.abort_all();
    drop(balancer);
    let (_, recorded) = history.take();
    let (observed, healed_in) = findings.with(|found| (found.violation.take(), found.healed_in));
    violation = violation.or(observed);
    let (told, writes) = (records.sessions.take(), records.writes.take());
    let (asked, calls) = (records.beats.take(), records.kubectl.take());
    let (mut revision, mut changes) = (0, Vec::new());
    let judged = Chronicle::of(&recorded).and_then(|chronicle| {
        revision = chronicle.last();
        changes = invariants::changes(&chronicle);
        invariants::check(&changes, &told, Excuses::default())?;
        judgement::read_own_writes(&calls)?;
        // Of a run that broke off, the recorders may not have heard the end.
        if violation.is_none() {
            judgement::acknowledged(&changes, &writes)?;
        }
        Ok(())
    });
    // A promise that was broken tells more than what never came to be because of it.
    let weaker = |found: &Violation| found.class == Class::Liveness;
    if violation.as_ref().is_none_or(weaker) {
        violation = judged.err().or(violation);
    }
    let figures = Figures::of(&Material {
        changes: &changes,
        writes: &writes,
        asked: &asked,
        kubectl: &calls,
        struck: faults.struck(),
        stores: &stores,
        apis: &machines.places_of(Role::Api),
        trouble,
    });
    let (refusal, from) = figures.longest_refusal;
    if violation.is_none() && refusal > BOUND {
        violation = Some(Violation::liveness(
            "a control plane that is well takes writes",
            format!("no write was acknowledged for {refusal:.1?} from {from:.1?} on"),
        ));
    }
    if violation.is_some() {
        write_history(&plan.base.join("history.log"), &changes)?;
    }
    Ok(Report {
        violation,
        watches: told.len(),
        revision,
        struck: faults.struck().to_vec(),
        up_after,
        healed_in,
        took,
        figures,
    })
}

/// Everything that the cluster held, a line a change; kept with the logs.
fn write_history(path: &Path, changes: &[Change]) -> anyhow::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for change in changes {
        let after = change
            .after
            .as_ref()
            .map_or_else(|| "deleted".to_owned(), Value::to_string);
        writeln!(
            file,
            "{:.3?} {} {} {after}",
            change.at, change.revision, change.key
        )?;
    }
    Ok(file.flush()?)
}

/// What is remembered of the users' doings.
#[derive(Default)]
struct Recorded {
    sessions: Sessions,
    writes: Records,
    beats: Beats,
    kubectl: Calls,
}

fn entrances(machines: &Machines, keys: &Keys) -> anyhow::Result<Entrances> {
    let name = |place: usize| machines.machines[place].name;
    let mut apis = Vec::new();
    for (place, server) in machines.places_of(Role::Api).into_iter().zip(machines.apis()) {
        apis.push((name(place), keys.admin(&[server])?));
    }
    Ok(Entrances {
        stores: machines.places_of(Role::Store).into_iter().map(name).collect(),
        apis,
    })
}

/// Everybody who works.
fn working(
    plan: &Plan,
    env: &dyn Fn() -> Env,
    (keys, servers): (&Keys, &[String]),
    (board, wishes): (&Board, &Wishlist),
    (entrances, recorded): (&Entrances, &Recorded),
) -> anyhow::Result<JoinSet<()>> {
    let mut working = JoinSet::new();
    let admin = keys.admin(servers)?;
    let identity = |name: String, config: &kubeclient::ClientConfig| {
        let env = env();
        Identity {
            name,
            random: env.random.fork(),
            env,
            config: config.clone(),
            board: board.clone(),
            wishes: wishes.clone(),
        }
    };
    for number in 0..plan.workload.deployments {
        working.spawn_local(users::deploy(identity(format!("web-{number}"), &admin).enter()));
    }
    for number in 0..plan.workload.stateful_sets {
        working.spawn_local(users::keep_ordinals(
            identity(format!("db-{number}"), &admin).enter(),
        ));
    }
    for number in 0..plan.workload.counters {
        working.spawn_local(users::count(
            identity(format!("counter-{number}"), &admin).enter(),
        ));
    }
    for number in 0..plan.workload.appliers {
        working.spawn_local(users::apply(
            identity(format!("applier-{number}"), &admin).enter(),
        ));
    }
    for (api, config) in &entrances.apis {
        let user = identity(format!("watcher-of-{api}"), config).enter();
        working.spawn_local(users::watch_everything(user, api, recorded.sessions.clone()));
    }
    for writer in 0..plan.writers {
        let (env, board, records) = (env(), board.clone(), recorded.writes.clone());
        let client = kubeclient::client(&env, &admin)?;
        working.spawn(writers::write(writer, client, env.random, board, records));
    }
    let client = kubeclient::client(&env(), &admin)?;
    working.spawn(beats::beat(client, board.clone(), recorded.beats.clone()));
    if plan.kubectl {
        let kubectl = Kubectl::new(keys, &plan.base, recorded.kubectl.clone());
        working.spawn(kubectl.work(board.clone()));
    }
    Ok(working)
}
