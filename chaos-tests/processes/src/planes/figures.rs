//! How long nobody was answered and nobody acted, after each kind of fault.

use super::beats::{Asked, Beat};
use super::kubectl::Call;
use super::writers::Written;
use crate::faults::{Duty, Struck, well_stretches};
use chaos_store::median_and_most;
use chaos_tests::invariants::{Change, text};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What is measured after a fault that hit a machine while nothing else was wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Figure {
    /// The first write that was asked for after it is acknowledged.
    Write,
    /// Every writer has had such a write.
    AllWrite,
    /// A pod that was asked for after it is bound.
    Bound,
    /// A ReplicaSet that was asked for after it has its pod.
    Controlled,
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Write => "first write",
            Self::AllWrite => "every client writes",
            Self::Bound => "pods are bound",
            Self::Controlled => "controllers act",
        })
    }
}

/// A place is hit that has this duty, or none.
type Key = (String, &'static str, Figure);

/// All figures of a run.
#[derive(Debug, Default)]
pub struct Figures {
    times: BTreeMap<Key, Vec<Duration>>,
    pub acknowledged: usize,
    /// The longest time without an acknowledged write in which the control plane should have taken some, and when it
    /// began.
    pub longest_refusal: (Duration, Duration),
    pub kubectl: Vec<Call>,
    /// By what was wrong then, as far as anything was.
    kubectl_errors: BTreeMap<String, usize>,
}

/// Everything that the figures are made of.
pub struct Material<'a> {
    pub changes: &'a [Change],
    pub writes: &'a [Written],
    pub asked: &'a Asked,
    pub kubectl: &'a [Call],
    pub struck: &'a [Struck],
    /// Places of the store's members, and of the API servers.
    pub stores: &'a [usize],
    pub apis: &'a [usize],
    /// When faults began and ended.
    pub trouble: (Duration, Duration),
}

impl Figures {
    pub fn of(material: &Material<'_>) -> Self {
        let mut figures = Self {
            acknowledged: material.writes.len(),
            longest_refusal: longest_refusal(material),
            kubectl: material.kubectl.to_vec(),
            ..Self::default()
        };
        let (bound, made) = (bound_at(material.changes), made_at(material.changes));
        for fault in material.struck.iter().filter(|fault| fault.alone) {
            figures.time(fault, Figure::Write, first_write(material.writes, fault));
            figures.time(fault, Figure::AllWrite, all_write(material.writes, fault));
            figures.time(fault, Figure::Bound, done(&material.asked.pods, &bound, fault));
            figures.time(
                fault,
                Figure::Controlled,
                done(&material.asked.sets, &made, fault),
            );
        }
        for call in material.kubectl.iter().filter(|call| call.error.is_some()) {
            let overlaps = |fault: &&Struck| {
                fault.at <= call.returned && fault.until.is_none_or(|until| call.called <= until)
            };
            let kinds: Vec<String> = material
                .struck
                .iter()
                .filter(overlaps)
                .map(|fault| fault.kind.to_string())
                .collect();
            let during = if kinds.is_empty() {
                "nothing".to_owned()
            } else {
                kinds.join("+")
            };
            *figures.kubectl_errors.entry(during).or_default() += 1;
        }
        figures
    }

    fn time(&mut self, fault: &Struck, figure: Figure, at: Option<Duration>) {
        let Some(at) = at else { return };
        let whose = match figure {
            Figure::Write | Figure::AllWrite if fault.duties.contains(&Duty::LeadStore) => {
                "the store's leader"
            }
            Figure::Write | Figure::AllWrite => "another",
            Figure::Bound if fault.duties.contains(&Duty::Schedule) => "the scheduler",
            Figure::Controlled if fault.duties.contains(&Duty::Control) => "the controllers",
            Figure::Bound | Figure::Controlled => return,
        };
        let times = self
            .times
            .entry((fault.kind.to_string(), whose, figure))
            .or_default();
        times.push(at.saturating_sub(fault.at));
    }
}

fn first_write(writes: &[Written], fault: &Struck) -> Option<Duration> {
    let later = writes.iter().filter(|write| write.called >= fault.at);
    later.map(|write| write.returned).min()
}

fn all_write(writes: &[Written], fault: &Struck) -> Option<Duration> {
    let mut first: BTreeMap<usize, Duration> = BTreeMap::new();
    let writers: std::collections::BTreeSet<usize> = writes.iter().map(|write| write.writer).collect();
    for write in writes.iter().filter(|write| write.called >= fault.at) {
        let at = first.entry(write.writer).or_insert(write.returned);
        *at = (*at).min(write.returned);
    }
    (first.len() == writers.len())
        .then(|| first.into_values().max())
        .flatten()
}

fn done(asked: &[Beat], done: &BTreeMap<String, Duration>, fault: &Struck) -> Option<Duration> {
    let later = asked.iter().filter(|beat| beat.called >= fault.at);
    later.filter_map(|beat| done.get(&beat.name).copied()).min()
}

/// When each pod that is a beat was bound.
fn bound_at(changes: &[Change]) -> BTreeMap<String, Duration> {
    let mut bound = BTreeMap::new();
    for change in changes
        .iter()
        .filter(|change| change.is_of("/registry/pods/beats/"))
    {
        let Some(pod) = &change.after else { continue };
        if !text(pod, "/spec/nodeName").is_empty() {
            bound
                .entry(text(pod, "/metadata/name").to_owned())
                .or_insert(change.at);
        }
    }
    bound
}

/// When each ReplicaSet that is a beat got its pod.
fn made_at(changes: &[Change]) -> BTreeMap<String, Duration> {
    let mut made = BTreeMap::new();
    for change in changes
        .iter()
        .filter(|change| change.is_of("/registry/pods/beats/"))
    {
        let Some(pod) = &change.after else { continue };
        let set = text(pod, "/metadata/labels/set");
        if !set.is_empty() {
            made.entry(set.to_owned()).or_insert(change.at);
        }
    }
    made
}

/// While a majority of the store and an API server are well, writes are due.
fn longest_refusal(material: &Material<'_>) -> (Duration, Duration) {
    let (from, to) = material.trouble;
    let mut times: Vec<Duration> = material.writes.iter().map(|write| write.returned).collect();
    times.retain(|time| (from..=to).contains(time));
    times.extend([from, to]);
    times.sort_unstable();
    let well = |ails: &dyn Fn(usize) -> bool| {
        let stores = material.stores.iter().filter(|place| !ails(**place)).count();
        stores * 2 > material.stores.len() && material.apis.iter().any(|place| !ails(*place))
    };
    let gaps = times.windows(2);
    let stretches = gaps.flat_map(|pair| well_stretches(material.struck, (pair[0], pair[1]), &well));
    stretches
        .map(|(from, to)| (to.saturating_sub(from), from))
        .max()
        .unwrap_or_default()
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} writes acknowledged; refused by a plane that was well for {:.1?} at most (from {:.1?})",
            self.acknowledged, self.longest_refusal.0, self.longest_refusal.1
        )?;
        for ((kind, whose, figure), times) in &self.times {
            let (median, most) = median_and_most(times);
            writeln!(
                f,
                "{kind} of {whose}, {} times: {figure} after {:.2} s (median), {:.2} s (most)",
                times.len(),
                median.as_secs_f64(),
                most.as_secs_f64()
            )?;
        }
        let took: Vec<Duration> = self
            .kubectl
            .iter()
            .map(|call| call.returned.saturating_sub(call.called))
            .collect();
        if !took.is_empty() {
            let (median, most) = median_and_most(&took);
            writeln!(
                f,
                "kubectl, {} times: {:.2} s (median), {:.2} s (most), errors {}",
                took.len(),
                median.as_secs_f64(),
                most.as_secs_f64(),
                self.kubectl_errors.values().sum::<usize>()
            )?;
        }
        for (during, count) in &self.kubectl_errors {
            writeln!(f, "kubectl during {during}: {count} errors")?;
        }
        for call in self.kubectl.iter().filter(|call| call.error.is_some()) {
            let error = call.error.as_deref().unwrap_or_default().replace('\n', " / ");
            writeln!(
                f,
                "{:.3?} to {:.3?} kubectl {}: {error}",
                call.called, call.returned, call.words
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Figure, Figures, Struck, Written, all_write, first_write};
    use crate::faults::{Duty, Kind};
    use std::time::Duration;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn fault(duties: &[Duty]) -> Struck {
        Struck {
            at: at(10),
            until: Some(at(11)),
            kind: Kind::Kill,
            place: 0,
            name: "plane-1",
            duties: duties.to_vec(),
            alone: true,
        }
    }

    fn write(writer: usize, called: u64, returned: u64) -> Written {
        Written {
            writer,
            called: at(called),
            returned: at(returned),
            value: String::new(),
            version: 0,
        }
    }

    #[test]
    fn a_write_that_was_under_way_says_nothing_about_what_comes_after() {
        let writes = [
            write(0, 9, 11),
            write(0, 11, 14),
            write(1, 12, 13),
            write(1, 13, 14),
        ];
        assert_eq!(first_write(&writes, &fault(&[])), Some(at(13)));
        assert_eq!(all_write(&writes, &fault(&[])), Some(at(14)));
        assert_eq!(all_write(&writes[..2], &fault(&[])), Some(at(14)));
        assert_eq!(all_write(&[write(0, 9, 11), write(1, 12, 13)], &fault(&[])), None);
    }

    #[test]
    fn what_schedulers_take_counts_where_the_scheduler_was_hit() {
        let mut figures = Figures::default();
        figures.time(&fault(&[Duty::LeadStore]), Figure::Bound, Some(at(12)));
        assert!(figures.times.is_empty());
        figures.time(&fault(&[Duty::Schedule]), Figure::Bound, Some(at(12)));
        let times: Vec<_> = figures.times.into_values().collect();
        assert_eq!(times, [vec![at(2)]]);
    }
}
