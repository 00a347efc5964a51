//! The kinds of faults, by name.

use std::fmt;

/// One way in which things go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// A member loses power and comes back.
    Crash,
    /// The leader does.
    CrashLeader,
    /// All members do, at once.
    PowerCut,
    /// A member is cut off from everyone.
    Isolate,
    /// The leader is.
    IsolateLeader,
    /// The members fall into two groups; clients reach both.
    Split,
    /// A member hears the others but isn't heard, or the other way round.
    OneWay,
    /// Nothing reaches or leaves a member for a while, then everything does: as after a long pause.
    Pause,
    /// The leader's turn.
    PauseLeader,
    /// Messages take long, and overtake each other.
    SlowNetwork,
    /// Connections break now and then.
    LossyNetwork,
    /// A member's disk takes its time.
    SlowDisk,
    /// A member's disk is full; the member stops, and comes back when there is room.
    FullDisk,
    /// A member's disk fails; the member stops, and comes back with it mended.
    BadDisk,
    /// A machine loses power and comes back only after it was given up. Of whole clusters: members of the store
    /// are never given up.
    Loss,
    /// A machine is cut off from everyone until after it was given up; its pods go on meanwhile. Of whole clusters.
    Exile,
    /// A member is asked to stop, as by SIGTERM, and started again.
    Restart,
    /// The leader is.
    RestartLeader,
    /// A member loses its power and everything on its disk, and is started by the same command: it joins anew.
    /// Once a world: before its successor has everything, another loss could be too much.
    Wipe,
    /// A machine's wall clock is up to ten minutes wrong, and then it is right again. Of whole clusters: the
    /// store looks at no wall clock.
    ClockJump,
    /// One member after the other is asked to stop, and started again, as by an upgrade.
    Roll,
}

impl FaultKind {
    /// Those that the store's own worlds draw.
    pub const ALL: [Self; 14] = [
        Self::Crash,
        Self::CrashLeader,
        Self::PowerCut,
        Self::Isolate,
        Self::IsolateLeader,
        Self::Split,
        Self::OneWay,
        Self::Pause,
        Self::PauseLeader,
        Self::SlowNetwork,
        Self::LossyNetwork,
        Self::SlowDisk,
        Self::FullDisk,
        Self::BadDisk,
    ];

    /// Those that the store's worlds draw after everything else, so that a seed from before there were any
    /// still has the rest of its world.
    pub const LATER: [Self; 3] = [Self::Restart, Self::RestartLeader, Self::Wipe];

    /// Those that worlds of whole clusters draw.
    pub fn of_clusters() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().chain([Self::Loss])
    }

    /// Those that worlds of whole clusters draw after everything else.
    pub fn later_of_clusters() -> impl Iterator<Item = Self> {
        Self::LATER.into_iter().chain([Self::ClockJump])
    }

    /// Those that came after these, in worlds of either sort.
    pub const LATEST: [Self; 1] = [Self::Roll];

    /// Those that came after these, in worlds of clusters.
    pub fn latest_of_clusters() -> impl Iterator<Item = Self> {
        Self::LATEST.into_iter().chain([Self::Exile])
    }

    /// The kind of this name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::of_clusters()
            .chain(Self::later_of_clusters())
            .chain(Self::latest_of_clusters())
            .find(|kind| kind.to_string() == name)
    }

    /// Disks that fail make members stop.
    pub(crate) fn is_about_disks(self) -> bool {
        matches!(self, Self::FullDisk | Self::BadDisk)
    }

    /// Makes sense without other members.
    pub fn concerns_one_member(self) -> bool {
        !matches!(
            self,
            Self::CrashLeader
                | Self::IsolateLeader
                | Self::Split
                | Self::OneWay
                | Self::PauseLeader
                | Self::RestartLeader
                | Self::Wipe
                | Self::Exile
                | Self::Roll
        )
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Crash => "crash",
            Self::CrashLeader => "crash-leader",
            Self::PowerCut => "power-cut",
            Self::Isolate => "isolate",
            Self::IsolateLeader => "isolate-leader",
            Self::Split => "split",
            Self::OneWay => "one-way",
            Self::Pause => "pause",
            Self::PauseLeader => "pause-leader",
            Self::SlowNetwork => "slow-network",
            Self::LossyNetwork => "lossy-network",
            Self::SlowDisk => "slow-disk",
            Self::FullDisk => "full-disk",
            Self::BadDisk => "bad-disk",
            Self::Loss => "loss",
            Self::ClockJump => "clock-jump",
            Self::Exile => "exile",
            Self::Roll => "roll",
            Self::Restart => "restart",
            Self::RestartLeader => "restart-leader",
            Self::Wipe => "wipe",
        })
    }
}
