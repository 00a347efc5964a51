//! Sets of keys as sorted intervals that neither overlap nor touch.

use crate::key_range::{End, KeyRange};
use bytes::{BufMut as _, Bytes, BytesMut};

/// Keys from `start` on, before `end`; without an end, all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Interval {
    start: Bytes,
    end: Option<Bytes>,
}

/// A union of key ranges.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Intervals(Vec<Interval>);

impl Intervals {
    pub fn new(ranges: impl IntoIterator<Item = KeyRange>) -> Self {
        let mut parts: Vec<Interval> = ranges
            .into_iter()
            .filter(|range| !range.is_empty())
            .map(|range| Interval {
                end: match range.end {
                    End::Single => Some(successor(&range.start)),
                    End::Before(end) => Some(end),
                    End::Open => None,
                },
                start: range.start,
            })
            .collect();
        parts.sort_by(|a, b| a.start.cmp(&b.start));
        let mut merged: Vec<Interval> = Vec::new();
        for part in parts {
            match merged.last_mut() {
                Some(last) if last.end.as_ref().is_none_or(|end| part.start <= *end) => {
                    last.end = match (last.end.take(), part.end) {
                        (Some(a), Some(b)) => Some(a.max(b)),
                        _ => None,
                    };
                }
                _ => merged.push(part),
            }
        }
        Self(merged)
    }

    /// Whether every key of `range` is in the set. A range that ends before it starts has none, but counts
    /// only where its start lies in the set.
    pub fn covers(&self, range: &KeyRange) -> bool {
        let after = self.0.partition_point(|interval| interval.start <= range.start);
        let Some(interval) = after.checked_sub(1).and_then(|at| self.0.get(at)) else {
            return false;
        };
        let Some(end) = &interval.end else {
            return true;
        };
        range.start < *end
            && match &range.end {
                End::Single => true,
                End::Before(wanted) => wanted <= end,
                End::Open => false,
            }
    }
}

/// The key right after `key`.
fn successor(key: &[u8]) -> Bytes {
    let mut next = BytesMut::with_capacity(key.len() + 1);
    next.put_slice(key);
    next.put_u8(0);
    next.freeze()
}

#[cfg(test)]
mod tests {
    use super::Intervals;
    use crate::key_range::KeyRange;
    use bytes::Bytes;
    use proptest::prelude::*;

    fn range(key: &str, end: &str) -> KeyRange {
        KeyRange::new(
            Bytes::copy_from_slice(key.as_bytes()),
            Bytes::copy_from_slice(end.as_bytes()),
        )
    }

    #[test]
    fn neighbours_join() {
        let set = Intervals::new([
            range("c", "e"),
            range("a", "c"),
            range("x", "\0"),
            range("y", "z"),
        ]);
        for (key, end) in [
            ("a", "e"),
            ("b", "d"),
            ("d", ""),
            ("x", "\0"),
            ("zz", "\0"),
            ("y", "z"),
        ] {
            assert!(set.covers(&range(key, end)), "{key} {end}");
        }
        for (key, end) in [("a", "f"), ("e", ""), ("d", "\0"), ("A", "b"), ("w", "\0")] {
            assert!(!set.covers(&range(key, end)), "{key} {end}");
        }
    }

    #[test]
    fn a_point_is_covered_up_to_its_successor() {
        let set = Intervals::new([range("a", "")]);
        assert!(set.covers(&range("a", "")) && set.covers(&range("a", "a\0")));
        assert!(!set.covers(&range("a", "a\0\0")) && !set.covers(&range("a", "b")));
        let joined = Intervals::new([range("a", ""), range("a\0", "b")]);
        assert!(joined.covers(&range("a", "b")));
    }

    #[test]
    fn the_whole_key_space_needs_an_open_end() {
        assert!(!Intervals::new([range("\0", "\u{ff}")]).covers(&range("\0", "\0")));
        assert!(Intervals::new([range("\0", "\0")]).covers(&range("\0", "\0")));
        assert!(!Intervals::default().covers(&range("a", "")));
    }

    /// All keys of up to three letters of a small alphabet: ends fall on them, so they tell sets apart.
    fn universe() -> Vec<String> {
        let letters = ["\0", "a", "b", "c"];
        let mut all = vec![String::new()];
        let mut longest = all.clone();
        for _ in 0..3 {
            longest = longest
                .iter()
                .flat_map(|word| letters.iter().map(move |letter| format!("{word}{letter}")))
                .collect();
            all.extend(longest.clone());
        }
        all.retain(|word| !word.is_empty());
        all
    }

    fn word() -> impl Strategy<Value = String> {
        "[abc][\\x00abc]?"
    }

    fn any_range() -> impl Strategy<Value = KeyRange> {
        prop_oneof![
            word().prop_map(|key| range(&key, "")),
            word().prop_map(|key| range(&key, "\0")),
            (word(), word()).prop_map(|(key, end)| range(&key, &end)),
        ]
    }

    proptest! {
        /// The naive twin: every key of the range lies in some grant. Ends have at most two letters and keys
        /// up to three, so between two ends there is always a key that tells.
        #[test]
        fn a_union_covers_what_its_parts_do(
            grants in prop::collection::vec(any_range(), 0..6),
            wanted in any_range(),
        ) {
            prop_assume!(!wanted.is_empty());
            let set = Intervals::new(grants.clone());
            let keys = universe();
            let mut inside = keys.iter().filter(|key| wanted.contains(key.as_bytes()));
            let mut naive = inside.all(|key| grants.iter().any(|grant| grant.contains(key.as_bytes())));
            if wanted == range(std::str::from_utf8(&wanted.start).unwrap_or_default(), "\0") {
                // No finite set of keys shows that nothing is missing at the open end.
                naive &= grants.iter().any(|grant| grant.contains(b"zzz"));
            }
            prop_assert_eq!(set.covers(&wanted), naive);
        }
    }
}
