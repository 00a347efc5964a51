//! Exponential backoff with jitter from the seeded generator.

use crate::Random;
use std::time::Duration;

/// Delays that double from `initial` to `max`, each with up to 20 % of jitter.
#[derive(Debug, Clone)]
pub struct Backoff {
    initial: Duration,
    max: Duration,
    next: Duration,
    random: Random,
}

impl Backoff {
    pub fn new(initial: Duration, max: Duration, random: Random) -> Self {
        Self {
            initial,
            max,
            next: initial,
            random,
        }
    }

    /// The delay before the next attempt; later calls give longer ones.
    pub fn delay(&mut self) -> Duration {
        let delay = self.next;
        self.next = (delay * 2).min(self.max);
        self.random.jitter(delay, 0.2)
    }

    /// Back to the initial delay, after a success.
    pub fn reset(&mut self) {
        self.next = self.initial;
    }
}

#[cfg(test)]
mod tests {
    use super::Backoff;
    use crate::Random;
    use std::time::Duration;

    #[test]
    fn delays_double_up_to_the_maximum_and_start_again_after_a_reset() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(3), Random::seeded(1));
        let delays: Vec<Duration> = (0..4).map(|_| backoff.delay()).collect();
        for (delay, base) in delays.iter().zip([1, 2, 3, 3]) {
            let base = Duration::from_secs(base);
            assert!(
                *delay >= base && *delay <= base.mul_f64(1.2),
                "{delay:?} for {base:?}"
            );
        }
        backoff.reset();
        assert!(backoff.delay() < Duration::from_secs(2));
    }
}
