//! Hashing of passwords, away from the threads that serve.

use crate::status;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use kvstore_storage::SyncStyle;
use std::sync::Arc;
use support::Random;
use tokio::sync::Semaphore;
use tonic::Status;

/// etcd's, and what is taken instead of a cost that bcrypt doesn't know.
const DEFAULT_COST: u32 = 10;
/// bcrypt looks at no more than this.
const MAX_BYTES: usize = 72;

/// Makes and checks bcrypt hashes.
pub struct Passwords {
    cost: u32,
    random: Random,
    /// Whether a thread may be used; not in a simulation.
    threads: bool,
    /// As many at a time as there are processors: more would only slow each other down.
    turns: Arc<Semaphore>,
}

impl Passwords {
    pub fn new(cost: u32, random: Random, style: SyncStyle) -> Self {
        let cost = if (4..=31).contains(&cost) {
            cost
        } else {
            tracing::warn!(cost, default = DEFAULT_COST, "no cost of bcrypt's");
            DEFAULT_COST
        };
        let threads = style == SyncStyle::Thread;
        let turns = if threads {
            std::thread::available_parallelism().map_or(1, usize::from)
        } else {
            1
        };
        Self {
            cost,
            random,
            threads,
            turns: Arc::new(Semaphore::new(turns)),
        }
    }

    /// The hash of `password` in base64, as commands carry it.
    ///
    /// # Errors
    /// When the password is too long.
    pub async fn hash(&self, password: String) -> Result<String, Status> {
        if password.len() > MAX_BYTES {
            return Err(Status::unknown("bcrypt: password length exceeds 72 bytes"));
        }
        let mut salt = [0; 16];
        self.random.fill(&mut salt);
        let cost = self.cost;
        let hashed = self
            .run(move || bcrypt::hash_with_salt(password.as_bytes(), cost, salt))
            .await?
            .map_err(|error| Status::unknown(error.to_string()))?;
        Ok(STANDARD.encode(hashed.format_for_version(bcrypt::Version::TwoA)))
    }

    /// Whether `hash` is one of `password`.
    ///
    /// # Errors
    /// When the member stops.
    pub async fn verify(&self, password: String, hash: Bytes) -> Result<bool, Status> {
        let Ok(hash) = String::from_utf8(hash.to_vec()) else {
            return Ok(false);
        };
        // A user whose password was set to nothing has no hash: it never matches.
        self.run(move || bcrypt::verify(password.as_bytes(), &hash).unwrap_or(false))
            .await
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Status> {
        let turn = Arc::clone(&self.turns)
            .acquire_owned()
            .await
            .map_err(|_| status::stopped())?;
        if !self.threads {
            return Ok(work());
        }
        // The turn goes along: a client that leaves does not end the work.
        let work = move || {
            let _turn = turn;
            work()
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|_| status::stopped())
    }
}

#[cfg(test)]
mod tests {
    use super::Passwords;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use bytes::Bytes;
    use kvstore_storage::SyncStyle;
    use support::Random;

    #[tokio::test]
    async fn a_hash_matches_its_password_only() {
        let passwords = Passwords::new(4, Random::seeded(1), SyncStyle::Thread);
        let hashed = passwords.hash("secret".to_owned()).await.expect("hashes");
        let hash = Bytes::from(STANDARD.decode(hashed).expect("base64"));
        assert!(hash.starts_with(b"$2a$04$"));
        assert_eq!(
            passwords.verify("secret".to_owned(), hash.clone()).await.ok(),
            Some(true)
        );
        assert_eq!(
            passwords.verify("secreT".to_owned(), hash).await.ok(),
            Some(false)
        );
        assert_eq!(
            passwords.verify(String::new(), Bytes::new()).await.ok(),
            Some(false)
        );
        let long = passwords.hash("x".repeat(73)).await.expect_err("too long");
        assert_eq!(long.message(), "bcrypt: password length exceeds 72 bytes");
    }

    /// The hash is from the tests of `golang.org/x/crypto/bcrypt`, which etcd uses.
    #[tokio::test]
    async fn hashes_of_go_are_understood() {
        let passwords = Passwords::new(99, Random::seeded(1), SyncStyle::Thread);
        assert_eq!(passwords.cost, 10);
        let hash = Bytes::from_static(b"$2a$10$XajjQvNhvvRt5GSeFk1xFeyqRrsxkhBkUiQeg0dt.wU1qD4aFDcga");
        assert_eq!(
            passwords.verify("allmine".to_owned(), hash).await.ok(),
            Some(true)
        );
    }
}
