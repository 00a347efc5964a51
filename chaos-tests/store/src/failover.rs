//! How long it took until what a fault had hit was made good: in the store's worlds, how long writes stayed away after one
//! that hit the leader.

use crate::history::{Answer, Operation, Outcome};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// A fault that hit the leader while nothing else was wrong, or had been for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaderHit {
    pub at: Duration,
    /// What happened to it.
    pub kind: String,
}

/// Times from such faults until they were made good, by kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Failovers(pub BTreeMap<String, Vec<Duration>>);

impl Failovers {
    /// To the first acknowledgement of a write that was asked for after the fault.
    pub fn of(operations: &[Operation], hits: &[LeaderHit]) -> Self {
        let mut all = Self::default();
        for hit in hits {
            let answers = operations
                .iter()
                .filter(|operation| operation.called >= hit.at && is_acknowledged_write(operation))
                .filter_map(|operation| operation.returned);
            if let Some(first) = answers.min() {
                all.add(&hit.kind, first.saturating_sub(hit.at));
            }
        }
        all
    }

    pub fn add(&mut self, kind: &str, time: Duration) {
        self.0.entry(kind.to_owned()).or_default().push(time);
    }

    /// Reads what [`Failovers::lines`] has written, among other lines.
    pub fn read(&mut self, text: &str) {
        for line in text.lines() {
            let mut words = line.split(' ');
            if let (Some("failover"), Some(kind), Some(millis)) = (words.next(), words.next(), words.next())
                && let Ok(millis) = millis.parse()
            {
                self.add(kind, Duration::from_millis(millis));
            }
        }
    }

    /// A line for each: `failover crash-leader 640 ms`.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let each = |(kind, times): (&String, &Vec<Duration>)| {
            let line = |time: &Duration| format!("failover {kind} {} ms", time.as_millis());
            times.iter().map(line).collect::<Vec<_>>()
        };
        self.0.iter().flat_map(each)
    }
}

impl fmt::Display for Failovers {
    /// A line for each kind, with the median.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, times) in &self.0 {
            let (median, most) = median_and_most(times);
            writeln!(
                f,
                "{kind}, {} times: made good after {median:?} (median), {most:?} (most)",
                times.len()
            )?;
        }
        Ok(())
    }
}

/// Of times in any order; nothing of none.
pub fn median_and_most(times: &[Duration]) -> (Duration, Duration) {
    let mut times = times.to_vec();
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    (median, times.last().copied().unwrap_or_default())
}

/// Whether it is a put or a delete that was answered.
pub fn is_acknowledged_write(operation: &Operation) -> bool {
    match &operation.outcome {
        Outcome::Answered { answer, .. } => matches!(answer, Answer::Put(_) | Answer::Delete(_)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::Failovers;
    use std::time::Duration;

    #[test]
    fn what_worlds_say_is_read_back_and_summed_up() {
        let mut all = Failovers::default();
        all.read("fault x\nfailover crash-leader 640 ms\nfailover crash-leader 300 ms\n");
        all.read("failover restart-leader 9 ms\nKEPT seed 1");
        let lines: Vec<String> = all.lines().collect();
        assert_eq!(lines[2], "failover restart-leader 9 ms");
        assert_eq!(all.0["crash-leader"].len(), 2);
        assert!(all.to_string().contains("crash-leader, 2 times"), "{all}");
        assert_eq!(all.0["restart-leader"], [Duration::from_millis(9)]);
    }
}
