//! Watches: every event once and in order, but late.

use crate::Api;
use crate::process::Process;
use crate::request::{Answer, Call};
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream;
use http::Response;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use serde_json::json;
use std::collections::VecDeque;
use std::convert::Infallible;
use tokio::sync::watch::Receiver;

pub(crate) fn watch(api: &Api, process: &Process, call: &Call) -> Answer {
    let follower = Follower {
        api: api.clone(),
        process: process.clone(),
        call: call.clone(),
        told: call.resource_version,
        pending: VecDeque::new(),
        revisions: api.revisions(),
        slow: process.chance(process.faults().slow),
        ended: false,
    };
    let lines = stream::unfold(follower, Follower::next);
    let frames = lines.map(|line| Ok::<_, Infallible>(Frame::data(line)));
    Response::new(StreamBody::new(frames).boxed_unsync())
}

struct Follower {
    api: Api,
    process: Process,
    call: Call,
    /// Everything up to this revision is told, or in `pending`.
    told: u64,
    pending: VecDeque<Bytes>,
    revisions: Receiver<u64>,
    slow: bool,
    ended: bool,
}

impl Follower {
    async fn next(mut self) -> Option<(Bytes, Self)> {
        loop {
            if let Some(line) = self.pending.pop_front() {
                return Some((line, self));
            }
            if self.ended {
                return None;
            }
            loop {
                let upto = *self.revisions.borrow_and_update();
                if !self.api.events(self.told, &self.call).is_empty() {
                    break;
                }
                // Nothing in there is for this one: it needn't be looked at again.
                self.told = self.told.max(upto);
                self.revisions.changed().await.ok()?;
            }
            self.wait().await;
            let faults = self.process.faults();
            if self.process.chance(faults.gone) {
                self.ended = true;
                self.pending.push_back(gone());
                continue;
            }
            let events = self.api.events(self.told, &self.call);
            let count = events.len() as u64;
            // A slow one may stop at any state in between.
            let some = match self.slow && faults.slow > 0 {
                true => self.process.random().below(1..count + 1),
                false => count,
            };
            for (revision, line) in events
                .into_iter()
                .take(usize::try_from(some).unwrap_or(usize::MAX))
            {
                self.told = revision;
                self.pending.push_back(line);
            }
        }
    }

    async fn wait(&self) {
        let faults = self.process.faults();
        let longest = if self.slow { faults.stall } else { faults.latency };
        self.process.wait(longest).await;
        self.process.reach().await;
    }
}

fn gone() -> Bytes {
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "too old resource version", "reason": "Expired", "code": 410});
    Bytes::from(format!("{}\n", json!({"type": "ERROR", "object": status})))
}
