//! The order of version names: `v10`, `v2`, `v1`, `v2beta1`, `v1beta2`, `v1alpha1`, then everything else by name.
//!
//! Follows `apimachinery/pkg/version/helpers.go` (1.36).

use std::cmp::{Ordering, Reverse};

/// The most preferred first.
pub fn compare_versions(a: &str, b: &str) -> Ordering {
    match (rank(a), rank(b)) {
        (Some(x), Some(y)) => x.cmp(&y),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.cmp(b),
    }
}

type Rank = (u8, Reverse<u64>, Reverse<u64>);

fn rank(version: &str) -> Option<Rank> {
    let rest = version.strip_prefix('v')?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let major = rest[..digits].parse().ok()?;
    let suffix = &rest[digits..];
    let (stability, minor) = if suffix.is_empty() {
        (0, 0)
    } else if let Some(n) = suffix.strip_prefix("beta") {
        (1, n.parse().ok()?)
    } else {
        (2, suffix.strip_prefix("alpha")?.parse().ok()?)
    };
    Some((stability, Reverse(major), Reverse(minor)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stable_versions_come_before_newer_unstable_ones() {
        let mut versions = [
            "foo1", "v1alpha1", "v1", "v11beta2", "v2", "v10", "v3beta1", "bar",
        ];
        versions.sort_by(|a, b| compare_versions(a, b));
        assert_eq!(
            versions,
            [
                "v10", "v2", "v1", "v11beta2", "v3beta1", "v1alpha1", "bar", "foo1"
            ]
        );
    }
}
