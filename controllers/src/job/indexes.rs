//! Sets of completion indexes in their text form, such as `0,2-4`.
//! Source: `pkg/controller/job/indexed_job_utils.go` (1.36).

use crate::object::MetaView;
use k8s_openapi::api::core::v1::Pod;
use std::collections::BTreeSet;

pub const INDEX: &str = "batch.kubernetes.io/job-completion-index";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Indexes(BTreeSet<i32>);

impl Indexes {
    /// Indexes below `limit`; parts that can't be read are left out.
    pub fn parse(text: &str, limit: i32) -> Self {
        let mut all = BTreeSet::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            if let (Ok(first), Ok(last)) = (first.parse::<i32>(), last.parse::<i32>()) {
                all.extend(first.max(0)..=last.min(limit - 1));
            }
        }
        Self(all)
    }

    pub fn insert(&mut self, index: i32) {
        self.0.insert(index);
    }

    pub fn contains(&self, index: i32) -> bool {
        self.0.contains(&index)
    }

    pub fn len(&self) -> i32 {
        i32::try_from(self.0.len()).unwrap_or(i32::MAX)
    }

    pub fn common_with(&self, other: &Self) -> i32 {
        i32::try_from(self.0.intersection(&other.0).count()).unwrap_or(i32::MAX)
    }
}

impl std::fmt::Display for Indexes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut ranges: Vec<(i32, i32)> = Vec::new();
        for &index in &self.0 {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == index => *last = index,
                _ => ranges.push((index, index)),
            }
        }
        let text = |(first, last): (i32, i32)| match last - first {
            0 => first.to_string(),
            // Two neighbours are written as a list.
            1 => format!("{first},{last}"),
            _ => format!("{first}-{last}"),
        };
        f.write_str(&ranges.into_iter().map(text).collect::<Vec<_>>().join(","))
    }
}

/// The index a pod works on.
pub fn index_of(pod: &Pod) -> Option<i32> {
    pod.metadata
        .annotation(INDEX)?
        .parse()
        .ok()
        .filter(|&index| index >= 0)
}

#[cfg(test)]
mod tests {
    use super::Indexes;

    #[test]
    fn indexes_are_read_and_written_as_ranges() {
        for text in ["", "0", "0,1", "0,2-4,7", "1-9"] {
            assert_eq!(Indexes::parse(text, 100).to_string(), text);
        }
        assert_eq!(Indexes::parse("0-9", 5).to_string(), "0-4");
    }
}
