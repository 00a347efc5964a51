//! What can be read off a member without asking the others: versions, raft's state, metrics.

use super::{plain, respond};
use crate::metrics::Snapshot;
use crate::services::{self, ETCD_VERSION, STORAGE_VERSION, Shared};
use http::{Response, StatusCode};
use kvstore_core::{Meta, ReadError, alarms, range};
use proto::etcdserverpb::RangeRequest;
use serde_json::json;
use tonic::body::Body;

/// The cluster's version (`3.6`), which its first leader writes; `None` before.
fn cluster_version(shared: &Shared) -> Option<&'static str> {
    (shared.store.applied.get() > 0).then(services::cluster_version)
}

pub fn version(shared: &Shared) -> Response<Body> {
    let cluster = match cluster_version(shared) {
        Some(minor) => format!("{minor}.0"),
        None => "not_decided".to_owned(),
    };
    // In etcd's order: scripts cut it with less than a JSON parser.
    let body = format!(
        r#"{{"etcdserver":"{ETCD_VERSION}","etcdcluster":"{cluster}","storage":"{STORAGE_VERSION}"}}"#
    );
    respond("application/json", body)
}

/// etcd's `/debug/vars`, as far as it isn't about Go.
pub fn variables(shared: &Shared) -> Response<Body> {
    let view = shared.consensus.view();
    let leader = shared.consensus.leader_in_touch();
    let state = match (view.is_leader, leader) {
        (true, _) => "StateLeader",
        (false, Some(_)) => "StateFollower",
        (false, None) => "StateCandidate",
    };
    let status = json!({
        "id": format!("{:x}", shared.consensus.id),
        "term": view.term,
        "commit": view.committed_index,
        "lead": format!("{:x}", leader.unwrap_or(0)),
        "raftState": state,
        "applied": shared.store.applied.get(),
    });
    let body = format!("{{\n\"raft.status\": {status}\n}}\n");
    respond("application/json; charset=utf-8", body)
}

pub fn metrics(shared: &Shared) -> Response<Body> {
    let metrics = &shared.store.metrics;
    let text = metrics.scrapes.count(|| {
        let now = snapshot(shared).map_err(|error| error.to_string())?;
        metrics.text(&now).map_err(|error| error.to_string())
    });
    match text {
        Ok(text) => respond("text/plain; version=0.0.4; charset=utf-8", text),
        Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

fn snapshot(shared: &Shared) -> Result<Snapshot, ReadError> {
    let consensus = &shared.consensus;
    let leader = consensus.view();
    let open_reads = shared.store.open_views();
    let view = shared.store.view();
    let meta = Meta::read(&*view)?;
    let every_key = RangeRequest {
        key: vec![0].into(),
        range_end: vec![0].into(),
        count_only: true,
        ..RangeRequest::default()
    };
    let raised = alarms(&*view)?;
    let (upkeep, engine) = (&shared.store.upkeep, shared.store.engine());
    let hub = shared.store.hub.sizes();
    Ok(Snapshot {
        member_id: consensus.id,
        server_version: ETCD_VERSION,
        cluster_version: cluster_version(shared),
        has_leader: consensus.leader_in_touch().is_some(),
        is_leader: leader.is_leader,
        is_learner: consensus.is_learner(consensus.id),
        committed_index: leader.committed_index,
        applied_index: shared.store.applied.get(),
        db_size: upkeep.file_bytes(&**engine),
        db_size_in_use: upkeep.in_use(),
        quota: shared.quota.limit(),
        // It asks for nothing that could be refused.
        keys: range(&*view, &every_key).map_or(0, |all| all.count),
        revision: meta.revision,
        compact_revision: meta.compacted,
        open_reads,
        watchers: hub.watchers,
        watch_streams: hub.streams,
        slow_watchers: hub.behind,
        pending_messages: hub.pending,
        auth_revision: shared.store.auth.revision(),
        descriptors: descriptors(),
        alarms: raised
            .iter()
            .map(|alarm| (alarm.member_id, alarm.alarm().as_str_name()))
            .collect(),
        members: consensus.members().into_keys().collect(),
        peers: consensus.peers_heard(),
    })
}

/// Descriptors that this process has open, and may have; 0 where the system doesn't tell.
fn descriptors() -> (u64, u64) {
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, |open| open.count() as u64);
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let limit = limits.lines().find_map(|line| {
        let soft = line.strip_prefix("Max open files")?.split_whitespace().next()?;
        soft.parse().ok()
    });
    (open, limit.unwrap_or(0))
}
