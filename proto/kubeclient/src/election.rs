//! Leadership by a Lease object: one of several candidates acts, the others stand by.
//!
//! Invariants:
//! - A leader counts its time from before it sent the last successful renewal and stops `renew_deadline`
//!   later; a candidate counts from when it saw that renewal and takes over `lease_duration` later. The deadline
//!   is the shorter of the two, so they never act at once, whatever their wall clocks say.
//! - A lease is taken over only from the exact version that was watched for that long (`resourceVersion`).
//! - A paused leader that wakes up finds its deadline passed before it can write: see [`Leadership::fenced`].
//!
//! Follows client-go's `tools/leaderelection` in names and fields, with shorter times.

mod lease;

use crate::informer::Informer;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::PostParams;
use kube::runtime::watcher;
use lease::LeaseRecord;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use support::Env;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// Names and times of an election.
#[derive(Debug, Clone)]
pub struct LeaderElectionConfig {
    pub namespace: String,
    /// Upstream's name of the lease, such as `kube-scheduler`.
    pub name: String,
    /// Who the candidate is, for people; a random suffix makes it unique to the process.
    pub identity: String,
    /// How long candidates watch a silent leader before they take over. The Lease says it in whole seconds, rounded
    /// up, for clients of other kinds, and exactly in an annotation for our own.
    pub lease_duration: Duration,
    /// How long a leader acts after its last successful renewal. Less than `lease_duration`.
    pub renew_deadline: Duration,
    pub renew_interval: Duration,
}

impl LeaderElectionConfig {
    /// A lease of 1.7 s in `kube-system`, renewed every 0.5 s: a standby acts 1.2 to 1.7 s after the leader's death, and
    /// one renewal may fail. Upstream: 15 s, 10 s and 2 s.
    pub fn new(name: &str, identity: &str) -> Self {
        Self {
            namespace: "kube-system".to_owned(),
            name: name.to_owned(),
            identity: identity.to_owned(),
            lease_duration: Duration::from_millis(1700),
            renew_deadline: Duration::from_millis(1500),
            renew_interval: Duration::from_millis(500),
        }
    }
}

/// The lease was lost, or may be by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("leadership lost")]
pub struct LeadershipLost;

/// One candidate. Its copy of the lease is warm from the start.
pub struct LeaderElection {
    api: Api<Lease>,
    config: LeaderElectionConfig,
    identity: String,
    env: Env,
    lease: Informer<Lease>,
}

impl LeaderElection {
    /// Starts to watch the lease; must be called inside a tokio runtime.
    pub fn new(client: kube::Client, config: LeaderElectionConfig, env: &Env) -> Self {
        let api = Api::namespaced(client, &config.namespace);
        let selector = format!("metadata.name={}", config.name);
        let lease = Informer::new(api.clone(), watcher::Config::default().fields(&selector), env);
        let identity = format!("{}_{}", config.identity, env.random.uuid());
        Self {
            api,
            config,
            identity,
            env: env.clone(),
            lease,
        }
    }

    /// This candidate's name in the lease.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Waits until this candidate leads; `None` when cancelled first.
    pub async fn acquire(&self, cancel: &CancellationToken) -> Option<Leadership> {
        tokio::select! {
            biased;
            () = cancel.cancelled() => None,
            leadership = self.campaign() => Some(leadership),
        }
    }

    /// Runs `work` whenever this candidate leads, until cancelled. `work` is dropped when the lease is lost; it
    /// gets the leadership to fence its writes with. The lease is released at the end.
    pub async fn run<W, F>(&self, cancel: &CancellationToken, mut work: W)
    where
        W: FnMut(Leadership) -> F,
        F: Future<Output = ()>,
    {
        while let Some(leadership) = self.acquire(cancel).await {
            tracing::info!(lease = self.config.name, identity = self.identity, "leading");
            tokio::select! {
                biased;
                () = leadership.lost() => {
                    tracing::warn!(lease = self.config.name, identity = self.identity, "leadership lost");
                }
                () = work(leadership.clone()) => {}
                () = cancel.cancelled() => {}
            }
            leadership.release().await;
            if cancel.is_cancelled() {
                return;
            }
        }
    }

    async fn campaign(&self) -> Leadership {
        self.lease.synced().await;
        let mut changes = self.lease.subscribe();
        let mut observed_at = Instant::now();
        loop {
            while changes.try_recv().is_some() {
                observed_at = Instant::now();
            }
            let current = self.lease.store().list().pop();
            let free_at = match current.as_deref() {
                None => observed_at,
                Some(_) if self.env.sabotage.is("lease-taken-early") => observed_at,
                Some(lease) => LeaseRecord::of(lease).free_at(observed_at, &self.identity),
            };
            if free_at <= Instant::now() {
                if let Some(leadership) = self.take(current.as_deref()).await {
                    return leadership;
                }
                // Somebody was faster, or the API doesn't answer: look again when the copy has caught up.
                let pause = self.env.random.jitter(self.config.renew_interval / 4, 1.0);
                tokio::time::sleep(pause).await;
                continue;
            }
            tokio::select! {
                biased;
                _ = changes.recv() => observed_at = Instant::now(),
                () = tokio::time::sleep_until(free_at) => {}
            }
        }
    }

    async fn take(&self, current: Option<&Lease>) -> Option<Leadership> {
        let sent_at = Instant::now();
        let lease = lease::taken(current, &self.config, &self.identity, self.env.clock.now());
        let post = PostParams::default();
        let request = async {
            match current {
                None => self.api.create(&post, &lease).await,
                Some(_) => self.api.replace(&self.config.name, &post, &lease).await,
            }
        };
        match tokio::time::timeout(self.config.renew_deadline, request).await {
            Ok(Ok(lease)) => Some(self.lead(lease, sent_at)),
            Ok(Err(error)) => {
                tracing::debug!(
                    lease = self.config.name,
                    error = &error as &dyn std::error::Error,
                    "not taken"
                );
                None
            }
            Err(_) => None,
        }
    }

    fn lead(&self, lease: Lease, renewed_at: Instant) -> Leadership {
        let term = Arc::new(Term {
            valid_until: Mutex::new(renewed_at + self.config.renew_deadline),
            lost: CancellationToken::new(),
            stop: CancellationToken::new(),
        });
        let renewal = Renewal {
            api: self.api.clone(),
            config: self.config.clone(),
            identity: self.identity.clone(),
            env: self.env.clone(),
            term: Arc::clone(&term),
            lease,
            unanswered: None,
        };
        let task = AbortOnDropHandle::new(tokio::spawn(renewal.run()));
        Leadership {
            term,
            task: Arc::new(tokio::sync::Mutex::new(Some(task))),
        }
    }
}

/// The right to act, as long as it's held. Cheap to clone; dropping the last clone stops the renewals.
#[derive(Clone)]
pub struct Leadership {
    term: Arc<Term>,
    task: Arc<tokio::sync::Mutex<Option<AbortOnDropHandle<()>>>>,
}

struct Term {
    valid_until: Mutex<Instant>,
    lost: CancellationToken,
    stop: CancellationToken,
}

impl Term {
    fn valid_until(&self) -> Instant {
        *self.valid_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn extend(&self, until: Instant) {
        *self.valid_until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }
}

impl Leadership {
    /// Whether the lease is surely held at this instant.
    pub fn is_held(&self) -> bool {
        !self.term.lost.is_cancelled() && Instant::now() < self.term.valid_until()
    }

    /// Waits until the lease is lost.
    pub async fn lost(&self) {
        self.term.lost.cancelled().await;
    }

    /// Cancelled when the lease is lost.
    pub fn lost_token(&self) -> CancellationToken {
        self.term.lost.clone()
    }

    /// Runs a write while the lease is held, and gives it up the moment the lease could be taken over.
    ///
    /// # Errors
    /// When the lease isn't held; the write then may or may not have happened.
    pub async fn fenced<T>(&self, write: impl Future<Output = T>) -> Result<T, LeadershipLost> {
        if !self.is_held() {
            return Err(LeadershipLost);
        }
        let mut write = std::pin::pin!(write);
        loop {
            let until = self.term.valid_until();
            tokio::select! {
                biased;
                () = self.term.lost.cancelled() => return Err(LeadershipLost),
                // Before the write is polled: a process that was paused must not send it late.
                () = tokio::time::sleep_until(until) => {
                    if self.term.valid_until() <= Instant::now() {
                        return Err(LeadershipLost);
                    }
                }
                done = &mut write => return Ok(done),
            }
        }
    }

    /// Gives the lease up, so that another candidate takes over at once.
    pub async fn release(self) {
        self.term.stop.cancel();
        let task = self.task.lock().await.take();
        if let Some(task) = task {
            // It ends within its own deadline; a panic in it can't be helped here.
            let _ = task.await;
        }
        self.term.lost.cancel();
    }
}

/// Renews the lease of one term in the background.
struct Renewal {
    api: Api<Lease>,
    config: LeaderElectionConfig,
    identity: String,
    env: Env,
    term: Arc<Term>,
    lease: Lease,
    /// The renewal that nobody answered in time: what it says, and when it was sent.
    unanswered: Option<(Lease, Instant)>,
}

/// What is known after a renewal that didn't lose the lease.
enum Renewed {
    Surely,
    Perhaps,
}

impl Renewal {
    async fn run(mut self) {
        let stop = self.term.stop.clone();
        let mut pause = self.config.renew_interval;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = tokio::time::sleep(pause) => {}
            }
            let until = self.term.valid_until();
            let renewed = tokio::select! {
                biased;
                // A renewal under way would make the release fail on its version: let it end first.
                renewed = self.renew() => renewed,
                () = tokio::time::sleep_until(until) => Err(LeadershipLost),
            };
            pause = match renewed {
                Ok(renewed) if Instant::now() < self.term.valid_until() => match renewed {
                    Renewed::Surely => self.config.renew_interval,
                    // There may be time for another try.
                    Renewed::Perhaps => self.config.renew_interval / 4,
                },
                _ => {
                    self.term.lost.cancel();
                    return;
                }
            };
        }
        // No more acting from here on: the next leader may start as soon as the release arrives.
        self.term.lost.cancel();
        let released = lease::released(&self.lease, self.env.clock.now());
        let post = PostParams::default();
        let request = self.api.replace(&self.config.name, &post, &released);
        match tokio::time::timeout(self.config.renew_deadline, request).await {
            Ok(Ok(_)) => tracing::info!(lease = self.config.name, "released"),
            _ => tracing::debug!(lease = self.config.name, "not released; it runs out by itself"),
        }
    }

    /// One renewal. A failure that says nothing about the lease is no error: the deadline decides.
    async fn renew(&mut self) -> Result<Renewed, LeadershipLost> {
        let sent_at = Instant::now();
        let renewed = lease::renewed(&self.lease, &self.config, self.env.clock.now());
        let post = PostParams::default();
        let request = self.api.replace(&self.config.name, &post, &renewed);
        // Shorter than the deadline, so that a silent server leaves time to ask another one.
        match tokio::time::timeout(self.config.renew_deadline / 3, request).await {
            Ok(Ok(lease)) => {
                self.unanswered = None;
                self.lease = lease;
                self.term.extend(sent_at + self.config.renew_deadline);
                Ok(Renewed::Surely)
            }
            Ok(Err(kube::Error::Api(status))) if status.code == 409 || status.code == 404 => {
                // Either somebody else took it, or an earlier renewal of ours arrived after all.
                let read = self.api.get_opt(&self.config.name);
                match tokio::time::timeout(self.config.renew_deadline / 3, read).await {
                    Ok(Ok(Some(lease))) if LeaseRecord::of(&lease).holder == self.identity => {
                        Ok(self.arrived(lease))
                    }
                    Ok(Ok(_)) => Err(LeadershipLost),
                    Ok(Err(_)) | Err(_) => Ok(Renewed::Perhaps),
                }
            }
            Ok(Err(error)) => {
                tracing::debug!(
                    lease = self.config.name,
                    error = &error as &dyn std::error::Error,
                    "not renewed"
                );
                Ok(Renewed::Perhaps)
            }
            Err(_) => {
                self.unanswered = Some((renewed, sent_at));
                Ok(Renewed::Perhaps)
            }
        }
    }

    /// The lease is ours in another version than the last answer said. If it says what the unanswered renewal said, that
    /// one counts, from when it was sent.
    fn arrived(&mut self, lease: Lease) -> Renewed {
        let unanswered = self.unanswered.take();
        let sent_at = unanswered
            .filter(|(sent, _)| lease::renewed_at(sent) == lease::renewed_at(&lease))
            .map(|(_, at)| at);
        self.lease = lease;
        match sent_at {
            Some(sent_at) => {
                self.term.extend(sent_at + self.config.renew_deadline);
                Renewed::Surely
            }
            None => Renewed::Perhaps,
        }
    }
}
