//! What is done to the members, and taken back.

use crate::members::Members;
use crate::places::Places;
use chaos_store::history::now;
use chaos_store::stage::Board;
use chaos_store::{MEMBER_NAMES, Violation};
use rustix::process::Signal;
use std::fmt;
use std::time::Duration;
use support::Random;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `kill -9`, and started again.
    Kill,
    /// All at once.
    KillAll,
    /// Asked to stop, and started again when it has.
    Restart,
    /// SIGSTOP and SIGCONT.
    Pause,
    /// Unplugged from everybody.
    Unplug,
    /// It hears nothing of one other member, which still hears it.
    Deafen,
    /// No room on its disk.
    FullDisk,
    /// Killed, and its data are gone: it is started by the same command, with an empty folder. Once a run, and
    /// only while nothing else is wrong: two of three folders lost is more than any store survives.
    Wipe,
}

impl Kind {
    pub const ALL: [Self; 8] = [
        Self::Kill,
        Self::KillAll,
        Self::Restart,
        Self::Pause,
        Self::Unplug,
        Self::Deafen,
        Self::FullDisk,
        Self::Wipe,
    ];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kill => "kill",
            Self::KillAll => "kill-all",
            Self::Restart => "restart",
            Self::Pause => "pause",
            Self::Unplug => "unplug",
            Self::Deafen => "deafen",
            Self::FullDisk => "full-disk",
            Self::Wipe => "wipe",
        })
    }
}

/// A fault that happened.
#[derive(Debug, Clone)]
pub struct Struck {
    pub at: Duration,
    /// When it was taken back; `None`: it was not.
    pub until: Option<Duration>,
    pub kind: Kind,
    pub member: usize,
    /// The victim led, as far as was known.
    pub leader: bool,
    /// Nothing else was wrong then.
    pub alone: bool,
}

impl fmt::Display for Struck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let leads = if self.leader { ", which leads" } else { "" };
        write!(
            f,
            "{:.3?} {} of {}{leads}",
            self.at, self.kind, MEMBER_NAMES[self.member]
        )
    }
}

impl Struck {
    /// Whether `member` was not as it should be at that moment.
    pub fn ails(&self, member: usize, at: Duration) -> bool {
        let concerns = self.member == member || matches!(self.kind, Kind::KillAll | Kind::Deafen);
        concerns && self.at <= at && self.until.is_none_or(|until| at < until)
    }
}

/// What is to be taken back, and when.
struct Ailment {
    /// Which of the faults that struck.
    fault: usize,
    kind: Kind,
    member: usize,
    until: Duration,
}

/// Brings faults about, one after another, at times and places that the seed decides.
pub struct Faults {
    random: Random,
    kinds: Vec<Kind>,
    pace: Duration,
    members: usize,
    next: Duration,
    ailments: Vec<Ailment>,
    /// Since when all is well.
    well_since: Duration,
    struck: Vec<Struck>,
}

/// The shortest and the longest fault, in milliseconds.
const LASTS: std::ops::Range<u64> = 200..4_000;
/// After the last ailment has gone so long, the members count as well.
const CONVALESCENCE: Duration = Duration::from_secs(2);

impl Faults {
    pub fn new(random: Random, kinds: Vec<Kind>, pace: Duration, members: usize) -> Self {
        Self {
            random,
            kinds,
            pace,
            members,
            next: now() + pace,
            ailments: Vec::new(),
            well_since: now(),
            struck: Vec::new(),
        }
    }

    pub fn struck(&self) -> &[Struck] {
        &self.struck
    }

    /// Takes back what is due, and brings about what is due.
    ///
    /// # Errors
    /// When the system doesn't do as it is told.
    pub fn step(&mut self, members: &mut Members<'_>, places: &Places, board: &Board) -> anyhow::Result<()> {
        let now = now();
        let due = |ailment: &Ailment| ailment.until <= now;
        for ailment in self.ailments.iter().filter(|ailment| due(ailment)) {
            relieve(ailment, members, places)?;
            self.struck[ailment.fault].until = Some(now);
        }
        let before = self.ailments.len();
        self.ailments.retain(|ailment| !due(ailment));
        if before > 0 && self.ailments.is_empty() {
            self.well_since = now;
        }
        if now >= self.next && !self.kinds.is_empty() {
            self.strike(members, places, board)?;
            let pace = u64::try_from(self.pace.as_millis()).unwrap_or(u64::MAX);
            self.next = now + Duration::from_millis(self.random.below(1..pace.max(2) * 2));
        }
        Ok(())
    }

    fn strike(&mut self, members: &mut Members<'_>, places: &Places, board: &Board) -> anyhow::Result<()> {
        let pick = |size: usize| usize::try_from(self.random.below(0..size as u64)).unwrap_or(0);
        let kind = self.kinds[pick(self.kinds.len())];
        let leader = board
            .leader()
            .and_then(|name| MEMBER_NAMES.iter().position(|member| *member == name));
        let member = match leader {
            Some(leader) if self.random.below(0..2) == 0 => leader,
            _ => pick(self.members),
        };
        // One that is ill already is left alone.
        if self.ailments.iter().any(|ailment| ailment.member == member) || !members.runs(member) {
            return Ok(());
        }
        let other = (member + 1 + pick(self.members.max(2) - 1)) % self.members;
        let now = now();
        let alone = self.ailments.is_empty() && now >= self.well_since + CONVALESCENCE;
        let wiped = self.struck.iter().any(|fault| fault.kind == Kind::Wipe);
        if kind == Kind::Wipe && (wiped || !alone || self.members < 3) {
            return Ok(());
        }
        self.struck.push(Struck {
            at: now,
            until: None,
            kind,
            member,
            leader: leader == Some(member),
            alone,
        });
        let until = now + Duration::from_millis(self.random.below(LASTS));
        let mut ill = vec![member];
        match kind {
            Kind::Kill => members.kill(member)?,
            Kind::KillAll => {
                ill = (0..self.members).collect();
                for member in 0..self.members {
                    members.kill(member)?;
                }
            }
            Kind::Restart => members.signal(member, Signal::TERM)?,
            Kind::Pause => members.signal(member, Signal::STOP)?,
            Kind::Unplug => places.unplug(member)?,
            Kind::Deafen => places.deafen(member, other)?,
            Kind::FullDisk => places.fill(member)?,
            Kind::Wipe => {
                members.kill(member)?;
                places.wipe(member)?;
            }
        }
        let fault = self.struck.len() - 1;
        self.ailments.extend(ill.into_iter().map(|member| Ailment {
            fault,
            kind,
            member,
            until,
        }));
        Ok(())
    }

    /// A member has ended by itself: whether it had reason to.
    ///
    /// # Errors
    /// A violation, when it had none.
    pub fn ended(&mut self, member: usize, how: &str) -> Result<(), Violation> {
        let asked = |ailment: &&mut Ailment| {
            ailment.member == member && matches!(ailment.kind, Kind::Restart | Kind::FullDisk)
        };
        match self.ailments.iter_mut().find(asked) {
            // It has stopped as it was asked to: on with it.
            Some(ailment) if ailment.kind == Kind::Restart => {
                ailment.until = now();
                Ok(())
            }
            Some(_) => Ok(()),
            None => match self.lately_full(member) {
                // It had failed to write before there was room again.
                Some(fault) => {
                    self.ailments.push(Ailment {
                        fault,
                        kind: Kind::Kill,
                        member,
                        until: now(),
                    });
                    Ok(())
                }
                None => Err(Violation::crash(
                    "a member stops only when it is told to or its disk is full",
                    format!("{} ended {how} at {:.3?}", MEMBER_NAMES[member], now()),
                )),
            },
        }
    }

    fn lately_full(&self, member: usize) -> Option<usize> {
        self.struck.iter().rposition(|fault| {
            fault.kind == Kind::FullDisk
                && fault.member == member
                && fault.until.is_some_and(|until| now() < until + CONVALESCENCE)
        })
    }

    /// Takes back everything.
    ///
    /// # Errors
    /// When the system doesn't do as it is told.
    pub fn heal(&mut self, members: &mut Members<'_>, places: &Places) -> anyhow::Result<()> {
        for ailment in self.ailments.drain(..) {
            relieve(&ailment, members, places)?;
            self.struck[ailment.fault].until = Some(now());
        }
        places.heal()
    }
}

fn relieve(ailment: &Ailment, members: &mut Members<'_>, places: &Places) -> anyhow::Result<()> {
    let member = ailment.member;
    match ailment.kind {
        Kind::Kill | Kind::KillAll | Kind::Wipe => members.boot(member),
        // One that does not stop in time is told so by its own supervisor, too.
        Kind::Restart => {
            members.kill(member)?;
            members.boot(member)
        }
        Kind::Pause => members.signal(member, Signal::CONT),
        Kind::Unplug => places.plug(member),
        Kind::Deafen => places.hear(member),
        Kind::FullDisk => {
            places.clear(member)?;
            members.boot(member)
        }
    }
}
