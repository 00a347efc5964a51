//! Which members are wrong, judged by what they hold at one place in the log
//! (etcd `server/etcdserver/corrupt.go`, `checkPeerHashes`).

use std::collections::BTreeMap;

/// What a comparison came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// All that answered hold the same.
    Equal,
    /// A majority of all members holds the same, these don't.
    Corrupt(Vec<u64>),
    /// There is no majority: any of these may be wrong.
    Suspects(Vec<u64>),
}

/// Judges the hashes of the members that answered; `members` is how many there are in all.
pub fn judge(hashes: &BTreeMap<u64, u32>, members: usize) -> Verdict {
    let mut groups: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    for (id, hash) in hashes {
        groups.entry(*hash).or_default().push(*id);
    }
    if groups.len() <= 1 {
        return Verdict::Equal;
    }
    let majority = members / 2 + 1;
    let right = groups
        .iter()
        .find(|(_, ids)| ids.len() >= majority)
        .map(|(hash, _)| *hash);
    match right {
        Some(right) => {
            groups.remove(&right);
            Verdict::Corrupt(groups.into_values().flatten().collect())
        }
        None => Verdict::Suspects(hashes.keys().copied().collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Verdict, judge};

    fn verdict(hashes: &[(u64, u32)], members: usize) -> Verdict {
        judge(&hashes.iter().copied().collect(), members)
    }

    #[test]
    fn the_majority_of_all_members_is_right() {
        assert_eq!(verdict(&[(1, 7), (2, 7), (3, 7)], 3), Verdict::Equal);
        assert_eq!(verdict(&[(1, 7), (2, 8), (3, 7)], 3), Verdict::Corrupt(vec![2]));
        assert_eq!(
            verdict(&[(1, 7), (2, 8), (3, 7), (4, 7), (5, 9)], 5),
            Verdict::Corrupt(vec![2, 5])
        );
    }

    #[test]
    fn without_a_majority_all_are_suspects() {
        assert_eq!(verdict(&[(1, 7), (2, 8)], 2), Verdict::Suspects(vec![1, 2]));
        assert_eq!(
            verdict(&[(1, 7), (2, 8), (3, 9)], 3),
            Verdict::Suspects(vec![1, 2, 3])
        );
        // Two of three differ and the third is silent: it could have told.
        assert_eq!(verdict(&[(1, 7), (3, 8)], 3), Verdict::Suspects(vec![1, 3]));
    }

    #[test]
    fn who_did_not_answer_is_not_judged() {
        assert_eq!(verdict(&[(1, 7), (2, 7)], 3), Verdict::Equal);
        assert_eq!(verdict(&[], 3), Verdict::Equal);
    }
}
