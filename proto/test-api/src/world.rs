//! The time and chance of one seed.

use crate::{Api, Kind};
use jiff::Timestamp;
use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use support::{Env, Random, Sabotage, WallClock};
use tokio::runtime::{Builder, RngSeed};
use tokio::time::Instant;

/// 2026-01-01 00:00 UTC.
const EPOCH_SECONDS: i64 = 1_767_225_600;

/// What a test needs of a seed. Cheap to clone.
#[derive(Clone)]
pub struct World {
    pub seed: u64,
    pub api: Api,
    pub random: Random,
    clock: Arc<Clock>,
    sabotage: Sabotage,
}

impl World {
    /// Runs `story` on paused time, in a runtime whose every choice the seed decides. Discovery shows the resources named
    /// `discovered`; `bug` is put into every component, if there is one.
    ///
    /// # Panics
    /// When the story panics, or a judge found that a promise was broken.
    pub fn run<F: Future>(
        seed: u64,
        discovered: &'static [&'static str],
        bug: Option<&'static str>,
        story: impl FnOnce(Self) -> F,
    ) -> F::Output {
        debug_assert!(discovered.iter().all(|plural| Kind::named(plural).is_some()));
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .rng_seed(RngSeed::from_bytes(&seed.to_le_bytes()))
            .build()
            .expect("a runtime without IO needs nothing of the system");
        runtime.block_on(async {
            let clock = Arc::new(Clock(Instant::now()));
            let api = Api::new(Arc::clone(&clock) as Arc<dyn WallClock>, discovered);
            let world = Self {
                seed,
                api: api.clone(),
                random: Random::seeded(seed),
                clock,
                sabotage: bug.map_or(Sabotage::NONE, Sabotage::with),
            };
            let _told = Told(world.clone());
            let end = story(world).await;
            if let Some(broken) = api.broken() {
                panic!("seed {seed}: {broken}");
            }
            end
        })
    }

    /// The outside world of one life of a process.
    pub fn env(&self) -> Env {
        Env {
            random: self.random.fork(),
            clock: Arc::clone(&self.clock) as Arc<dyn WallClock>,
            sabotage: self.sabotage,
            ..Env::production()
        }
    }

    pub fn chance(&self, one_in: u64) -> bool {
        chance(&self.random, one_in)
    }

    /// Waits until `done` says nothing more, and a while longer: it must stay so.
    ///
    /// # Panics
    /// When that takes longer than five simulated minutes, or a judge found that a promise was broken.
    pub async fn settles(&self, mut done: impl FnMut(&Api) -> Result<(), String>) {
        const QUIET: Duration = Duration::from_millis(1500);
        let (started, mut since) = (Instant::now(), None);
        loop {
            if let Some(broken) = self.api.broken() {
                panic!("seed {}: {broken}", self.seed);
            }
            match done(&self.api) {
                Ok(()) => {
                    let since = *since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= QUIET {
                        return;
                    }
                }
                Err(missing) => {
                    since = None;
                    let waited = started.elapsed();
                    let seed = self.seed;
                    assert!(
                        waited < Duration::from_secs(300),
                        "seed {seed}: never so: {missing}"
                    );
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

pub(crate) fn chance(random: &Random, one_in: u64) -> bool {
    one_in > 0 && random.below(0..one_in) == 0
}

/// The seeds to run: 60, or `TRIREME_SEEDS=FROM..TO`.
///
/// # Panics
/// When the variable can't be read as a range.
pub fn seeds() -> Range<u64> {
    let Ok(text) = std::env::var("TRIREME_SEEDS") else {
        return 0..60;
    };
    let (from, to) = text.split_once("..").expect("TRIREME_SEEDS=FROM..TO");
    from.parse().expect("a number")..to.parse().expect("a number")
}

/// Tells the whole history at the end, however that comes, if `TRIREME_TRACE` is set.
struct Told(World);

impl Drop for Told {
    fn drop(&mut self) {
        if std::env::var_os("TRIREME_TRACE").is_some() {
            println!("seed {}\n{}", self.0.seed, self.0.api.history());
        }
    }
}

/// Wall time that goes with tokio's.
struct Clock(Instant);

impl WallClock for Clock {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(EPOCH_SECONDS).expect("a constant within range") + self.0.elapsed()
    }
}
