//! Simple tokens: random words that every member of the cluster has been told of through the log (etcd
//! `server/auth/simple_token.go`). In memory only; a restarted member has forgotten them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use support::Random;
use tokio::time::Instant;

const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
const LENGTH: usize = 16;
/// How often, at most, expired tokens are looked for. Their number is bounded by the time that passwords
/// take to check.
const SWEEP: Duration = Duration::from_secs(1);

struct Token {
    user: String,
    deadline: Instant,
}

#[derive(Default)]
struct Tokens {
    by_text: BTreeMap<String, Token>,
    swept: Option<Instant>,
}

/// The tokens that are good, each until it has not been used for a while.
pub struct SimpleTokens {
    ttl: Duration,
    tokens: Mutex<Tokens>,
}

/// The first half of a new token; the index of the entry that makes it known is the second.
pub fn new_prefix(random: &Random) -> String {
    random.characters(LETTERS, LENGTH)
}

/// The index of the entry that made `token` known, if it is one of ours by its looks.
pub fn index_of(token: &str) -> Option<u64> {
    let (_, index) = token.split_once('.')?;
    index.parse().ok()
}

impl SimpleTokens {
    pub fn new(ttl: Duration) -> Self {
        Self {
            ttl,
            tokens: Mutex::default(),
        }
    }

    /// Makes `token` good for `user`.
    pub fn assign(&self, token: &str, user: &str) {
        let now = Instant::now();
        let mut tokens = self.lock();
        if tokens.swept.is_none_or(|swept| now >= swept + SWEEP) {
            tokens.by_text.retain(|_, token| token.deadline > now);
            tokens.swept = Some(now);
        }
        tokens.by_text.insert(
            token.to_owned(),
            Token {
                user: user.to_owned(),
                deadline: now + self.ttl,
            },
        );
    }

    /// Whose token it is; its life begins anew.
    pub fn user(&self, token: &str) -> Option<String> {
        let now = Instant::now();
        let mut tokens = self.lock();
        let found = tokens.by_text.get_mut(token)?;
        if found.deadline <= now {
            tokens.by_text.remove(token);
            return None;
        }
        found.deadline = now + self.ttl;
        Some(found.user.clone())
    }

    /// Forgets the tokens of one user.
    pub fn drop_user(&self, user: &str) {
        self.lock().by_text.retain(|_, token| token.user != user);
    }

    pub fn clear(&self) {
        self.lock().by_text.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Tokens> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{SimpleTokens, index_of, new_prefix};
    use std::time::Duration;
    use support::Random;

    #[tokio::test(start_paused = true)]
    async fn a_token_lives_while_it_is_used() {
        let tokens = SimpleTokens::new(Duration::from_secs(300));
        tokens.assign("a.1", "alice");
        tokens.assign("b.2", "bob");
        for _ in 0..3 {
            tokio::time::advance(Duration::from_secs(200)).await;
            assert_eq!(tokens.user("a.1").as_deref(), Some("alice"));
        }
        assert_eq!(tokens.user("b.2"), None);
        tokens.assign("c.3", "bob");
        tokens.drop_user("alice");
        assert_eq!(tokens.user("a.1"), None);
        assert_eq!(tokens.user("c.3").as_deref(), Some("bob"));
        tokens.clear();
        assert_eq!(tokens.user("c.3"), None);
    }

    #[test]
    fn a_token_is_sixteen_letters_and_an_index() {
        let prefix = new_prefix(&Random::seeded(1));
        assert!(prefix.len() == 16 && prefix.chars().all(|letter| letter.is_ascii_alphabetic()));
        assert_eq!(index_of(&format!("{prefix}.17")), Some(17));
        for other in ["", "a", "a.", "a.b", "a.1.2", "eyJ.eyJ.sig"] {
            assert_eq!(index_of(other), None, "{other}");
        }
    }
}
