//! Seeded randomness, handed down from the process or the simulation.

use rand::{Rng as _, RngCore, SeedableRng};
use rand_chacha::ChaCha20Rng;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A shared ChaCha20 generator: cryptographically strong when seeded by the operating system, exactly
/// repeatable when seeded by a simulation.
#[derive(Clone)]
pub struct Random(Arc<Mutex<ChaCha20Rng>>);

impl Random {
    pub fn from_os() -> Self {
        Self(Arc::new(Mutex::new(ChaCha20Rng::from_os_rng())))
    }

    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(ChaCha20Rng::seed_from_u64(seed))))
    }

    /// An independent generator whose stream is decided by this one.
    pub fn fork(&self) -> Self {
        Self::seeded(self.u64())
    }

    pub fn u64(&self) -> u64 {
        self.with(RngCore::next_u64)
    }

    /// Uniform in `range` (end exclusive). An empty range gives its start.
    pub fn below(&self, range: Range<u64>) -> u64 {
        if range.is_empty() {
            return range.start;
        }
        self.with(|rng| rng.random_range(range))
    }

    /// `base` plus up to `fraction` of it.
    pub fn jitter(&self, base: Duration, fraction: f64) -> Duration {
        base + base.mul_f64(self.with(|rng| rng.random_range(0.0..1.0)) * fraction)
    }

    pub fn fill(&self, bytes: &mut [u8]) {
        self.with(|rng| rng.fill_bytes(bytes));
    }

    /// `length` characters drawn from `alphabet` (ASCII).
    pub fn characters(&self, alphabet: &[u8], length: usize) -> String {
        self.with(|rng| {
            (0..length)
                .map(|_| char::from(alphabet[rng.random_range(0..alphabet.len())]))
                .collect()
        })
    }

    /// A random (version 4) UUID in its usual text form.
    pub fn uuid(&self) -> String {
        let mut b = [0_u8; 16];
        self.fill(&mut b);
        b[6] = (b[6] & 0x0f) | 0x40;
        b[8] = (b[8] & 0x3f) | 0x80;
        let hex: String = b.iter().map(|byte| format!("{byte:02x}")).collect();
        format!(
            "{}-{}-{}-{}-{}",
            &hex[..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..]
        )
    }

    fn with<T>(&self, draw: impl FnOnce(&mut ChaCha20Rng) -> T) -> T {
        // A panic while drawing leaves a usable generator behind.
        draw(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl std::fmt::Debug for Random {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Random")
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn the_same_seed_gives_the_same_uuid() {
        assert_eq!(Random::seeded(7).uuid(), Random::seeded(7).uuid());
        assert_ne!(Random::seeded(7).uuid(), Random::seeded(8).uuid());
    }

    #[test]
    fn an_empty_range_gives_its_start() {
        assert_eq!(Random::seeded(1).below(3..3), 3);
    }
}
