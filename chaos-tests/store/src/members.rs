//! The members as simulated processes: real ones, made anew at every boot.

use crate::history::now;
use kvstore_server::{ClusterPeer, DataDir, Member, MemberConfig};
use kvstore_storage::MemoryDisk;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use support::Env;
use tokio_util::sync::CancellationToken;

/// The members of the largest store.
pub const NAMES: [&str; 5] = ["store-1", "store-2", "store-3", "store-4", "store-5"];

/// What a sync takes on a disk that is well.
const SYNC: Duration = Duration::from_millis(1);

/// Why a boot of a host ended without losing power.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// It was asked to stop, and has.
    Asked,
    /// It stopped by itself, for this reason.
    Own(String),
}

impl Exit {
    /// Whether it stopped by itself and `text` is in the reason.
    pub fn says(&self, text: &str) -> bool {
        matches!(self, Self::Own(why) if why.contains(text))
    }
}

/// Hosts that have stopped.
#[derive(Debug, Clone, Default)]
pub struct Exits(Arc<Mutex<Vec<(&'static str, Exit)>>>);

impl Exits {
    /// Notes that `host` has stopped, and why.
    pub fn push(&self, host: &'static str, why: Exit) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((host, why));
    }

    /// Those since the last call.
    pub fn take(&self) -> Vec<(&'static str, Exit)> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Asks a host to stop, as SIGTERM does. Clones are the same host's.
#[derive(Debug, Clone, Default)]
pub struct Terminator(Arc<Mutex<CancellationToken>>);

impl Terminator {
    /// For a boot that begins: cancelled when it is asked to stop.
    pub fn boot(&self) -> CancellationToken {
        let token = CancellationToken::new();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = token.clone();
        token
    }

    /// Asks the present boot.
    pub fn ask(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).cancel();
    }
}

/// Members that are being replaced: what their operator wants of who has the machines. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Replacements(Arc<Mutex<BTreeMap<&'static str, Replacement>>>);

/// How far the replacement of a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Replacement {
    /// It stops when it learns that it was removed, and until then is a member like others.
    Retired,
    /// The cluster waits for a fresh one in its place.
    Admitted,
}

impl Replacements {
    /// From now on `member` may be removed at any time.
    pub fn retire(&self, member: &'static str) {
        self.with(|all| all.insert(member, Replacement::Retired));
    }

    /// The cluster has room for a fresh `member`.
    pub fn admit(&self, member: &'static str) {
        self.with(|all| all.insert(member, Replacement::Admitted));
    }

    /// Whether `member` may be removed already.
    pub fn is_retired(&self, member: &str) -> bool {
        self.with(|all| all.contains_key(member))
    }

    pub fn is_empty(&self) -> bool {
        self.with(|all| all.is_empty())
    }

    /// Those that are to be started with nothing on their disks; they are members like others from now on.
    pub fn take_admitted(&self) -> Vec<&'static str> {
        self.with(|all| {
            let admitted = all.extract_if(.., |_, replacement| *replacement == Replacement::Admitted);
            admitted.map(|(member, _)| member).collect()
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<&'static str, Replacement>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What a member is started with; the same at every boot.
#[derive(Clone)]
pub struct MemberOptions {
    pub name: &'static str,
    pub members: &'static [&'static str],
    pub disk: MemoryDisk,
    pub snapshot_entries: u64,
    pub terminator: Terminator,
}

/// The life of one boot. It never fails: a member that stops says so in `exits`.
pub async fn live(options: MemberOptions, env: Env, exits: Exits) {
    let name = options.name;
    let initial_cluster = options
        .members
        .iter()
        .map(|name| ClusterPeer::new(*name, format!("http://{name}:2380")));
    let config = MemberConfig {
        peer_listen: Some(format!("{name}:2380")),
        initial_cluster: initial_cluster.collect(),
        snapshot_entries: options.snapshot_entries,
        ..MemberConfig::single(
            name,
            DataDir::Simulated(options.disk, SYNC),
            &format!("{name}:2379"),
        )
    };
    let asked = options.terminator.boot();
    let outcome = match Member::new(config, env) {
        Ok(member) => member.run(asked.clone()).await,
        Err(error) => Err(error),
    };
    let why = match outcome {
        Ok(()) if asked.is_cancelled() => Exit::Asked,
        Ok(()) => Exit::Own(format!("at {:?} without being asked", now())),
        Err(error) => Exit::Own(format!("at {:?}: {error}", now())),
    };
    exits.push(name, why);
}
