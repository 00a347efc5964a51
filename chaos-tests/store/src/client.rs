//! A client of the store: asks one member after the other, and records everything.

use crate::history::{Answer, History, Outcome, Request};
use proto::etcdserverpb::kv_client::KvClient;
use proto::etcdserverpb::lease_client::LeaseClient;
use proto::etcdserverpb::{LeaseKeepAliveRequest, LeaseRevokeRequest, ResponseHeader};
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;
use support::{Env, Random};
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Response, Status};

/// How long a client waits for an answer, from and to.
const PATIENCE_MS: Range<u64> = 300..1_500;

/// One client; not to be used for two requests at once.
pub struct Client {
    pub name: String,
    pub random: Random,
    env: Env,
    members: Vec<&'static str>,
    member: usize,
    channels: BTreeMap<&'static str, Channel>,
    history: History,
    patience_ms: Range<u64>,
}

impl Client {
    pub fn new(name: String, env: Env, members: &[&'static str], history: History) -> Self {
        let random = env.random.fork();
        let member = usize::try_from(random.below(0..members.len() as u64)).unwrap_or(0);
        Self {
            name,
            random,
            env,
            members: members.to_vec(),
            member,
            channels: BTreeMap::new(),
            history,
            patience_ms: PATIENCE_MS,
        }
    }

    /// Waits so long for an answer, from and to.
    pub fn with_patience_ms(self, patience_ms: Range<u64>) -> Self {
        Self { patience_ms, ..self }
    }

    pub fn history(&self) -> &History {
        &self.history
    }

    /// The member that the next request goes to.
    pub fn member(&self) -> &'static str {
        self.members[self.member]
    }

    /// Turns to any of the members.
    pub fn roam(&mut self) {
        self.member = usize::try_from(self.random.below(0..self.members.len() as u64)).unwrap_or(0);
    }

    /// A connection to the present member, kept between requests.
    pub fn channel(&mut self) -> Channel {
        let member = self.member();
        let env = &self.env;
        self.channels
            .entry(member)
            .or_insert_with(|| support::grpc_channel(env, &format!("{member}:2379"), None))
            .clone()
    }

    /// Drops the connection and turns to another member, as clients do when one doesn't answer.
    pub fn give_up(&mut self) {
        self.channels.remove(self.member());
        self.roam();
    }

    /// Asks once, and records what came of it.
    pub async fn ask(&mut self, request: Request) -> Outcome {
        let patience = Duration::from_millis(self.random.below(self.patience_ms.clone()));
        let operation = self.history.begin(&self.name, self.member(), request.clone());
        let outcome = match timeout(patience, send(self.channel(), request)).await {
            Ok(Ok((header, answer))) => Outcome::Answered {
                revision: header.map_or(0, |header| header.revision),
                answer,
            },
            Ok(Err(status)) => Outcome::of(&status),
            Err(_) => Outcome::Unknown(format!("no answer within {patience:?}")),
        };
        self.history.finish(operation, outcome.clone());
        if matches!(outcome, Outcome::Unknown(_)) {
            self.give_up();
        }
        outcome
    }

    /// Waits a while, `mean` on average.
    pub async fn think(&self, mean: Duration) {
        let most = u64::try_from(mean.as_millis()).unwrap_or(u64::MAX) * 2;
        tokio::time::sleep(Duration::from_millis(self.random.below(1..most.max(2)))).await;
    }

    /// True `percent` times of a hundred.
    pub fn chance(&self, percent: u64) -> bool {
        self.random.below(0..100) < percent
    }
}

async fn send(channel: Channel, request: Request) -> Result<(Option<ResponseHeader>, Answer), Status> {
    let mut kv = KvClient::new(channel.clone());
    let mut lease = LeaseClient::new(channel);
    Ok(match request {
        Request::Put(put) => {
            let answer = kv.put(put).await?.into_inner();
            (answer.header, Answer::Put(answer))
        }
        Request::Delete(delete) => {
            let answer = kv.delete_range(delete).await?.into_inner();
            (answer.header, Answer::Delete(answer))
        }
        Request::Txn(txn) => {
            let answer = kv.txn(txn).await?.into_inner();
            (answer.header, Answer::Txn(answer))
        }
        Request::Range(range) => {
            let answer = kv.range(range).await?.into_inner();
            (answer.header, Answer::Range(answer))
        }
        Request::Compact(compact) => (kv.compact(compact).await?.into_inner().header, Answer::Compacted),
        Request::Grant(grant) => {
            let answer = lease.lease_grant(grant).await?.into_inner();
            (answer.header, Answer::Granted(answer.ttl))
        }
        Request::Revoke(id) => {
            let answer = lease.lease_revoke(LeaseRevokeRequest { id }).await?;
            (answer.into_inner().header, Answer::Revoked)
        }
        Request::KeepAlive(id) => {
            // The stream stays open until the answer is there.
            let (sender, requests) = tokio::sync::mpsc::channel(1);
            let stream = tokio_stream::wrappers::ReceiverStream::new(requests);
            // There is room for one, and the receiver is right here.
            let _ = sender.send(LeaseKeepAliveRequest { id }).await;
            let mut answers = Response::into_inner(lease.lease_keep_alive(stream).await?);
            let answer = answers.message().await?;
            let answer = answer.ok_or_else(|| Status::unavailable("the stream ended"))?;
            (answer.header, Answer::Renewed(answer.ttl))
        }
    })
}
