//! How long nobody's writes were acknowledged, after each kind of fault.

use crate::faults::Struck;
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
    pub acknowledged: usize,
}

impl Figures {
    pub fn of(operations: &[Operation], struck: &[Struck], until: Duration) -> Self {
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
        for fault in struck.iter().filter(|fault| fault.leader && fault.alone) {
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
            "{} writes acknowledged, the longest time without one {:?}",
            self.acknowledged, self.longest_gap
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
