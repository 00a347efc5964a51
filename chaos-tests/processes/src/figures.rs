//! How long nobody's writes to a store were acknowledged, after each kind of fault.

use crate::faults::{Duty, Struck, well_stretches};
use chaos_store::history::{Answer, Operation, Outcome};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Times from a fault that hit the leader, and nothing else was wrong, to the first write that was asked for after
/// it and acknowledged.
#[derive(Debug, Default)]
pub struct Figures {
    pub until_a_write: BTreeMap<String, Vec<Duration>>,
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
        let mut writes: Vec<(Duration, Duration)> = operations
            .iter()
            .filter(|operation| is_acknowledged_write(operation))
            .filter_map(|operation| Some((operation.returned?, operation.called)))
            .collect();
        writes.sort_unstable();
        let mut figures = Self {
            acknowledged: writes.len(),
            ..Self::default()
        };
        let during = writes.iter().filter(|(returned, _)| *returned <= until);
        let times: Vec<Duration> = during.map(|(returned, _)| *returned).collect();
        let gaps = times.windows(2).map(|pair| pair[1].saturating_sub(pair[0]));
        figures.longest_gap = gaps.max().unwrap_or_default();
        for pair in times.windows(2) {
            for (from, to) in with_majority(struck, members, (pair[0], pair[1])) {
                let refusal = (to.saturating_sub(from), from);
                figures.longest_refusal = figures.longest_refusal.max(refusal);
            }
        }
        let telling = |fault: &&Struck| fault.alone && fault.duties.contains(&Duty::LeadStore);
        for fault in struck.iter().filter(telling) {
            let first = writes.iter().find(|(_, called)| *called >= fault.at);
            if let Some((returned, _)) = first {
                let times = figures.until_a_write.entry(fault.kind.to_string()).or_default();
                times.push(returned.saturating_sub(fault.at));
            }
        }
        figures
            .until_a_write
            .values_mut()
            .for_each(|times| times.sort_unstable());
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

fn is_acknowledged_write(operation: &Operation) -> bool {
    match &operation.outcome {
        Outcome::Answered { answer, .. } => matches!(answer, Answer::Put(_) | Answer::Delete(_)),
        _ => false,
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} writes acknowledged, the longest time without one {:.1?}, with a well majority {:.1?} (from {:.1?})",
            self.acknowledged, self.longest_gap, self.longest_refusal.0, self.longest_refusal.1
        )?;
        for (kind, times) in &self.until_a_write {
            let (median, most) = (times[times.len() / 2], times[times.len() - 1]);
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
