//! What is done to the places of a world, and taken back.

use crate::places::Places;
use crate::processes::{Ended, Processes};
use chaos_store::Violation;
use chaos_store::history::now;
use rustix::process::Signal;
use std::collections::{BTreeMap, VecDeque};
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
    /// All are restarted, one after the other, each when the one before is up again.
    Roll,
    /// SIGSTOP and SIGCONT.
    Pause,
    /// Unplugged from everybody.
    Unplug,
    /// It hears nothing of one other place, which still hears it.
    Deafen,
    /// No room on its disk.
    FullDisk,
    /// Killed, and its data are gone: it is started by the same command, with an empty folder. Once a run, and
    /// only while nothing else is wrong: two of three folders lost is more than any store survives.
    Wipe,
}

impl Kind {
    pub const ALL: [Self; 9] = [
        Self::Kill,
        Self::KillAll,
        Self::Restart,
        Self::Roll,
        Self::Pause,
        Self::Unplug,
        Self::Deafen,
        Self::FullDisk,
        Self::Wipe,
    ];

    /// # Errors
    /// When a name is none; `none` stands for no kind at all.
    pub fn parse_list(text: &str) -> anyhow::Result<Vec<Self>> {
        let names = text.split(',').filter(|name| !name.is_empty() && *name != "none");
        names
            .map(|name| {
                let mut all = Self::ALL.into_iter();
                let found = all.find(|kind| kind.to_string() == name);
                found.ok_or_else(|| anyhow::anyhow!("`{name}` is no kind of fault"))
            })
            .collect()
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kill => "kill",
            Self::KillAll => "kill-all",
            Self::Restart => "restart",
            Self::Roll => "roll",
            Self::Pause => "pause",
            Self::Unplug => "unplug",
            Self::Deafen => "deafen",
            Self::FullDisk => "full-disk",
            Self::Wipe => "wipe",
        })
    }
}

/// What one place does for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Duty {
    LeadStore,
    Schedule,
    Control,
}

impl fmt::Display for Duty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LeadStore => "leads the store",
            Self::Schedule => "schedules",
            Self::Control => "controls",
        })
    }
}

/// Who does what, as far as is known.
pub type Acting = BTreeMap<Duty, usize>;

/// A fault that happened.
#[derive(Debug, Clone)]
pub struct Struck {
    pub at: Duration,
    /// When it was taken back; `None`: it was not.
    pub until: Option<Duration>,
    pub kind: Kind,
    pub place: usize,
    pub name: &'static str,
    /// What the victim did for all then.
    pub duties: Vec<Duty>,
    /// Nothing else was wrong then.
    pub alone: bool,
}

impl fmt::Display for Struck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3?} {} of {}", self.at, self.kind, self.name)?;
        if let Some(until) = self.until {
            write!(f, " for {:.1?}", until.saturating_sub(self.at))?;
        }
        for (number, duty) in self.duties.iter().enumerate() {
            write!(f, "{}{duty}", if number == 0 { ", which " } else { " and " })?;
        }
        Ok(())
    }
}

impl Struck {
    /// Whether `place` was not as it should be at that moment.
    pub fn ails(&self, place: usize, at: Duration) -> bool {
        let concerns = self.place == place || matches!(self.kind, Kind::KillAll | Kind::Deafen);
        concerns && self.at <= at && self.until.is_none_or(|until| at < until)
    }
}

/// Whether enough is well, given which places ail.
pub type Well<'a> = dyn Fn(&dyn Fn(usize) -> bool) -> bool + 'a;

/// The parts of a stretch of time at whose every moment enough is well.
pub fn well_stretches(
    struck: &[Struck],
    (from, to): (Duration, Duration),
    well: &Well<'_>,
) -> Vec<(Duration, Duration)> {
    let mut turns: Vec<Duration> = struck
        .iter()
        .flat_map(|fault| [Some(fault.at), fault.until])
        .flatten()
        .collect();
    turns.extend([from, to]);
    turns.retain(|turn| (from..=to).contains(turn));
    turns.sort_unstable();
    let mut parts: Vec<(Duration, Duration)> = Vec::new();
    for pair in turns.windows(2) {
        let ails = |place: usize| struck.iter().any(|fault| fault.ails(place, pair[0]));
        if !well(&ails) {
            continue;
        }
        match parts.last_mut() {
            Some(last) if last.1 == pair[0] => last.1 = pair[1],
            _ => parts.push((pair[0], pair[1])),
        }
    }
    parts
}

/// What is to be taken back, and when.
struct Ailment {
    /// Which of the faults that struck.
    fault: usize,
    kind: Kind,
    place: usize,
    until: Duration,
}

/// Brings faults about, one after another, at times and places that the seed decides.
pub struct Faults {
    random: Random,
    kinds: Vec<Kind>,
    pace: Duration,
    /// The places that hold a member of the store.
    stores: Vec<usize>,
    next: Duration,
    ailments: Vec<Ailment>,
    /// The places whose turn in a rolling restart is still to come.
    rolling: VecDeque<usize>,
    /// Since when all is well.
    well_since: Duration,
    struck: Vec<Struck>,
}

/// The shortest and the longest fault, in milliseconds.
const LASTS: std::ops::Range<u64> = 200..4_000;
/// After the last ailment has gone so long, all places count as well.
const CONVALESCENCE: Duration = Duration::from_secs(2);
/// What has been asked to stop for so long is killed: systemd's `TimeoutStopSec` is 90 s, a control plane gives its four
/// roles 4 s each.
const STOPS: Duration = Duration::from_secs(20);

impl Faults {
    pub fn new(random: Random, kinds: Vec<Kind>, pace: Duration, stores: Vec<usize>) -> Self {
        Self {
            random,
            kinds,
            pace,
            stores,
            next: now() + pace,
            ailments: Vec::new(),
            rolling: VecDeque::new(),
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
    pub fn step(
        &mut self,
        processes: &mut Processes<'_>,
        places: &Places,
        acting: &Acting,
    ) -> anyhow::Result<()> {
        let now = now();
        let due = |ailment: &Ailment| ailment.until <= now;
        for ailment in self.ailments.iter().filter(|ailment| due(ailment)) {
            relieve(ailment, processes, places)?;
            self.struck[ailment.fault].until = Some(now);
        }
        let before = self.ailments.len();
        self.ailments.retain(|ailment| !due(ailment));
        if before > 0 && self.ailments.is_empty() {
            self.well_since = now;
        }
        if let Some(place) = self.rolling.front().copied() {
            if self.is_quiet(now) {
                self.rolling.pop_front();
                self.begin(Kind::Roll, place, (processes, places), acting)?;
                self.next = now + self.pace;
            }
        } else if now >= self.next && !self.kinds.is_empty() {
            self.strike(processes, places, acting)?;
            let pace = u64::try_from(self.pace.as_millis()).unwrap_or(u64::MAX);
            self.next = now + Duration::from_millis(self.random.below(1..pace.max(2) * 2));
        }
        Ok(())
    }

    fn is_quiet(&self, now: Duration) -> bool {
        self.ailments.is_empty() && now >= self.well_since + CONVALESCENCE
    }

    fn pick(&self, size: usize) -> usize {
        usize::try_from(self.random.below(0..size as u64)).unwrap_or(0)
    }

    fn strike(
        &mut self,
        processes: &mut Processes<'_>,
        places: &Places,
        acting: &Acting,
    ) -> anyhow::Result<()> {
        let count = places.names().len();
        let kind = self.kinds[self.pick(self.kinds.len())];
        let acts: Vec<usize> = acting.values().copied().collect();
        let place = if !acts.is_empty() && self.random.below(0..2) == 0 {
            acts[self.pick(acts.len())]
        } else {
            self.pick(count)
        };
        // One that is ill already is left alone.
        if self.ailments.iter().any(|ailment| ailment.place == place) || !processes.runs(place) {
            return Ok(());
        }
        match kind {
            Kind::Wipe => {
                let wiped = self.struck.iter().any(|fault| fault.kind == Kind::Wipe);
                let bears = self.stores.len() >= 3 && self.stores.contains(&place);
                if wiped || !bears || !self.is_quiet(now()) {
                    return Ok(());
                }
            }
            Kind::Roll => {
                self.rolling = (0..count).map(|step| (place + step) % count).collect();
                return Ok(());
            }
            Kind::Deafen if count < 2 => return Ok(()),
            _ => {}
        }
        self.begin(kind, place, (processes, places), acting)
    }

    fn begin(
        &mut self,
        kind: Kind,
        place: usize,
        (processes, places): (&mut Processes<'_>, &Places),
        acting: &Acting,
    ) -> anyhow::Result<()> {
        let (now, count) = (now(), places.names().len());
        let duties = acting.iter().filter(|(_, acts)| **acts == place);
        self.struck.push(Struck {
            at: now,
            until: None,
            kind,
            place,
            name: places.names()[place],
            duties: duties.map(|(duty, _)| *duty).collect(),
            alone: self.is_quiet(now),
        });
        let until = match kind {
            // Longer than it takes to stop: that it has stopped ends it.
            Kind::Restart | Kind::Roll => now + STOPS,
            _ => now + Duration::from_millis(self.random.below(LASTS)),
        };
        let mut ill = vec![place];
        match kind {
            Kind::Kill => processes.kill(place)?,
            Kind::KillAll => {
                ill = (0..count).collect();
                for place in 0..count {
                    processes.kill(place)?;
                }
            }
            Kind::Restart | Kind::Roll => processes.signal(place, Signal::TERM)?,
            Kind::Pause => processes.signal(place, Signal::STOP)?,
            Kind::Unplug => places.unplug(place)?,
            Kind::Deafen => places.deafen(place, (place + 1 + self.pick(count - 1)) % count)?,
            Kind::FullDisk => places.fill(place)?,
            Kind::Wipe => {
                processes.kill(place)?;
                places.wipe(place)?;
            }
        }
        let fault = self.struck.len() - 1;
        self.ailments.extend(ill.into_iter().map(|place| Ailment {
            fault,
            kind,
            place,
            until,
        }));
        Ok(())
    }

    /// A process has ended by itself: whether it had reason to.
    ///
    /// # Errors
    /// A violation, when it had none.
    pub fn ended(&mut self, ended: &Ended) -> Result<(), Violation> {
        let place = ended.place;
        let asked = |ailment: &&mut Ailment| {
            ailment.place == place && matches!(ailment.kind, Kind::Restart | Kind::Roll | Kind::FullDisk)
        };
        match self.ailments.iter_mut().find(asked) {
            Some(ailment) if ailment.kind == Kind::FullDisk => Ok(()),
            // All has stopped as it was asked to: on with it.
            Some(ailment) => {
                if ended.last {
                    ailment.until = now();
                }
                Ok(())
            }
            None => match self.lately_full(place) {
                // It had failed to write before there was room again.
                Some(fault) => {
                    self.ailments.push(Ailment {
                        fault,
                        kind: Kind::Kill,
                        place,
                        until: now(),
                    });
                    Ok(())
                }
                None => Err(Violation::crash(
                    "a process stops only when it is told to or its disk is full",
                    format!("{} at {:.3?}", ended.what, now()),
                )),
            },
        }
    }

    fn lately_full(&self, place: usize) -> Option<usize> {
        self.struck.iter().rposition(|fault| {
            fault.kind == Kind::FullDisk
                && fault.place == place
                && fault.until.is_some_and(|until| now() < until + CONVALESCENCE)
        })
    }

    /// Takes back everything.
    ///
    /// # Errors
    /// When the system doesn't do as it is told.
    pub fn heal(&mut self, processes: &mut Processes<'_>, places: &Places) -> anyhow::Result<()> {
        self.rolling.clear();
        for ailment in self.ailments.drain(..) {
            relieve(&ailment, processes, places)?;
            self.struck[ailment.fault].until = Some(now());
        }
        places.heal()
    }
}

fn relieve(ailment: &Ailment, processes: &mut Processes<'_>, places: &Places) -> anyhow::Result<()> {
    let place = ailment.place;
    match ailment.kind {
        Kind::Kill | Kind::KillAll | Kind::Wipe => processes.boot(place),
        // One that does not stop in time is told so by its own supervisor, too.
        Kind::Restart | Kind::Roll => {
            processes.kill(place)?;
            processes.boot(place)
        }
        Kind::Pause => processes.signal(place, Signal::CONT),
        Kind::Unplug => places.plug(place),
        Kind::Deafen => places.hear(place),
        Kind::FullDisk => {
            places.clear(place)?;
            processes.boot(place)
        }
    }
}
