//! What goes wrong in a world, and for how long; and how that is told as arguments.

use crate::fault_kind::FaultKind;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;
use support::Random;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Faults happen for so long, once the world is up.
    pub lasts: Duration,
    /// The mean time from one fault to the next.
    pub pace: Duration,
    /// How much each kind of fault weighs; those left out don't happen.
    pub faults: BTreeMap<FaultKind, u64>,
    /// A bug put back in, by name, to see whether it is found.
    pub sabotage: Option<&'static str>,
}

impl Trouble {
    /// The arguments that make this of `usual`, each after a space.
    pub fn arguments_beside(&self, usual: &Self) -> String {
        let mut text = String::new();
        if self.faults != usual.faults {
            text += &format!(" --faults {}", self.list(","));
        }
        if self.lasts != usual.lasts {
            text += &format!(" --trouble-ms {}", self.lasts.as_millis());
        }
        if self.pace != usual.pace {
            text += &format!(" --fault-pace-ms {}", self.pace.as_millis());
        }
        if let Some(sabotage) = self.sabotage {
            text += &format!(" --sabotage {sabotage}");
        }
        text
    }

    fn list(&self, between: &str) -> String {
        let list: Vec<String> = self
            .faults
            .iter()
            .map(|(kind, weight)| format!("{kind}={weight}"))
            .collect();
        if list.is_empty() {
            "none".to_owned()
        } else {
            list.join(between)
        }
    }
}

impl fmt::Display for Trouble {
    /// For people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} of trouble, a fault every {:?} of [{}], sabotage {}",
            self.lasts,
            self.pace,
            self.list(" "),
            self.sabotage.unwrap_or("none")
        )
    }
}

/// Any of `choices`.
pub fn one_of(random: &Random, choices: &[u64]) -> u64 {
    choices[usize::try_from(random.below(0..choices.len() as u64)).unwrap_or(0)]
}

/// Draws one of `weights` for each of `kinds`, and gives those that weigh anything.
pub fn draw(
    random: &Random,
    kinds: impl IntoIterator<Item = FaultKind>,
    weights: &[u64],
) -> impl Iterator<Item = (FaultKind, u64)> {
    let drawn = kinds.into_iter().map(|kind| (kind, one_of(random, weights)));
    drawn.filter(|(_, weight)| *weight > 0)
}

/// Reads `crash=2,pause=1`, or `none`.
///
/// # Errors
/// When a kind or a weight is none.
pub fn parse_faults(text: &str) -> Result<BTreeMap<FaultKind, u64>, String> {
    let mut faults = BTreeMap::new();
    for part in text.split(',').filter(|part| !part.is_empty() && *part != "none") {
        let (name, weight) = part.split_once('=').unwrap_or((part, "1"));
        let kind = FaultKind::of_name(name).ok_or_else(|| format!("`{name}` is no kind of fault"))?;
        let weight = weight.parse().map_err(|_| format!("`{weight}` is no weight"))?;
        faults.insert(kind, weight);
    }
    Ok(faults)
}

/// Reads the numbers of a workload: `deployments=2,counters=0`.
///
/// # Errors
/// When a part has no number.
pub fn parse_numbers(text: &str) -> Result<Vec<(&str, usize)>, String> {
    text.split(',')
        .filter(|part| !part.is_empty())
        .map(|part| {
            let (name, value) = part
                .split_once('=')
                .ok_or_else(|| format!("`{part}` has no value"))?;
            let number = value.parse().map_err(|_| format!("`{value}` is no number"))?;
            Ok((name, number))
        })
        .collect()
}
