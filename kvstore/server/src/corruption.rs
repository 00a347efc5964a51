//! Members compare what they hold, and one that differs from the majority stops serving
//! (etcd `server/etcdserver/corrupt.go`, which stops the whole cluster instead).
//!
//! The leader puts a checkpoint into the log. Every member that applies it hashes its whole state as of
//! then; the leader asks for the hashes and judges. The verdict goes through the log as CORRUPT alarms that
//! name the wrong members. Such a member refuses its clients, gives leadership away and doesn't seek it.
//! What brings it back: new state (removed, wiped, added again), then disarming its alarm.

use crate::checkpoints::Checkpoint;
use crate::config::CorruptCheck;
use crate::consensus::{Consensus, LeaderClient};
use crate::quota::propose_alarm;
use crate::store::Store;
use bytes::Bytes;
use kvstore_core::{ALARM_CORRUPT, Command, STATE_HASH_DEFINITION, Verdict, judge};
use openraft::async_runtime::WatchReceiver as _;
use prost::Message as _;
use proto::etcdserverpb::alarm_request::AlarmAction;
use proto::etcdserverpb::{AlarmMember, CheckpointRequest};
use proto::raftpb::state_hash_response::Progress;
use proto::raftpb::{CheckSoonRequest, StateHashRequest};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often the leader looks whether a check is due.
const LOOK: Duration = Duration::from_secs(1);
/// Checks that are asked for come at least so far apart.
const SPACING: Duration = Duration::from_secs(10);
/// How soon a member that is still hashing is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(2);
/// A member that can't be reached so many times in a row is left out.
const FAILURES: u32 = 10;
/// A member that is still hashing after this is left out. Terabytes take longer, and are nobody's store.
const PATIENCE: Duration = Duration::from_secs(3600);
/// A check rests so many times as long as it took.
const REST: u32 = 10;
/// Without a majority, and with members that don't answer, so many checks in a row have to say the same.
const INCONCLUSIVE: u32 = 3;

/// What the leader's check needs.
pub struct Checker {
    pub options: CorruptCheck,
    pub consensus: Consensus,
    pub store: Arc<Store>,
    /// A member wants a check soon.
    pub soon: Arc<Notify>,
}

/// When the last check ended, how long it took, and what had been applied by then.
struct Last {
    ended: Instant,
    took: Duration,
    applied: u64,
}

impl Checker {
    /// Checks while this member leads, until `cancel`.
    pub async fn run(self, cancel: CancellationToken) {
        if self.options.interval.is_zero() {
            return;
        }
        let mut last: Option<Last> = None;
        let mut wanted = false;
        let mut inconclusive = 0;
        let started = Instant::now();
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                () = self.soon.notified() => wanted = true,
                () = tokio::time::sleep(LOOK) => {}
            }
            let view = self.consensus.view();
            if !view.is_leader || self.consensus.members().len() < 2 {
                continue;
            }
            let due = match &last {
                None => wanted || started.elapsed() >= self.options.interval,
                Some(last) => {
                    let rested = last.ended.elapsed();
                    let interval = self.options.interval.max(last.took * REST);
                    let changed = self.store.applied.get() > last.applied;
                    (wanted && rested >= SPACING.max(last.took)) || (changed && rested >= interval)
                }
            };
            if !due {
                continue;
            }
            wanted = false;
            let began = Instant::now();
            let outcome = tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                outcome = self.check() => outcome,
            };
            if let Some((verdict, silent)) = outcome {
                inconclusive = match verdict {
                    Verdict::Suspects(_) if silent => inconclusive + 1,
                    _ => 0,
                };
                self.announce(&verdict, silent && inconclusive < INCONCLUSIVE)
                    .await;
            }
            last = Some(Last {
                ended: Instant::now(),
                took: began.elapsed(),
                applied: self.store.applied.get(),
            });
        }
    }

    /// One check: the verdict, and whether there are members that didn't answer. `None` when this member
    /// couldn't lead it to an end.
    async fn check(&self) -> Option<(Verdict, bool)> {
        let command = Command {
            checkpoint: Some(CheckpointRequest {
                definition: STATE_HASH_DEFINITION,
            }),
            ..Command::default()
        };
        let bytes = Bytes::from(command.encode_to_vec());
        let (_, index) = match self.consensus.propose_as_leader(bytes).await {
            Ok(done) => done,
            Err(status) => {
                tracing::debug!(%status, "putting a checkpoint into the log");
                return None;
            }
        };
        let members: BTreeSet<u64> = self.consensus.members().into_keys().collect();
        let asked = members.iter().map(|id| self.hash_of(*id, index));
        let answers = futures::future::join_all(asked).await;
        let hashes: BTreeMap<u64, u32> = members
            .iter()
            .zip(answers)
            .filter_map(|(id, hash)| Some((*id, hash?)))
            .collect();
        if !self.consensus.view().is_leader {
            return None;
        }
        tracing::debug!(index, ?hashes, "members compared what they hold");
        Some((judge(&hashes, members.len()), hashes.len() < members.len()))
    }

    /// The hash of a member at the checkpoint; `None` when it has none, or doesn't answer.
    async fn hash_of(&self, id: u64, index: u64) -> Option<u32> {
        let mut failures = 0;
        let began = Instant::now();
        while failures < FAILURES && began.elapsed() < PATIENCE && self.consensus.view().is_leader {
            let answer = if id == self.consensus.id {
                Some(self.store.checkpoints.look(index, self.store.applied.get()))
            } else {
                self.ask(id, index).await
            };
            match answer {
                Some(Checkpoint::Hash(hash)) => return Some(hash),
                Some(Checkpoint::Unknown) => return None,
                Some(Checkpoint::Pending) => failures = 0,
                None => failures += 1,
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
        None
    }

    async fn ask(&self, id: u64, index: u64) -> Option<Checkpoint> {
        let mut member = self.consensus.integrity_of(id)?;
        let answer = member.state_hash(StateHashRequest { index });
        match tokio::time::timeout(ANSWER, answer).await {
            Ok(Ok(answer)) => {
                let answer = answer.into_inner();
                Some(match answer.progress() {
                    Progress::Pending => Checkpoint::Pending,
                    Progress::Done if answer.definition == STATE_HASH_DEFINITION => {
                        Checkpoint::Hash(answer.hash)
                    }
                    Progress::Done | Progress::Unknown => Checkpoint::Unknown,
                })
            }
            // A release that doesn't know the question can't be compared.
            Ok(Err(status)) if status.code() == tonic::Code::Unimplemented => Some(Checkpoint::Unknown),
            _ => {
                self.consensus.reconnect(id);
                None
            }
        }
    }

    async fn announce(&self, verdict: &Verdict, wait: bool) {
        let named = match verdict {
            Verdict::Equal => return,
            Verdict::Corrupt(ids) => {
                let ids: Vec<String> = ids.iter().map(|id| format!("{id:x}")).collect();
                tracing::error!(?ids, "members hold something else than the majority");
                verdict_ids(verdict)
            }
            Verdict::Suspects(ids) => {
                let ids: Vec<String> = ids.iter().map(|id| format!("{id:x}")).collect();
                tracing::error!(?ids, wait, "members differ, and no majority says which is right");
                if wait {
                    return;
                }
                verdict_ids(verdict)
            }
        };
        for id in named {
            let alarm = AlarmMember {
                member_id: *id,
                alarm: ALARM_CORRUPT,
            };
            if self.store.alarms.changes().borrow().contains(&alarm) {
                continue;
            }
            if let Err(status) = propose_alarm(&self.consensus, alarm, AlarmAction::Activate).await {
                // The next check finds it again.
                tracing::warn!(%status, "raising an alarm");
            }
        }
    }
}

fn verdict_ids(verdict: &Verdict) -> &[u64] {
    match verdict {
        Verdict::Equal => &[],
        Verdict::Corrupt(ids) | Verdict::Suspects(ids) => ids,
    }
}

/// Asks the leader for a check, once there is one; for a member that has just started.
pub async fn ask_for_check(
    options: CorruptCheck,
    consensus: Consensus,
    soon: Arc<Notify>,
    cancel: CancellationToken,
) {
    if !options.initial || options.interval.is_zero() {
        return;
    }
    let here = || async {
        soon.notify_one();
        Ok(())
    };
    let there = |mut leader: LeaderClient| async move {
        leader.check_soon(CheckSoonRequest {}).await?;
        Ok(())
    };
    loop {
        tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            asked = consensus.at_leader(here, there) => match asked {
                Ok(()) => return,
                Err(status) => tracing::debug!(%status, "asking for a check"),
            },
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Keeps this member from leading while it's named corrupt and a majority is not, until `cancel`.
pub async fn step_aside(consensus: Consensus, store: Arc<Store>, cancel: CancellationToken) {
    let mut alarms = store.alarms.changes();
    let mut metrics = consensus.raft().server_metrics();
    let mut aside = false;
    loop {
        let corrupt: BTreeSet<u64> = alarms
            .borrow_and_update()
            .iter()
            .filter(|alarm| alarm.alarm == ALARM_CORRUPT)
            .map(|alarm| alarm.member_id)
            .collect();
        let voters = consensus
            .members()
            .into_keys()
            .filter(|id| consensus.is_voter(*id));
        let voters: BTreeSet<u64> = voters.collect();
        let healthy: Vec<u64> = voters.difference(&corrupt).copied().collect();
        // When most are suspects somebody has to lead all the same: an alarm is disarmed through the log.
        let now = corrupt.contains(&consensus.id) && healthy.len() * 2 > voters.len();
        if now != aside {
            tracing::warn!(aside = now, "this member's place among those who may lead");
            consensus.raft().runtime_config().elect(!now);
            aside = now;
        }
        if aside && consensus.view().is_leader {
            for next in healthy {
                if consensus.transfer_leader(next, ANSWER).await.is_ok() {
                    break;
                }
            }
        }
        tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            changed = alarms.changed() => if changed.is_err() { return },
            changed = metrics.changed(), if aside => if changed.is_err() { return },
        }
    }
}
