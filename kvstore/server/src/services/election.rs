//! Election: one leader of a name, with a value that all can follow (etcd
//! `server/etcdserver/api/v3election`).

use super::caller::{Caller, first_created, prefix_end};
use super::contest::{self, Entry, prefix};
use crate::local::Local;
use crate::status;
use bytes::Bytes;
use proto::etcdserverpb::{PutRequest, ResponseHeader, WatchCreateRequest, request_op};
use proto::mvccpb::KeyValue;
use proto::mvccpb::event::EventType;
use proto::v3electionpb::{
    CampaignRequest, CampaignResponse, LeaderKey, LeaderRequest, LeaderResponse, ProclaimRequest,
    ProclaimResponse, ResignRequest, ResignResponse, election_server,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

/// Leaders that wait for an observer's connection.
const QUEUE: usize = 16;
/// The lease of a leader that names none, in seconds.
const SESSION_TTL: i64 = 60;

/// etcd's Election service, built on KV, Watch and Lease.
#[derive(Clone)]
pub struct ElectionService {
    services: Local,
    cancel: CancellationToken,
}

impl ElectionService {
    pub fn new(services: Local, cancel: CancellationToken) -> Self {
        Self { services, cancel }
    }
}

/// Gives the key of a leader a new value.
async fn proclaim(
    caller: &Caller,
    (key, revision, lease): (Bytes, i64, i64),
    value: Bytes,
) -> Result<Option<ResponseHeader>, Status> {
    let put = PutRequest {
        key: key.clone(),
        value,
        lease,
        ..PutRequest::default()
    };
    let put = vec![request_op::Request::RequestPut(put)];
    let answer = caller.if_created_at((key, revision), put, Vec::new()).await?;
    if !answer.succeeded {
        return Err(status::not_elected());
    }
    Ok(answer.header)
}

#[tonic::async_trait]
impl election_server::Election for ElectionService {
    async fn campaign(
        &self,
        request: Request<CampaignRequest>,
    ) -> Result<Response<CampaignResponse>, Status> {
        let (caller, request) = Caller::of(&self.services, request);
        let entry = Entry {
            name: request.name.clone(),
            lease: request.lease,
            value: request.value.clone(),
        };
        let place = contest::enter(&caller, entry).await?;
        if place
            .present
            .as_ref()
            .is_some_and(|value| *value != request.value)
        {
            let key = (place.key.clone(), place.revision, place.lease);
            if let Err(status) = proclaim(&caller, key, request.value).await {
                let _ = place.leave(&caller).await;
                return Err(status);
            }
        }
        let held = contest::hold(caller, place, status::not_elected, self.cancel.clone()).await?;
        Ok(Response::new(CampaignResponse {
            header: held.header,
            leader: Some(LeaderKey {
                name: request.name,
                key: held.key,
                rev: held.revision,
                lease: held.lease,
            }),
        }))
    }

    async fn proclaim(
        &self,
        request: Request<ProclaimRequest>,
    ) -> Result<Response<ProclaimResponse>, Status> {
        let (caller, request) = Caller::of(&self.services, request);
        let leader = request.leader.ok_or_else(status::leader_key_missing)?;
        let lease = match leader.lease {
            0 => caller.grant(SESSION_TTL).await?,
            lease => lease,
        };
        let header = proclaim(&caller, (leader.key, leader.rev, lease), request.value).await?;
        Ok(Response::new(ProclaimResponse { header }))
    }

    async fn leader(&self, request: Request<LeaderRequest>) -> Result<Response<LeaderResponse>, Status> {
        let (caller, request) = Caller::of(&self.services, request);
        let found = caller.range(first_created(&prefix(&request.name))).await?;
        let kv = found.kvs.into_iter().next().ok_or_else(status::nobody_elected)?;
        Ok(Response::new(LeaderResponse {
            header: found.header,
            kv: Some(kv),
        }))
    }

    type ObserveStream = ReceiverStream<Result<LeaderResponse, Status>>;

    async fn observe(
        &self,
        request: Request<LeaderRequest>,
    ) -> Result<Response<Self::ObserveStream>, Status> {
        let (caller, request) = Caller::of(&self.services, request);
        let (leaders, receiver) = mpsc::channel(QUEUE);
        let cancel = self.cancel.clone();
        tokio::spawn(async move {
            let prefix = prefix(&request.name);
            let observed = tokio::select! {
                biased;
                () = leaders.closed() => return,
                () = cancel.cancelled() => Err(status::stopped()),
                observed = observe(&caller, &prefix, &leaders) => observed,
            };
            if let Err(status) = observed {
                // An observer that is gone needs no reason.
                let _ = leaders.send(Err(status)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn resign(&self, request: Request<ResignRequest>) -> Result<Response<ResignResponse>, Status> {
        let (caller, request) = Caller::of(&self.services, request);
        let leader = request.leader.ok_or_else(status::leader_key_missing)?;
        let header = contest::resign(&caller, leader.key, leader.rev).await?;
        Ok(Response::new(ResignResponse { header }))
    }
}

type Leaders = mpsc::Sender<Result<LeaderResponse, Status>>;

/// Sends each leader, and each of its values, until the observer is gone.
async fn observe(caller: &Caller, prefix: &Bytes, leaders: &Leaders) -> Result<(), Status> {
    loop {
        let found = caller.range(first_created(prefix)).await?;
        let header = found.header.unwrap_or_default();
        let (kv, header) = match found.kvs.into_iter().next() {
            Some(kv) => (kv, header),
            None => match first_put(caller, prefix, header.revision).await? {
                Some(leader) => leader,
                None => continue,
            },
        };
        let (key, revision) = (kv.key.clone(), header.revision);
        if !send(leaders, header, kv).await {
            return Ok(());
        }
        follow(caller, key, revision + 1, leaders).await?;
    }
}

async fn send(leaders: &Leaders, header: ResponseHeader, kv: KeyValue) -> bool {
    let leader = LeaderResponse {
        header: Some(header),
        kv: Some(kv),
    };
    leaders.send(Ok(leader)).await.is_ok()
}

/// The first key below `prefix` that is put from `since` on; `None`: look again.
async fn first_put(
    caller: &Caller,
    prefix: &Bytes,
    since: i64,
) -> Result<Option<(KeyValue, ResponseHeader)>, Status> {
    let watched = WatchCreateRequest {
        key: prefix.clone(),
        range_end: prefix_end(prefix),
        start_revision: since,
        ..WatchCreateRequest::default()
    };
    let mut events = caller.watch(vec![watched]).await?;
    while let Some(response) = events.next().await? {
        let mut puts = response
            .events
            .into_iter()
            .filter(|event| event.r#type() == EventType::Put);
        if let Some(kv) = puts.next().and_then(|event| event.kv) {
            // The response may hold later revisions too.
            let header = ResponseHeader {
                revision: kv.mod_revision,
                ..response.header.unwrap_or_default()
            };
            return Ok(Some((kv, header)));
        }
    }
    Ok(None)
}

/// Sends the values of one leader until it is gone.
async fn follow(caller: &Caller, key: Bytes, since: i64, leaders: &Leaders) -> Result<(), Status> {
    let watched = WatchCreateRequest {
        key,
        start_revision: since,
        ..WatchCreateRequest::default()
    };
    let mut events = caller.watch(vec![watched]).await?;
    while let Some(response) = events.next().await? {
        let header = response.header.unwrap_or_default();
        for event in response.events {
            match (event.r#type(), event.kv) {
                (EventType::Put, Some(kv)) => {
                    if !send(leaders, header, kv).await {
                        return Ok(());
                    }
                }
                _ => return Ok(()),
            }
        }
    }
    Ok(())
}
