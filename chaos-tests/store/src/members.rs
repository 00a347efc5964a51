//! The members as simulated processes: real ones, made anew at every boot.

use crate::history::now;
use kvstore_server::{ClusterPeer, DataDir, Member, MemberConfig};
use kvstore_storage::MemoryDisk;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use support::Env;
use tokio_util::sync::CancellationToken;

/// The members of the largest store.
pub const NAMES: [&str; 5] = ["store-1", "store-2", "store-3", "store-4", "store-5"];

/// What a sync takes on a disk that is well.
const SYNC: Duration = Duration::from_millis(1);

/// Members that stopped by themselves, with their reasons.
#[derive(Debug, Clone, Default)]
pub struct Exits(Arc<Mutex<Vec<(&'static str, String)>>>);

impl Exits {
    /// Notes that `member` has stopped, and why.
    pub fn push(&self, member: &'static str, why: String) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((member, why));
    }

    /// Those since the last call.
    pub fn take(&self) -> Vec<(&'static str, String)> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What a member is started with; the same at every boot.
#[derive(Clone)]
pub struct MemberOptions {
    pub name: &'static str,
    pub members: &'static [&'static str],
    pub disk: MemoryDisk,
    pub snapshot_entries: u64,
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
    let outcome = match Member::new(config, env) {
        Ok(member) => member.run(CancellationToken::new()).await,
        Err(error) => Err(error),
    };
    let why = match outcome {
        Ok(()) => "without being asked".to_owned(),
        Err(error) => error.to_string(),
    };
    exits.push(name, format!("at {:?}: {why}", now()));
}
