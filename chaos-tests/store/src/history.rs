//! What the clients asked and were told, with the times of call and return.
//!
//! Times are the simulation's, or real ones after [`count_real_time`]. A request that was answered by nobody may have happened or not: its outcome is
//! [`Outcome::Unknown`], and only the revisions that others saw can decide it.

use proto::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, DeleteRangeResponse, LeaseGrantRequest, PutRequest, PutResponse,
    RangeRequest, RangeResponse, TxnRequest, TxnResponse, WatchCreateRequest, WatchResponse,
};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tonic::{Code, Status};

/// What a client asked.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    Put(PutRequest),
    Delete(DeleteRangeRequest),
    Txn(TxnRequest),
    Range(RangeRequest),
    Compact(CompactionRequest),
    Grant(LeaseGrantRequest),
    KeepAlive(i64),
    Revoke(i64),
}

/// What a member answered; the revision is its header's.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Put(PutResponse),
    Delete(DeleteRangeResponse),
    Txn(TxnResponse),
    Range(RangeResponse),
    Compacted,
    /// The time to live that was granted, in seconds.
    Granted(i64),
    /// The time to live from now on; 0 when there is no such lease.
    Renewed(i64),
    Revoked,
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    Answered {
        revision: i64,
        answer: Answer,
    },
    /// Certainly without effect.
    Refused(String),
    /// With or without effect.
    Unknown(String),
}

impl Outcome {
    /// Sorts an error: only those that a state machine or a check gave say for certain that nothing was done.
    pub fn of(status: &Status) -> Self {
        let text = format!("{:?}: {}", status.code(), status.message());
        let certain = match status.code() {
            Code::InvalidArgument | Code::NotFound | Code::OutOfRange | Code::ResourceExhausted => true,
            Code::FailedPrecondition => true,
            // Refusals without a code of their own; transport failures have it too.
            Code::Unknown => status.message().starts_with("etcdserver: "),
            _ => false,
        };
        if certain {
            Self::Refused(text)
        } else {
            Self::Unknown(text)
        }
    }
}

/// One request of one client.
#[derive(Debug, Clone)]
pub struct Operation {
    pub client: String,
    pub member: &'static str,
    pub called: Duration,
    /// `None`: nobody waited for it to the end.
    pub returned: Option<Duration>,
    pub request: Request,
    pub outcome: Outcome,
}

/// What a watcher was told, from its creation to its end.
#[derive(Debug, Clone)]
pub struct WatchSession {
    pub client: String,
    pub member: &'static str,
    pub opened: Duration,
    pub create: WatchCreateRequest,
    /// In order, with the time of arrival.
    pub responses: Vec<(Duration, WatchResponse)>,
    pub ended: Option<String>,
    /// Watches everything: what it saw is what the others are measured by.
    pub recorder: bool,
}

#[derive(Debug, Default)]
struct Records {
    operations: Vec<Operation>,
    sessions: Vec<WatchSession>,
}

/// Shared by all clients of a world; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct History(Arc<Mutex<Records>>);

impl History {
    /// Records the call; the number is for [`History::finish`].
    pub fn begin(&self, client: &str, member: &'static str, request: Request) -> usize {
        self.with(|records| {
            records.operations.push(Operation {
                client: client.to_owned(),
                member,
                called: now(),
                returned: None,
                request,
                outcome: Outcome::Unknown("not answered yet".to_owned()),
            });
            records.operations.len() - 1
        })
    }

    /// Records the return.
    pub fn finish(&self, operation: usize, outcome: Outcome) {
        self.with(|records| {
            // A run that broke off has taken its records already.
            if let Some(operation) = records.operations.get_mut(operation) {
                operation.returned = Some(now());
                operation.outcome = outcome;
            }
        });
    }

    /// Records a watcher; the number is for [`History::heard`] and [`History::ended`].
    pub fn watching(
        &self,
        client: &str,
        member: &'static str,
        create: WatchCreateRequest,
        recorder: bool,
    ) -> usize {
        self.with(|records| {
            records.sessions.push(WatchSession {
                client: client.to_owned(),
                member,
                opened: now(),
                create,
                responses: Vec::new(),
                ended: None,
                recorder,
            });
            records.sessions.len() - 1
        })
    }

    pub fn heard(&self, session: usize, response: WatchResponse) {
        self.with(|records| {
            if let Some(session) = records.sessions.get_mut(session) {
                session.responses.push((now(), response));
            }
        });
    }

    pub fn ended(&self, session: usize, why: String) {
        self.with(|records| {
            if let Some(session) = records.sessions.get_mut(session) {
                session.ended = Some(why);
            }
        });
    }

    /// How many operations and watchers there are.
    pub fn sizes(&self) -> (usize, usize) {
        self.with(|records| (records.operations.len(), records.sessions.len()))
    }

    /// Everything recorded so far, in the order of calls.
    pub fn take(&self) -> (Vec<Operation>, Vec<WatchSession>) {
        self.with(|records| {
            (
                std::mem::take(&mut records.operations),
                std::mem::take(&mut records.sessions),
            )
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut Records) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// When real time began to count.
static BEGUN: OnceLock<Instant> = OnceLock::new();

/// From now on, in a program that simulates nothing, times are real ones.
pub fn count_real_time() {
    BEGUN.get_or_init(Instant::now);
}

/// Simulated time since the world began.
pub fn now() -> Duration {
    turmoil::sim_elapsed()
        .or_else(|| BEGUN.get().map(Instant::elapsed))
        .unwrap_or_default()
}
