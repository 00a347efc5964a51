//! The bound on what the store holds (etcd `server/etcdserver/api/v3rpc/quota.go`).
//!
//! A member that is asked for more than fits raises NOSPACE, and so does one whose quota is full of what others took
//! (etcd `server/etcdserver/apply`, `quotaApplierV3`): theirs may be larger. From then on no member takes anything that
//! makes the store grow. Unlike etcd's the alarm clears itself, once there is room again: a client has
//! compacted, or the quota was raised. One raised by hand without a member's id stays until it's disarmed.

use crate::consensus::Consensus;
use crate::status;
use crate::store::Store;
use kvstore_core::{ALARM_NOSPACE, Command, Refusal};
use proto::etcdserverpb::alarm_request::AlarmAction;
use proto::etcdserverpb::{AlarmMember, AlarmRequest};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// How often a raised alarm is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// The leader clears the alarms of others after there has been room for so long by its own quota: their
/// members may be down or gone, and else they do it themselves.
const PATIENCE: Duration = Duration::from_secs(10);
/// There is room again when at least this part of the quota is free, and as much as was refused: else the next
/// put would raise the alarm again.
const FREE_PART: u64 = 16;

/// Takes the mark back even when the client that set it goes away meanwhile.
struct Raising<'a>(&'a AtomicBool);

impl Drop for Raising<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// A member's quota.
#[derive(Clone)]
pub struct Quota {
    limit: u64,
    store: Arc<Store>,
    consensus: Consensus,
    raising: Arc<AtomicBool>,
    /// What the request cost that didn't fit when the alarm was raised; up to half of the quota.
    wanted: Arc<AtomicU64>,
}

impl Quota {
    /// `limit` in bytes of kept versions; 0: none.
    pub fn new(limit: u64, store: Arc<Store>, consensus: Consensus) -> Self {
        if limit > 0 {
            store.upkeep.set_quota(limit);
        }
        Self {
            limit,
            store,
            consensus,
            raising: Arc::default(),
            wanted: Arc::default(),
        }
    }

    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Lets a request pass that costs so much.
    ///
    /// # Errors
    /// [`Refusal::NoSpace`]; the alarm is raised then.
    pub async fn admit(&self, cost: u64) -> Result<(), Status> {
        if cost == 0 {
            return Ok(());
        }
        let fits = self.limit == 0 || self.store.upkeep.in_use() + cost < self.limit;
        if fits && !self.store.alarms.is_full() {
            return Ok(());
        }
        if !fits {
            self.raise(cost).await?;
        }
        Err(status::refused(Refusal::NoSpace))
    }

    /// Says that something of this cost doesn't fit, unless it's known that the store is full.
    async fn raise(&self, cost: u64) -> Result<(), Status> {
        // One proposal for all who are refused meanwhile.
        if self.store.alarms.is_full() || self.raising.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let _until_done = Raising(&self.raising);
        self.wanted.fetch_max(cost.min(self.limit / 2), Ordering::AcqRel);
        self.propose(self.alarm(), AlarmAction::Activate).await?;
        tracing::warn!(
            in_use = self.store.upkeep.in_use(),
            quota = self.limit,
            "the store is full"
        );
        Ok(())
    }

    /// Raises the alarm when others have filled the store, and clears alarms once there is room again, until `cancel`.
    pub async fn watch(self, cancel: CancellationToken) {
        let mut changes = self.store.alarms.changes();
        let mut room_since: Option<Instant> = None;
        // How much there was when the alarm was first seen. One from before the start may be there because
        // of a smaller quota.
        let mut full = Some(u64::MAX);
        loop {
            let raised: Vec<AlarmMember> = changes
                .borrow_and_update()
                .iter()
                .filter(|alarm| alarm.alarm == ALARM_NOSPACE && alarm.member_id != 0)
                .copied()
                .collect();
            if raised.is_empty() {
                (room_since, full) = (None, None);
                self.wanted.store(0, Ordering::Release);
            } else if !self.has_room(*full.get_or_insert_with(|| self.store.upkeep.in_use())) {
                room_since = None;
            } else {
                let since = *room_since.get_or_insert_with(Instant::now);
                let patient = since.elapsed() >= PATIENCE && self.consensus.view().is_leader;
                for alarm in &raised {
                    if *alarm == self.alarm() || patient {
                        self.clear(*alarm).await;
                    }
                }
            }
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                changed = changes.changed() => if changed.is_err() { return },
                () = self.store.upkeep.over_quota() => if let Err(status) = self.raise(0).await {
                    // The next write says it again.
                    tracing::debug!(%status, "raising an alarm");
                },
                () = tokio::time::sleep(LOOK), if !raised.is_empty() => {}
            }
        }
    }

    /// Whether something has gone since the store was `full`, so that what was refused would fit now.
    fn has_room(&self, full: u64) -> bool {
        let in_use = self.store.upkeep.in_use();
        let wanted = self.wanted.load(Ordering::Acquire).max(self.limit / FREE_PART);
        self.limit == 0 || in_use < full && in_use + wanted < self.limit
    }

    async fn clear(&self, alarm: AlarmMember) {
        match self.propose(alarm, AlarmAction::Deactivate).await {
            Ok(()) => tracing::info!(
                member = format!("{:x}", alarm.member_id),
                in_use = self.store.upkeep.in_use(),
                quota = self.limit,
                "there is room again"
            ),
            // Tried again at the next look.
            Err(status) => tracing::debug!(%status, "clearing an alarm"),
        }
    }

    fn alarm(&self) -> AlarmMember {
        AlarmMember {
            member_id: self.consensus.id,
            alarm: ALARM_NOSPACE,
        }
    }

    async fn propose(&self, alarm: AlarmMember, action: AlarmAction) -> Result<(), Status> {
        propose_alarm(&self.consensus, alarm, action).await
    }
}

/// Raises or clears an alarm.
///
/// # Errors
/// When the cluster doesn't take it.
pub async fn propose_alarm(
    consensus: &Consensus,
    alarm: AlarmMember,
    action: AlarmAction,
) -> Result<(), Status> {
    let command = Command {
        alarm: Some(AlarmRequest {
            action: action as i32,
            member_id: alarm.member_id,
            alarm: alarm.alarm,
        }),
        ..Command::default()
    };
    let reply = consensus.propose(&command).await?;
    reply.map(|_| ()).map_err(status::refused)
}
