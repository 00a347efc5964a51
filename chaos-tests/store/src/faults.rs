//! What goes wrong, and when: kinds drawn by weight, each with a beginning and an end.

use crate::failover::LeaderHit;
use crate::fault_kind::FaultKind;
use crate::incident::Incident;
use crate::links::{Break, Links};
use crate::members::{Exit, Exits, Replacements, Terminator};
use crate::outcome::Violation;
use crate::simulation::USUAL_LATENCY;
use crate::stage::{Board, Stage};
use jiff::SignedDuration;
use kvstore_server::MemberError;
use kvstore_storage::MemoryDisk;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;
use support::Random;
use support::sim::Skew;
use turmoil::Sim;

/// Who was asked to stop and has not by then loses its power.
const TIME_TO_STOP: Duration = Duration::from_secs(10);

/// From one member to the next when all are restarted in turn: time enough to take its part again.
const TURN: std::ops::Range<u64> = 1_500..5_000;

/// A store that was whole for so long has nothing left of its last fault.
const RECOVERED: Duration = Duration::from_secs(2);

/// The world comes up in peace.
const PEACE: Duration = Duration::from_secs(2);

/// A fault that is on.
struct Fault {
    until: Duration,
    kind: FaultKind,
    members: Vec<&'static str>,
}

/// Is told the name of the member that has crashed.
pub type OnCrash = Box<dyn Fn(&str)>;

/// Who may be hit.
#[derive(Default)]
pub struct Targets {
    /// Hosts that faults happen to.
    pub victims: Vec<&'static str>,
    /// All hosts that victims can be cut off from, themselves included.
    pub hosts: Vec<&'static str>,
    /// The disks of those that have one.
    pub disks: BTreeMap<&'static str, MemoryDisk>,
    /// The wall clocks of those that can be wrong.
    pub clocks: BTreeMap<&'static str, Skew>,
    /// Those that can be asked to stop.
    pub terminators: BTreeMap<&'static str, Terminator>,
    /// Those that an operator replaces.
    pub replacements: Replacements,
    /// Told of every loss of power: what else goes with it.
    pub on_crash: Option<OnCrash>,
}

/// Makes the faults of a world.
pub struct Faults {
    random: Random,
    weights: Vec<(FaultKind, u64)>,
    pace: Duration,
    targets: Targets,
    links: Links,
    board: Board,
    /// A promise that all disks break.
    disk_bug: Option<&'static str>,
    next: Duration,
    number: u64,
    on: BTreeMap<u64, Fault>,
    /// Members that have lost power.
    down: BTreeSet<&'static str>,
    /// Members that were asked to stop and have not yet.
    stopping: BTreeSet<&'static str>,
    /// Members whose turn to be restarted comes, and when.
    turns: VecDeque<(Duration, &'static str)>,
    /// A member has lost its disk already.
    has_wiped: bool,
    /// Members whose disk has failed since they were started.
    troubled: BTreeSet<&'static str>,
    /// Everyone that a fault has happened to, and when first.
    hit: BTreeMap<&'static str, Duration>,
    /// When the last fault was over.
    whole_since: Duration,
    leader_hits: Vec<LeaderHit>,
    /// By the numbers of the faults.
    incidents: BTreeMap<u64, Incident>,
    /// What was done, for the report.
    log: Vec<String>,
}

impl Faults {
    pub fn new(
        random: Random,
        (weights, pace): (&BTreeMap<FaultKind, u64>, Duration),
        targets: Targets,
        board: Board,
    ) -> Self {
        Self {
            random,
            weights: weights.iter().map(|(kind, weight)| (*kind, *weight)).collect(),
            pace,
            links: Links::new(&targets.hosts),
            targets,
            board,
            disk_bug: None,
            next: PEACE,
            number: 0,
            on: BTreeMap::new(),
            down: BTreeSet::new(),
            stopping: BTreeSet::new(),
            turns: VecDeque::new(),
            has_wiped: false,
            troubled: BTreeSet::new(),
            hit: BTreeMap::new(),
            whole_since: Duration::ZERO,
            leader_hits: Vec::new(),
            incidents: BTreeMap::new(),
            log: Vec::new(),
        }
    }

    /// Puts a known bug into all disks, if it is one of disks.
    pub fn with_disk_bug(mut self, bug: Option<&'static str>) -> Self {
        self.disk_bug = bug;
        for member in self.targets.disks.keys() {
            self.break_promise(member);
        }
        self
    }

    fn break_promise(&self, member: &str) {
        if self.disk_bug == Some(crate::sabotage::CANARY) {
            self.targets.disks[member].ignore_syncs(true);
        }
    }

    /// Ends what is over, and begins something new when it is time to.
    fn step(&mut self, sim: &mut Sim<'_>) {
        let now = sim.elapsed();
        let over: Vec<u64> = self
            .on
            .iter()
            .filter(|(_, fault)| fault.until <= now)
            .map(|(number, _)| *number)
            .collect();
        for number in over {
            self.end(sim, number);
        }
        if let Some((_, member)) = self.turns.pop_front_if(|(at, _)| *at <= now) {
            let kind = FaultKind::Restart;
            let until = now + self.duration_of(kind);
            let members = vec![member];
            self.begin_with(sim, Fault { until, kind, members });
        }
        if now >= self.next && !self.weights.is_empty() {
            let most = u64::try_from(self.pace.as_millis()).unwrap_or(u64::MAX).max(1) * 2;
            self.next = now + Duration::from_millis(self.random.below(1..most));
            let kind = self.any_kind();
            self.begin(sim, kind);
        }
    }

    /// Ends everything.
    fn heal(&mut self, sim: &mut Sim<'_>) {
        self.turns.clear();
        for number in self.on.keys().copied().collect::<Vec<_>>() {
            self.end(sim, number);
        }
        for member in self.targets.victims.clone() {
            self.restart(sim, member);
        }
        self.log.push(format!("{:?} all is whole", sim.elapsed()));
    }

    /// Starts a member that has stopped.
    fn restart(&mut self, sim: &mut Sim<'_>, member: &'static str) {
        if !sim.is_host_running(member) {
            self.down.remove(member);
            // A disk that is still failing will stop it again.
            if !self.has_disk_trouble(member) {
                self.troubled.remove(member);
            }
            self.log.push(format!("{:?} {member} starts", sim.elapsed()));
            sim.bounce(member);
        }
    }

    /// Steps the world, and starts members that may have stopped; gives whether it has ended.
    ///
    /// # Errors
    /// When it hangs, or a member has stopped that no fault had hit.
    pub fn step_world(&mut self, sim: &mut Sim<'_>, exits: &Exits) -> Result<bool, Violation> {
        let ended = sim
            .step()
            .map_err(|error| Violation::liveness("a world comes to an end", error.to_string()))?;
        if !ended {
            for (member, why) in exits.take() {
                if !self.note_stop(sim, member, &why) {
                    return Err(Violation::crash(
                        "a store stops only when its disk fails",
                        format!("{member} {why:?}"),
                    ));
                }
            }
            self.replace(sim);
        }
        Ok(ended)
    }

    /// Starts fresh members in the places that an operator has made for them.
    fn replace(&mut self, sim: &mut Sim<'_>) {
        for member in self.targets.replacements.take_admitted() {
            self.crash(sim, member);
            self.targets.disks[member].wipe();
            self.log
                .push(format!("{:?} {member} is replaced by a fresh one", sim.elapsed()));
            self.restart(sim, member);
        }
    }

    /// Goes on with the world's stage: trouble until `ends`, then all is whole, and `aftermath` later quiet.
    pub fn follow_stage(&mut self, sim: &mut Sim<'_>, ends: Duration, aftermath: Duration) {
        let now = sim.elapsed();
        match self.board.stage() {
            Stage::Trouble if now >= ends => {
                self.heal(sim);
                self.board.enter(Stage::Healed);
            }
            Stage::Trouble => self.step(sim),
            Stage::Healed if now >= ends + aftermath => self.board.enter(Stage::Quiet),
            _ => {}
        }
    }

    /// A member has stopped without losing power: says whether the faults explain it. When they are over already,
    /// it is started again.
    fn note_stop(&mut self, sim: &mut Sim<'_>, member: &'static str, why: &Exit) -> bool {
        self.log
            .push(format!("{:?} {member} stopped: {why:?}", sim.elapsed()));
        self.stopping.remove(member);
        if *why == Exit::Asked {
            self.restart(sim, member);
            return true;
        }
        // One that was removed, or whose place was removed before it took it.
        let left_out = why.says(&MemberError::Removed.to_string()) || why.says("add one first");
        if self.targets.replacements.is_retired(member) && left_out {
            return true;
        }
        if !self.troubled.contains(member) {
            return false;
        }
        if !self.has_disk_trouble(member) {
            self.restart(sim, member);
        }
        true
    }

    fn has_disk_trouble(&self, member: &'static str) -> bool {
        let still = |fault: &Fault| fault.kind.is_about_disks() && fault.members.contains(&member);
        self.on.values().any(still)
    }

    /// When a fault first happened to one of these.
    pub fn first_hit(&self, hosts: &[&str]) -> Option<Duration> {
        let hit = self.hit.iter().filter(|(hit, _)| hosts.contains(hit));
        hit.map(|(_, at)| *at).min()
    }

    /// Faults that hit the leader while nothing else was wrong.
    pub fn leader_hits(&self) -> &[LeaderHit] {
        &self.leader_hits
    }

    /// Everything that went wrong, in order.
    pub fn incidents(&self) -> Vec<Incident> {
        self.incidents.values().cloned().collect()
    }

    pub fn log(&self) -> &[String] {
        &self.log
    }

    fn any_kind(&self) -> FaultKind {
        let total: u64 = self.weights.iter().map(|(_, weight)| weight).sum();
        let mut drawn = self.random.below(0..total);
        for (kind, weight) in &self.weights {
            if drawn < *weight {
                return *kind;
            }
            drawn -= weight;
        }
        FaultKind::Crash
    }

    fn one_of(&self, hosts: &[&'static str]) -> &'static str {
        hosts[usize::try_from(self.random.below(0..hosts.len() as u64)).unwrap_or(0)]
    }

    /// Short ones often, long ones now and then: from a heartbeat to longer than a lease.
    fn any_duration(&self) -> Duration {
        let scale = self.random.below(0..8);
        Duration::from_millis(self.random.below(20..(100 << (scale / 2 * 2)).min(6_000)))
    }

    /// Of a clock: less than a lease, or more than any grace period, ahead or behind.
    fn any_mistake(&self) -> SignedDuration {
        let scale = 1_000 << (self.random.below(0..4) * 3);
        let millis = i64::try_from(self.random.below(0..scale.min(600_000))).unwrap_or(0);
        SignedDuration::from_millis(if self.random.below(0..2) == 0 {
            millis
        } else {
            -millis
        })
    }

    fn others(&self, members: &[&'static str]) -> Vec<&'static str> {
        self.targets
            .hosts
            .iter()
            .copied()
            .filter(|host| !members.contains(host))
            .collect()
    }

    fn begin(&mut self, sim: &mut Sim<'_>, kind: FaultKind) {
        // Two of three wiped would be all that is known.
        if kind == FaultKind::Wipe && (self.has_wiped || self.targets.disks.len() < 3) {
            return;
        }
        if kind == FaultKind::Roll {
            return self.roll(sim.elapsed());
        }
        let until = sim.elapsed() + self.duration_of(kind);
        let members = self.members_for(kind);
        self.begin_with(sim, Fault { until, kind, members });
    }

    fn duration_of(&self, kind: FaultKind) -> Duration {
        match kind {
            FaultKind::Loss | FaultKind::Exile => Duration::from_millis(self.random.below(15_000..40_000)),
            FaultKind::ClockJump => Duration::from_millis(self.random.below(1_000..30_000)),
            FaultKind::Restart | FaultKind::RestartLeader => TIME_TO_STOP,
            _ => self.any_duration(),
        }
    }

    /// Whom a fault of this kind happens to.
    fn members_for(&self, kind: FaultKind) -> Vec<&'static str> {
        let leader = || {
            self.board
                .leader()
                .unwrap_or_else(|| self.one_of(&self.targets.victims))
        };
        match kind {
            FaultKind::PowerCut | FaultKind::SlowNetwork | FaultKind::LossyNetwork => {
                self.targets.victims.clone()
            }
            FaultKind::CrashLeader
            | FaultKind::IsolateLeader
            | FaultKind::PauseLeader
            | FaultKind::RestartLeader => vec![leader()],
            FaultKind::Split => {
                let chosen = self
                    .targets
                    .victims
                    .iter()
                    .copied()
                    .filter(|_| self.random.below(0..2) == 0);
                chosen.collect()
            }
            FaultKind::SlowDisk | FaultKind::FullDisk | FaultKind::BadDisk | FaultKind::Wipe => {
                let with_disks: Vec<&'static str> = self.targets.disks.keys().copied().collect();
                vec![self.one_of(&with_disks)]
            }
            _ => vec![self.one_of(&self.targets.victims)],
        }
    }

    /// Everyone's turn comes, in the order of their names, one after the other.
    fn roll(&mut self, now: Duration) {
        if !self.turns.is_empty() {
            return;
        }
        let mut at = now;
        for member in self.targets.victims.clone() {
            self.turns.push_back((at, member));
            at += Duration::from_millis(self.random.below(TURN));
        }
        self.log
            .push(format!("{now:?} all are restarted in turn until {at:?}"));
    }

    fn begin_with(&mut self, sim: &mut Sim<'_>, fault: Fault) {
        let now = sim.elapsed();
        let Fault { until, kind, members } = fault;
        let alone =
            self.on.is_empty() && self.targets.replacements.is_empty() && now >= self.whole_since + RECOVERED;
        if alone && self.board.leader().is_some_and(|leader| members == [leader]) {
            self.leader_hits.push(LeaderHit {
                at: now,
                kind: kind.to_string(),
            });
        }
        for member in &members {
            self.hit.entry(member).or_insert(now);
        }
        self.number += 1;
        let number = self.number;
        self.incidents.insert(
            number,
            Incident {
                kind,
                members: members.clone(),
                began: now,
                ended: None,
                leader: self.board.leader(),
            },
        );
        let others = self.others(&members);
        match kind {
            FaultKind::Crash | FaultKind::CrashLeader | FaultKind::PowerCut | FaultKind::Loss => {
                for member in &members {
                    self.crash(sim, member);
                }
            }
            FaultKind::Isolate | FaultKind::IsolateLeader | FaultKind::Exile => {
                self.links.begin(sim, number, Break::Cut(members.clone(), others));
            }
            FaultKind::Split => {
                let rest = self
                    .targets
                    .victims
                    .iter()
                    .copied()
                    .filter(|member| !members.contains(member));
                let rest = rest.collect();
                self.links.begin(sim, number, Break::Cut(members.clone(), rest));
            }
            FaultKind::OneWay => {
                let broken = if self.random.below(0..2) == 0 {
                    Break::OneWay(members.clone(), others)
                } else {
                    Break::OneWay(others, members.clone())
                };
                self.links.begin(sim, number, broken);
            }
            FaultKind::Pause | FaultKind::PauseLeader => {
                self.links
                    .begin(sim, number, Break::Hold(members.clone(), others));
            }
            FaultKind::SlowNetwork => {
                sim.set_max_message_latency(Duration::from_millis(self.random.below(20..150)));
            }
            FaultKind::LossyNetwork => sim.set_fail_rate(0.002),
            FaultKind::SlowDisk => {
                for member in &members {
                    self.targets.disks[member].slow_down(Duration::from_millis(self.random.below(5..400)));
                }
            }
            FaultKind::FullDisk => {
                for member in &members {
                    self.troubled.insert(member);
                    let disk = &self.targets.disks[member];
                    disk.limit(Some(disk.used() + self.random.below(0..2_000)));
                }
            }
            FaultKind::BadDisk => {
                for member in &members {
                    self.troubled.insert(member);
                    self.targets.disks[member].fail();
                }
            }
            FaultKind::Restart | FaultKind::RestartLeader => {
                for member in &members {
                    if sim.is_host_running(*member) && self.stopping.insert(member) {
                        self.targets.terminators[member].ask();
                    }
                }
            }
            FaultKind::Wipe => {
                self.has_wiped = true;
                for member in &members {
                    self.crash(sim, member);
                    self.targets.disks[member].wipe();
                }
            }
            FaultKind::ClockJump => {
                for member in &members {
                    self.targets.clocks[member].set(self.any_mistake());
                }
            }
            // Its parts come one by one.
            FaultKind::Roll => {}
        }
        self.log
            .push(format!("{now:?} {kind} of {} until {until:?}", members.join(" ")));
        self.on.insert(number, Fault { until, kind, members });
    }

    fn crash(&mut self, sim: &mut Sim<'_>, member: &'static str) {
        if !sim.is_host_running(member) {
            return;
        }
        sim.crash(member);
        self.down.insert(member);
        self.stopping.remove(member);
        if let Some(told) = &self.targets.on_crash {
            told(member);
        }
        let Some(disk) = self.targets.disks.get(member) else {
            return;
        };
        // Of what was not synced, some prefix may have reached the platter all the same.
        let unsynced = u64::try_from(disk.unsynced()).unwrap_or(u64::MAX - 1);
        let kept = usize::try_from(self.random.below(0..unsynced + 1)).unwrap_or(0);
        if self.disk_bug == Some("torn-writes") {
            disk.tear(kept);
        } else {
            disk.survive(kept);
        }
    }

    fn end(&mut self, sim: &mut Sim<'_>, number: u64) {
        let Some(fault) = self.on.remove(&number) else {
            return;
        };
        self.whole_since = sim.elapsed();
        if let Some(incident) = self.incidents.get_mut(&number) {
            incident.ended = Some(sim.elapsed());
        }
        match fault.kind {
            // Who doesn't stop when asked is made to.
            FaultKind::Restart | FaultKind::RestartLeader => {
                for member in fault.members {
                    if self.stopping.contains(member) {
                        self.log
                            .push(format!("{:?} {member} has not stopped", sim.elapsed()));
                        self.crash(sim, member);
                        self.restart(sim, member);
                    }
                }
            }
            FaultKind::Crash
            | FaultKind::CrashLeader
            | FaultKind::PowerCut
            | FaultKind::Loss
            | FaultKind::Wipe => {
                for member in fault.members {
                    if self.down.contains(member) {
                        self.restart(sim, member);
                    }
                }
            }
            FaultKind::Isolate
            | FaultKind::IsolateLeader
            | FaultKind::Exile
            | FaultKind::Split
            | FaultKind::OneWay
            | FaultKind::Pause
            | FaultKind::PauseLeader => self.links.end(sim, number),
            FaultKind::SlowNetwork => sim.set_max_message_latency(USUAL_LATENCY),
            FaultKind::LossyNetwork => sim.set_fail_rate(0.0),
            FaultKind::SlowDisk | FaultKind::FullDisk | FaultKind::BadDisk => {
                for member in fault.members {
                    self.targets.disks[member].heal();
                    self.break_promise(member);
                    self.restart(sim, member);
                }
            }
            FaultKind::Roll => {}
            FaultKind::ClockJump => {
                for member in fault.members {
                    self.targets.clocks[member].set(SignedDuration::ZERO);
                }
            }
        }
    }
}
