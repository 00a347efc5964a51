//! A queue of contestants, each with a key that its lease keeps: who was first is the holder (etcd
//! `client/v3/concurrency/{key,mutex,election,session}.go`).
//!
//! Differences to etcd, all on the safe side: a contestant whose key goes while it waits is told at once; a
//! lease that was made for it is kept alive while it waits; one whose client goes away leaves at once.

use super::caller::{Caller, first_created, last_created_before};
use crate::status;
use bytes::Bytes;
use proto::etcdserverpb::{
    DeleteRangeRequest, PutRequest, RangeRequest, ResponseHeader, WatchCreateRequest, request_op, response_op,
};
use proto::mvccpb::KeyValue;
use proto::mvccpb::event::EventType;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// The lease of a contestant that brings none, in seconds (etcd `defaultSessionTTL`).
const SESSION_TTL: i64 = 60;
const SESSION_RENEWAL: Duration = Duration::from_secs(20);

/// What a contestant wants.
pub struct Entry {
    pub name: Bytes,
    /// 0: one is made.
    pub lease: i64,
    pub value: Bytes,
}

/// A contestant's place.
#[derive(Debug, Clone)]
pub struct Place {
    /// The name and a `/`.
    pub prefix: Bytes,
    pub key: Bytes,
    /// When its key was created: what comes later is behind it.
    pub revision: i64,
    pub lease: i64,
    /// Whether the lease was made for it.
    own_lease: bool,
    /// The value that its key had already.
    pub present: Option<Bytes>,
    /// Of the answer that made it the holder, so far of the one that gave it its place.
    pub header: Option<ResponseHeader>,
    first: bool,
}

/// `name` and a `/`.
pub fn prefix(name: &Bytes) -> Bytes {
    [&name[..], b"/"].concat().into()
}

/// Takes a place, or finds the one that the same lease has.
pub async fn enter(caller: &Caller, entry: Entry) -> Result<Place, Status> {
    let own_lease = entry.lease == 0;
    let lease = match entry.lease {
        0 => caller.grant(SESSION_TTL).await?,
        lease => lease,
    };
    let entered = take_place(caller, &entry, lease).await;
    if entered.is_err() && own_lease {
        // It would go by itself, but later.
        let _ = caller.revoke(lease).await;
    }
    entered.map(|place| Place { own_lease, ..place })
}

async fn take_place(caller: &Caller, entry: &Entry, lease: i64) -> Result<Place, Status> {
    let prefix = prefix(&entry.name);
    let key = Bytes::from([&prefix[..], format!("{lease:x}").as_bytes()].concat());
    let put = PutRequest {
        key: key.clone(),
        value: entry.value.clone(),
        lease,
        ..PutRequest::default()
    };
    let get = RangeRequest {
        key: key.clone(),
        ..RangeRequest::default()
    };
    let holder = || request_op::Request::RequestRange(first_created(&prefix));
    let done = vec![request_op::Request::RequestPut(put), holder()];
    let otherwise = vec![request_op::Request::RequestRange(get), holder()];
    let answer = caller.if_created_at((key.clone(), 0), done, otherwise).await?;
    let now = answer.header.as_ref().map_or(0, |header| header.revision);
    let mut found = answer
        .responses
        .into_iter()
        .map(|response| match response.response {
            Some(response_op::Response::ResponseRange(range)) => range.kvs.into_iter().next(),
            _ => None,
        });
    let (present, holder) = (found.next().flatten(), found.next().flatten());
    let revision = present.as_ref().map_or(now, |kv| kv.create_revision);
    Ok(Place {
        prefix,
        key,
        revision,
        lease,
        own_lease: false,
        present: present.map(|kv| kv.value),
        header: answer.header,
        first: holder.is_none_or(|kv| kv.create_revision == revision),
    })
}

impl Place {
    /// Waits until everyone before has gone. `false`: the place was lost meanwhile, with its lease.
    async fn wait(&mut self, caller: &Caller) -> Result<bool, Status> {
        if self.first {
            return Ok(true);
        }
        loop {
            let before = caller
                .range(last_created_before(&self.prefix, self.revision))
                .await?;
            let Some(kv) = before.kvs.into_iter().next() else {
                break;
            };
            let since = before.header.map_or(0, |header| header.revision);
            if !self.wait_for_deletion(caller, kv.key, since).await? {
                return Ok(false);
            }
        }
        // The last word: whoever waited long may have waited in vain.
        let own = RangeRequest {
            key: self.key.clone(),
            ..RangeRequest::default()
        };
        let own = caller.range(own).await?;
        self.header = own.header;
        let still = |kv: &KeyValue| kv.create_revision == self.revision;
        Ok(own.kvs.first().is_some_and(still))
    }

    /// Waits until `key` may be gone; `false`: the contestant's own is.
    async fn wait_for_deletion(&self, caller: &Caller, key: Bytes, since: i64) -> Result<bool, Status> {
        let watched = [key, self.key.clone()].map(|key| WatchCreateRequest {
            key,
            start_revision: since,
            ..WatchCreateRequest::default()
        });
        let mut events = caller.watch(watched.into()).await?;
        while let Some(response) = events.next().await? {
            for event in response.events {
                if event.r#type() == EventType::Delete {
                    return Ok(event.kv.is_none_or(|kv| kv.key != self.key));
                }
            }
        }
        Ok(true)
    }

    /// Renews the lease, if it is this place's own, for ever.
    async fn keep_alive(&self, caller: &Caller) {
        loop {
            tokio::time::sleep(SESSION_RENEWAL).await;
            if self.own_lease
                && let Err(status) = caller.renew(self.lease).await
            {
                tracing::debug!(%status, "renewing the lease of a contestant");
            }
        }
    }

    /// Gives the place up.
    pub async fn leave(&self, caller: &Caller) -> Result<Option<ResponseHeader>, Status> {
        if self.own_lease {
            return caller.revoke(self.lease).await.map(|()| None);
        }
        resign(caller, self.key.clone(), self.revision).await
    }
}

/// Deletes `key`, if it is still the one created at `revision`.
pub async fn resign(caller: &Caller, key: Bytes, revision: i64) -> Result<Option<ResponseHeader>, Status> {
    let delete = DeleteRangeRequest {
        key: key.clone(),
        ..DeleteRangeRequest::default()
    };
    let delete = vec![request_op::Request::RequestDeleteRange(delete)];
    let answer = caller.if_created_at((key, revision), delete, Vec::new()).await?;
    Ok(answer.header)
}

/// Waits for `place` to be the first, in a task of its own: when the client goes away, its call is dropped,
/// but its place must still be given up.
///
/// # Errors
/// `lost` when the place was lost meanwhile.
pub async fn hold(
    caller: Caller,
    place: Place,
    lost: fn() -> Status,
    cancel: CancellationToken,
) -> Result<Place, Status> {
    let (answer, held) = oneshot::channel();
    tokio::spawn(wait_for_turn(caller, place, lost, cancel, answer));
    held.await.map_err(|_| status::stopped())?
}

async fn wait_for_turn(
    caller: Caller,
    mut place: Place,
    lost: fn() -> Status,
    cancel: CancellationToken,
    mut answer: oneshot::Sender<Result<Place, Status>>,
) {
    let seat = place.clone();
    let outcome = tokio::select! {
        biased;
        () = answer.closed() => Err(Status::cancelled("the client is gone")),
        // The member stops: its clients find their places again at another.
        () = cancel.cancelled() => {
            let _ = answer.send(Err(status::stopped()));
            return;
        }
        held = place.wait(&caller) => match held {
            Ok(true) => Ok(()),
            Ok(false) => Err(lost()),
            Err(status) => Err(status),
        },
        () = seat.keep_alive(&caller) => return,
    };
    // A client that went away in the last moment doesn't know what it holds.
    let unheard = match outcome {
        Ok(()) => answer.send(Ok(place)).is_err(),
        Err(status) => {
            let _ = answer.send(Err(status));
            true
        }
    };
    if unheard && let Err(status) = seat.leave(&caller).await {
        // The lease will end it.
        tracing::debug!(%status, "leaving a contest");
    }
}
