//! One life of a component: its connection to the server, until it crashes.

use crate::Api;
use crate::faults::Faults;
use crate::request::{self, Answer, Call};
use crate::watching;
use crate::world::{World, chance};
use futures::future::pending;
use http::Request;
use kube::client::Body;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use support::{Env, Random};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tower::BoxError;

/// Cheap to clone.
#[derive(Clone)]
pub struct Process(Arc<Inner>);

struct Inner {
    api: Api,
    name: String,
    random: Random,
    state: Mutex<State>,
    dead: CancellationToken,
    /// There are no more faults: whatever waits because of one goes on.
    healed: CancellationToken,
}

struct State {
    faults: Faults,
    /// Until when nothing gets through.
    cut_until: Instant,
}

impl Process {
    pub fn new(world: &World, name: &str, faults: Faults) -> Self {
        Self::of(world.api.clone(), world.random.fork(), name, faults)
    }

    pub(crate) fn of(api: Api, random: Random, name: &str, faults: Faults) -> Self {
        Self(Arc::new(Inner {
            api,
            name: name.to_owned(),
            random,
            state: Mutex::new(State {
                faults,
                cut_until: Instant::now(),
            }),
            dead: CancellationToken::new(),
            healed: CancellationToken::new(),
        }))
    }

    /// A client of this process.
    pub fn client(&self) -> kube::Client {
        let process = self.clone();
        let service = tower::service_fn(move |request| {
            let process = process.clone();
            async move { process.send(request).await }
        });
        kube::Client::new(service, "default")
    }

    /// Waits until the process has crashed: nothing of it reaches the server any more.
    pub async fn crashed(&self) {
        self.0.dead.cancelled().await;
    }

    /// No more faults from now on.
    pub fn heal(&self) {
        self.state(|state| {
            state.faults = Faults::NONE;
            state.cut_until = Instant::now();
        });
        self.0.healed.cancel();
    }

    /// A wait of a random length, at most until the faults end.
    pub(crate) async fn wait(&self, longest: Duration) {
        let longest = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
        let length = Duration::from_millis(self.0.random.below(0..longest + 1));
        tokio::select! {
            biased;
            () = self.0.healed.cancelled(), if length > Faults::NONE.latency => {}
            () = sleep(length) => {}
        }
    }

    pub(crate) fn faults(&self) -> Faults {
        self.state(|state| state.faults)
    }

    pub(crate) fn random(&self) -> &Random {
        &self.0.random
    }

    pub(crate) fn chance(&self, one_in: u64) -> bool {
        chance(&self.0.random, one_in)
    }

    /// Waits while the process is cut off.
    pub(crate) async fn reach(&self) -> bool {
        let until = self.state(|state| state.cut_until);
        let cut = until > Instant::now();
        sleep_until(until).await;
        cut
    }

    fn state<T>(&self, with: impl FnOnce(&mut State) -> T) -> T {
        with(&mut self.0.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) async fn send(self, request: Request<Body>) -> Result<Answer, BoxError> {
        if self.0.dead.is_cancelled() {
            return pending().await;
        }
        let call = request::read(request).await?;
        if call.watch {
            self.reach().await;
            return Ok(watching::watch(&self.0.api, &self, &call));
        }
        let counts = call.writes();
        let faults = self.faults();
        if counts && self.chance(faults.cuts) {
            let longest = u64::try_from(Faults::CUT.as_millis()).unwrap_or(u64::MAX);
            let cut = Duration::from_millis(self.0.random.below(0..longest));
            self.state(|state| state.cut_until = Instant::now() + cut);
        }
        let crashes = counts && self.chance(faults.crashes);
        if crashes && self.chance(2) {
            return self.die().await;
        }
        // What is under way arrives, even if its sender doesn't wait for it any more.
        let carrier = self.clone();
        let carried = tokio::spawn(async move { carrier.carry(&call).await });
        let answer = carried.await??;
        if crashes {
            return self.die().await;
        }
        self.wait(self.faults().latency).await;
        if self.chance(faults.lost_answers) {
            return Err("the answer was lost".into());
        }
        Ok(answer)
    }

    async fn carry(&self, call: &Call) -> Result<Answer, BoxError> {
        if self.reach().await {
            return Err("cut off".into());
        }
        self.wait(self.faults().latency).await;
        if self.chance(self.faults().lost_requests) {
            return Err("the request was lost".into());
        }
        Ok(request::answer(&self.0.api, &self.0.name, call))
    }

    async fn die<T>(&self) -> T {
        self.0.dead.cancel();
        pending().await
    }
}

/// Runs a component as a process that is started again whenever it crashed, each time with the faults that `draw` gives,
/// until `healed`; then without any. `start` runs one life. Never ends.
pub async fn keep_alive<F>(
    world: World,
    name: &'static str,
    draw: fn(&Random) -> Faults,
    healed: CancellationToken,
    start: impl Fn(kube::Client, Env) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        let faults = match healed.is_cancelled() {
            true => Faults::NONE,
            false => draw(&world.random),
        };
        let process = Process::new(&world, name, faults);
        let life = tokio::spawn(start(process.client(), world.env()));
        tokio::select! {
            biased;
            () = process.crashed() => {}
            () = healed.cancelled(), if !healed.is_cancelled() => {
                process.heal();
                process.crashed().await;
            }
        }
        life.abort();
        let _ = life.await;
        sleep(Duration::from_millis(world.random.below(0..3000))).await;
    }
}
