//! Who looks at the store from outside: records everything, tells who leads, and asks at the end whether all
//! has become well again.

use crate::client::Client;
use crate::history::{History, Outcome, Request, now};
use crate::outcome::Violation;
use crate::stage::{Board, Stage};
use crate::workload::recorder;
use proto::etcdserverpb::lease_client::LeaseClient;
use proto::etcdserverpb::maintenance_client::MaintenanceClient;
use proto::etcdserverpb::{
    HashKvRequest, LeaseLeasesRequest, PutRequest, RangeRequest, StatusRequest, StatusResponse,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use support::Env;
use tokio::time::{Instant, sleep, timeout};
use tonic::Status;

/// How often members are asked who leads.
const LOOK: Duration = Duration::from_millis(150);
const CALL: Duration = Duration::from_millis(1_000);
/// A condition that isn't met by then is not met: far longer than an election, a lease and a reconnection.
const BOUND: Duration = Duration::from_secs(30);
/// The key of the observer's own writes.
const KEY: &str = "observer";

/// What was last seen of a member, and when.
pub type Seen = BTreeMap<&'static str, (Duration, StatusResponse)>;

/// What the observer has found.
#[derive(Debug, Default)]
pub struct Findings {
    /// The first condition that wasn't met in time.
    pub violation: Option<Violation>,
    pub seen: Seen,
    /// How long it took until all was well.
    pub healed_in: Duration,
}

/// Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Report(Arc<Mutex<Findings>>);

impl Report {
    pub fn with<T>(&self, act: impl FnOnce(&mut Findings) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Observes until all conditions are met, or one is not.
pub async fn observe(
    env: Env,
    members: &'static [&'static str],
    history: History,
    board: Board,
    report: Report,
) {
    for member in members {
        let client = Client::new(
            format!("recorder-of-{member}"),
            env.clone(),
            &[*member],
            history.clone(),
        );
        tokio::spawn(recorder(client, board.clone()));
    }
    let looking = tokio::spawn(look(env.clone(), members, board.clone(), report.clone()));
    while board.stage() < Stage::Quiet {
        sleep(LOOK).await;
    }
    let since = now();
    let judged = conditions(&env, members, &board, &history).await;
    report.with(|findings| {
        findings.violation = judged.err();
        findings.healed_in = now().saturating_sub(since);
    });
    board.enter(Stage::Done);
    looking.abort();
}

async fn status(env: &Env, member: &'static str) -> Result<StatusResponse, Status> {
    let mut client = MaintenanceClient::new(support::grpc_channel(env, &format!("{member}:2379"), None));
    let answer = timeout(CALL, client.status(StatusRequest {})).await;
    Ok(answer
        .map_err(|_| Status::deadline_exceeded("no answer"))??
        .into_inner())
}

/// Tells the board who leads, and the report what was seen, until it is aborted.
pub async fn look(env: Env, members: &'static [&'static str], board: Board, report: Report) {
    loop {
        let answers = futures_of(members, |member| status(&env, member)).await;
        let mut leader: Option<(u64, &'static str)> = None;
        for (member, answer) in answers {
            let Ok(answer) = answer else { continue };
            let leads = answer
                .header
                .as_ref()
                .is_some_and(|header| header.member_id == answer.leader);
            if leads && leader.is_none_or(|(term, _)| answer.raft_term > term) {
                leader = Some((answer.raft_term, member));
            }
            report.with(|findings| findings.seen.insert(member, (now(), answer)));
        }
        if leader.is_some() {
            board.name_leader(leader.map(|(_, member)| member));
        }
        sleep(LOOK).await;
    }
}

/// Asks all members side by side.
async fn futures_of<T, F: Future<Output = T>>(
    members: &'static [&'static str],
    ask: impl Fn(&'static str) -> F,
) -> Vec<(&'static str, T)> {
    let asked = members.iter().map(|member| {
        let asked = ask(member);
        async move { (*member, asked.await) }
    });
    futures::future::join_all(asked).await
}

/// Waits until `look` has nothing to complain about.
async fn eventually<T>(condition: &str, look: impl AsyncFn() -> Result<T, String>) -> Result<T, Violation> {
    let began = Instant::now();
    loop {
        let complaint = match look().await {
            Ok(found) => return Ok(found),
            Err(complaint) => complaint,
        };
        if began.elapsed() > BOUND {
            return Err(Violation::liveness(
                condition,
                format!("not within {BOUND:?} after the last fault: {complaint}"),
            ));
        }
        sleep(LOOK).await;
    }
}

/// In the order in which one builds on the other, so that the first that fails tells most.
async fn conditions(
    env: &Env,
    members: &'static [&'static str],
    board: &Board,
    history: &History,
) -> Result<(), Violation> {
    eventually("every client has asked for the last time", async || {
        match board.at_work() {
            0 => Ok(()),
            at_work => Err(format!("{at_work} are at work")),
        }
    })
    .await?;
    eventually("every member knows the same leader", async || {
        let mut leaders = BTreeMap::new();
        for (member, status) in futures_of(members, |member| status(env, member)).await {
            let status = status.map_err(|status| format!("{member}: {status}"))?;
            leaders.insert(member, status.leader);
        }
        let first = leaders.values().next().copied().unwrap_or(0);
        if first != 0 && leaders.values().all(|leader| *leader == first) {
            Ok(())
        } else {
            Err(format!("{leaders:x?}"))
        }
    })
    .await?;
    for member in members {
        eventually("every member serves writes", async || {
            put(env, member, history).await
        })
        .await?;
    }
    eventually("leases that nobody renews end", async || {
        for (member, leases) in futures_of(members, |member| leases(env, member)).await {
            let leases = leases?;
            if !leases.is_empty() {
                return Err(format!("{member} still has {leases:?}"));
            }
        }
        Ok(())
    })
    .await?;
    let revision = eventually("every member serves reads of the same state", async || {
        let mut revisions = BTreeMap::new();
        for (member, found) in futures_of(members, |member| read_all(env, member, history)).await {
            revisions.insert(member, found?);
        }
        let first = revisions.values().next().copied().unwrap_or(0);
        if revisions.values().all(|revision| *revision == first) {
            Ok(first)
        } else {
            Err(format!("{revisions:?}"))
        }
    })
    .await?;
    eventually("a watcher on every member is told of everything", async || {
        let reached: BTreeMap<&str, i64> = members
            .iter()
            .map(|member| (*member, board.recorded_of(member)))
            .collect();
        if reached.values().all(|reached| *reached >= revision) {
            Ok(())
        } else {
            Err(format!(
                "the last revision is {revision}, they have heard {reached:?}"
            ))
        }
    })
    .await?;
    let hashes = eventually("every member gives the hash of its history", async || {
        let mut hashes = BTreeMap::new();
        for (member, hash) in futures_of(members, |member| hash(env, member, revision)).await {
            hashes.insert(member, hash?);
        }
        // A compaction may still be under way on some.
        let compacted: Vec<i64> = hashes.values().map(|(_, compacted)| *compacted).collect();
        if compacted.windows(2).all(|pair| pair[0] == pair[1]) {
            Ok(hashes)
        } else {
            Err(format!("{hashes:?}"))
        }
    })
    .await?;
    let mut values = hashes.values().map(|(hash, _)| *hash);
    let first = values.next();
    if values.any(|hash| Some(hash) != first) {
        return Err(Violation::safety(
            "all members hold the same history",
            format!("{hashes:?}"),
        ));
    }
    Ok(())
}

async fn asked<T>(call: impl Future<Output = Result<tonic::Response<T>, Status>>) -> Result<T, String> {
    match timeout(CALL * 3, call).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(status.to_string()),
        Err(_) => Err("no answer".to_owned()),
    }
}

/// Recorded like any client's requests, and judged with them.
async fn ask(env: &Env, member: &'static str, history: &History, request: Request) -> Result<i64, String> {
    let mut client = Client::new(
        format!("observer-of-{member}"),
        env.clone(),
        &[member],
        history.clone(),
    );
    match client.ask(request).await {
        Outcome::Answered { revision, .. } => Ok(revision),
        Outcome::Refused(why) | Outcome::Unknown(why) => Err(format!("{member}: {why}")),
    }
}

async fn put(env: &Env, member: &'static str, history: &History) -> Result<(), String> {
    let put = PutRequest {
        key: KEY.into(),
        value: format!("{member} at {:?}", now()).into(),
        ..PutRequest::default()
    };
    ask(env, member, history, Request::Put(put)).await.map(|_| ())
}

/// Gives the revision at which it read.
async fn read_all(env: &Env, member: &'static str, history: &History) -> Result<i64, String> {
    let all = RangeRequest {
        key: vec![0].into(),
        range_end: vec![0].into(),
        ..RangeRequest::default()
    };
    ask(env, member, history, Request::Range(all)).await
}

async fn leases(env: &Env, member: &'static str) -> Result<Vec<i64>, String> {
    let mut client = LeaseClient::new(support::grpc_channel(env, &format!("{member}:2379"), None));
    let answer = asked(client.lease_leases(LeaseLeasesRequest {})).await;
    let answer = answer.map_err(|error| format!("{member}: {error}"))?;
    Ok(answer.leases.into_iter().map(|lease| lease.id).collect())
}

async fn hash(env: &Env, member: &'static str, revision: i64) -> Result<(u32, i64), String> {
    let mut client = MaintenanceClient::new(support::grpc_channel(env, &format!("{member}:2379"), None));
    let answer = asked(client.hash_kv(HashKvRequest { revision })).await;
    let answer = answer.map_err(|error| format!("{member}: {error}"))?;
    Ok((answer.hash, answer.compact_revision))
}
