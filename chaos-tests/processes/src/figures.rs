//! How long nobody's writes to a store were acknowledged, after each kind of fault.

use crate::faults::{Duty, Struck, well_stretches};
use chaos_store::history::Operation;
use chaos_store::{Failovers, LeaderHit, is_acknowledged_write, median_and_most};
use std::fmt;
use std::time::Duration;

/// Times from a fault that hit the leader, and nothing else was wrong, to the first write that was asked for after
/// it and acknowledged.
#[derive(Debug, Default)]
pub struct Figures {
    pub until_a_write: Failovers,
    /// The longest time between two acknowledged writes.
    pub longest_gap: Duration,
    /// The longest time without an acknowledged write in which always the same or another majority was well, and
    /// when it began.
    pub longest_refusal: (Duration, Duration),
    pub acknowledged: usize,
}

impl Figures {
    /// Of a store of so many members; what came later than `until` doesn't count.
    pub fn of(operations: &[Operation], struck: &[Struck], members: usize, until: Duration) -> Self {
        let writes = operations
            .iter()
            .filter(|operation| is_acknowledged_write(operation));
        let mut times: Vec<Duration> = writes.filter_map(|operation| operation.returned).collect();
        let mut figures = Self {
            acknowledged: times.len(),
            ..Self::default()
        };
        times.retain(|returned| *returned <= until);
        times.sort_unstable();
        let gaps = times.windows(2).map(|pair| pair[1].saturating_sub(pair[0]));
        figures.longest_gap = gaps.max().unwrap_or_default();
        for pair in times.windows(2) {
            for (from, to) in with_majority(struck, members, (pair[0], pair[1])) {
                let refusal = (to.saturating_sub(from), from);
                figures.longest_refusal = figures.longest_refusal.max(refusal);
            }
        }
        let telling = |fault: &&Struck| fault.alone && fault.duties.contains(&Duty::LeadStore);
        let hits = struck.iter().filter(telling).map(|fault| LeaderHit {
            at: fault.at,
            kind: fault.kind.to_string(),
        });
        figures.until_a_write = Failovers::of(operations, &hits.collect::<Vec<_>>());
        figures
    }
}

/// The parts of a stretch of time in which a majority had nothing wrong with it.
fn with_majority(
    struck: &[Struck],
    members: usize,
    stretch: (Duration, Duration),
) -> Vec<(Duration, Duration)> {
    well_stretches(struck, stretch, &|ails| {
        let well = (0..members).filter(|member| !ails(*member)).count();
        well * 2 > members
    })
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} writes acknowledged, the longest time without one {:.1?}, with a well majority {:.1?} (from {:.1?})",
            self.acknowledged, self.longest_gap, self.longest_refusal.0, self.longest_refusal.1
        )?;
        for (kind, times) in &self.until_a_write.0 {
            let (median, most) = median_and_most(times);
            writeln!(
                f,
                "{kind} of the leader, {} times: writes again after {median:.0?} (median), {most:.0?} (most)",
                times.len()
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::Kind;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn fault(member: usize, from: u64, until: u64) -> Struck {
        Struck {
            at: at(from),
            until: Some(at(until)),
            kind: Kind::Kill,
            place: member,
            name: "store",
            duties: Vec::new(),
            alone: false,
        }
    }

    #[test]
    fn time_counts_while_a_majority_is_well() {
        let struck = [fault(0, 2, 6), fault(1, 4, 8)];
        // One of three ails: the others are a majority; two ail from 4 to 6.
        assert_eq!(
            with_majority(&struck, 3, (at(0), at(10))),
            [(at(0), at(4)), (at(6), at(10))]
        );
        assert_eq!(with_majority(&[], 3, (at(1), at(2))), [(at(1), at(2))]);
        assert_eq!(with_majority(&[fault(0, 0, 9)], 1, (at(1), at(2))), []);
    }
}
