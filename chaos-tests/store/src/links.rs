//! The links between hosts, as the faults that are on want them.
//!
//! Faults overlap: two may cut the same link, and it is whole again only when both are over. So each link's
//! state is worked out anew from all faults whenever one begins or ends.

use std::collections::BTreeMap;
use turmoil::Sim;

/// What a fault does to links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Break {
    /// Nothing passes between the two groups.
    Cut(Vec<&'static str>, Vec<&'static str>),
    /// Nothing passes from the first group to the second.
    OneWay(Vec<&'static str>, Vec<&'static str>),
    /// What is sent between the two groups waits until the end of the fault.
    Hold(Vec<&'static str>, Vec<&'static str>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Link {
    #[default]
    Whole,
    Held,
    Cut,
    /// From the host of the smaller name to the other.
    CutForward,
    CutBackward,
}

/// All links of a world.
#[derive(Debug, Default)]
pub struct Links {
    hosts: Vec<&'static str>,
    breaks: BTreeMap<u64, Break>,
    links: BTreeMap<(&'static str, &'static str), Link>,
}

impl Links {
    pub fn new(hosts: &[&'static str]) -> Self {
        Self {
            hosts: hosts.to_vec(),
            ..Self::default()
        }
    }

    /// Begins the fault of this number.
    pub fn begin(&mut self, sim: &Sim<'_>, fault: u64, broken: Break) {
        self.breaks.insert(fault, broken);
        self.apply(sim);
    }

    /// Ends it.
    pub fn end(&mut self, sim: &Sim<'_>, fault: u64) {
        if self.breaks.remove(&fault).is_some() {
            self.apply(sim);
        }
    }

    fn apply(&mut self, sim: &Sim<'_>) {
        for (index, a) in self.hosts.iter().enumerate() {
            for b in &self.hosts[index + 1..] {
                let (a, b) = if a < b { (*a, *b) } else { (*b, *a) };
                let wanted = wanted(&self.breaks, a, b);
                let link = self.links.entry((a, b)).or_default();
                if *link != wanted {
                    change(sim, (a, b), *link, wanted);
                    *link = wanted;
                }
            }
        }
    }
}

fn wanted(breaks: &BTreeMap<u64, Break>, a: &'static str, b: &'static str) -> Link {
    let (mut forward, mut backward, mut held) = (false, false, false);
    for broken in breaks.values() {
        let between =
            |x: &[&str], y: &[&str]| (x.contains(&a) && y.contains(&b), x.contains(&b) && y.contains(&a));
        match broken {
            Break::Cut(x, y) => {
                let (one, other) = between(x, y);
                forward |= one || other;
                backward |= one || other;
            }
            Break::OneWay(x, y) => {
                let (one, other) = between(x, y);
                forward |= one;
                backward |= other;
            }
            Break::Hold(x, y) => {
                let (one, other) = between(x, y);
                held |= one || other;
            }
        }
    }
    match (forward, backward) {
        (true, true) => Link::Cut,
        (true, false) => Link::CutForward,
        (false, true) => Link::CutBackward,
        (false, false) if held => Link::Held,
        (false, false) => Link::Whole,
    }
}

/// The simulator's states don't combine, so every change goes over a whole link.
fn change(sim: &Sim<'_>, (a, b): (&'static str, &'static str), from: Link, to: Link) {
    match from {
        Link::Whole => {}
        Link::Held => sim.release(a, b),
        Link::Cut | Link::CutForward | Link::CutBackward => sim.repair(a, b),
    }
    match to {
        Link::Whole => {}
        Link::Held => sim.hold(a, b),
        Link::Cut => sim.partition(a, b),
        Link::CutForward => sim.partition_oneway(a, b),
        Link::CutBackward => sim.partition_oneway(b, a),
    }
}

#[cfg(test)]
mod tests {
    use super::{Break, Link, wanted};
    use std::collections::BTreeMap;

    #[test]
    fn a_link_is_whole_only_when_every_fault_on_it_is_over() {
        let mut breaks = BTreeMap::from([
            (1, Break::Hold(vec!["a"], vec!["b", "c"])),
            (2, Break::OneWay(vec!["b"], vec!["a"])),
        ]);
        assert_eq!(wanted(&breaks, "a", "b"), Link::CutBackward);
        assert_eq!(wanted(&breaks, "a", "c"), Link::Held);
        assert_eq!(wanted(&breaks, "b", "c"), Link::Whole);
        breaks.remove(&2);
        assert_eq!(wanted(&breaks, "a", "b"), Link::Held);
        breaks.remove(&1);
        assert_eq!(wanted(&breaks, "a", "b"), Link::Whole);
    }
}
