//! The alarms that are raised, where every request can see them.

use kvstore_core::{ALARM_NOSPACE, Read, ReadError, alarms, stops_member};
use proto::etcdserverpb::AlarmMember;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;

/// A copy of the alarms in the state, written by whoever applies.
pub struct AlarmBoard {
    raised: watch::Sender<Vec<AlarmMember>>,
    /// Nearly always `false`: a request then looks no further.
    any: AtomicBool,
}

impl AlarmBoard {
    /// # Errors
    /// When the store can't be read.
    pub fn read(view: &dyn Read) -> Result<Self, ReadError> {
        let board = Self {
            raised: watch::Sender::new(Vec::new()),
            any: AtomicBool::new(false),
        };
        board.update(view)?;
        Ok(board)
    }

    /// Takes over what the state says.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn update(&self, view: &dyn Read) -> Result<(), ReadError> {
        let now = alarms(view)?;
        self.any.store(!now.is_empty(), Ordering::Release);
        self.raised.send_if_modified(|raised| {
            let changed = *raised != now;
            *raised = now;
            changed
        });
        Ok(())
    }

    pub fn changes(&self) -> watch::Receiver<Vec<AlarmMember>> {
        self.raised.subscribe()
    }

    /// Whether the store takes nothing that makes it grow.
    pub fn is_full(&self) -> bool {
        self.any(|raised| raised.iter().any(|alarm| alarm.alarm == ALARM_NOSPACE))
    }

    /// Whether `member` must not serve.
    pub fn stops(&self, member: u64) -> bool {
        self.any(|raised| stops_member(raised, member))
    }

    /// Returns when `member` must not serve any more.
    pub async fn stopped(&self, member: u64) {
        let mut changes = self.changes();
        // An error would say that this board is gone, which it can't be.
        let _ = changes.wait_for(|raised| stops_member(raised, member)).await;
    }

    fn any(&self, test: impl FnOnce(&[AlarmMember]) -> bool) -> bool {
        self.any.load(Ordering::Acquire) && test(&self.raised.borrow())
    }
}
