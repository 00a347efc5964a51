//! Metrics by a label that a client or a peer decides: few values, found without a lock.

use std::borrow::Borrow;
use std::sync::OnceLock;

/// As many values as `N`, in the order in which they came. Later values share one of their own, so that
/// nobody can make a member keep ever more.
pub struct Slots<K, V, const N: usize> {
    slots: [OnceLock<(K, V)>; N],
    rest: OnceLock<V>,
}

impl<K, V, const N: usize> Default for Slots<K, V, N> {
    fn default() -> Self {
        Self {
            slots: [const { OnceLock::new() }; N],
            rest: OnceLock::new(),
        }
    }
}

impl<K, V, const N: usize> Slots<K, V, N> {
    /// The value of `key`, made by `make` when it is first asked for; `make(None)` is for all that found
    /// no place.
    pub fn get<Q>(&self, key: &Q, make: impl Fn(Option<&Q>) -> V) -> &V
    where
        K: Borrow<Q>,
        Q: Eq + ToOwned<Owned = K> + ?Sized,
    {
        for slot in &self.slots {
            // Whoever loses the race for a free slot finds the winner's key in it, and looks on.
            let (found, value) = slot.get_or_init(|| (key.to_owned(), make(Some(key))));
            if <K as Borrow<Q>>::borrow(found) == key {
                return value;
            }
        }
        self.rest.get_or_init(|| make(None))
    }
}

#[cfg(test)]
mod tests {
    use super::Slots;

    #[test]
    fn values_beyond_the_last_slot_share_one() {
        let slots: Slots<String, String, 2> = Slots::default();
        let make = |key: Option<&str>| key.unwrap_or("rest").to_owned();
        for (key, expected) in [("a", "a"), ("b", "b"), ("a", "a"), ("c", "rest"), ("d", "rest")] {
            assert_eq!(slots.get(key, make), expected);
        }
    }
}
