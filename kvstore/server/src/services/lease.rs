//! Lease: grants and revocations go through the log, the clock is asked of the leader.

use super::reply::expect_response;
use super::{Shared, requires_leader};
use crate::auth::Origin;
use crate::consensus::LeaderClient;
use crate::lessor::Renewal;
use crate::status;
use kvstore_core::{Command, LEASE_COST, MAX_LEASE_TTL, Refusal, lease_keys, leases};
use proto::etcdserverpb::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseLeasesRequest,
    LeaseLeasesResponse, LeaseRevokeRequest, LeaseRevokeResponse, LeaseStatus, LeaseTimeToLiveRequest,
    LeaseTimeToLiveResponse, lease_server,
};
use proto::raftpb::{LeaseRemainingRequest, LeaseRemainingResponse, LeaseRenewRequest};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// Renewals whose answers wait for the client.
const QUEUE: usize = 16;
/// How soon a renewal of a lease that is being revoked looks again.
const EXPIRING_RETRY: Duration = Duration::from_millis(20);

/// etcd's Lease service.
#[derive(Clone)]
pub struct LeaseService {
    shared: Shared,
}

impl LeaseService {
    pub fn new(shared: Shared) -> Self {
        Self { shared }
    }
}

/// Renews on the leader's clock; 0 when there is no such lease. `FAILED_PRECONDITION`: not the leader.
///
/// A quorum has to say first that this member leads: one that was replaced and doesn't know it would promise
/// time that the new leader's clock doesn't give (etcd `server/etcdserver/v3_server.go`, `ensureLeadership`).
/// Asked before the renewal, so that a leader elected meanwhile begins its clock after the client's call.
pub(super) async fn renew_here(shared: &Shared, id: i64) -> Result<i64, Status> {
    if shared.consensus.sabotage.is("renewal-not-counted") {
        return remaining_here(shared, id).map(|lease| lease.granted);
    }
    if !shared.consensus.sabotage.is("renewal-by-ex-leader") {
        shared.consensus.read_index_as_leader().await?;
    }
    loop {
        match shared.store.lessor.renew(id) {
            Renewal::Renewed(ttl) => {
                shared.store.metrics.state.leases_renewed.inc();
                return Ok(ttl);
            }
            Renewal::Missing => return Ok(0),
            Renewal::NotLeader => return Err(status::not_leader()),
            Renewal::Expiring => tokio::time::sleep(EXPIRING_RETRY).await,
        }
    }
}

/// Reads the leader's clock. `FAILED_PRECONDITION`: not the leader.
pub(super) fn remaining_here(shared: &Shared, id: i64) -> Result<LeaseRemainingResponse, Status> {
    let remaining = shared
        .store
        .lessor
        .remaining(id)
        .map_err(|_| status::not_leader())?;
    Ok(match remaining {
        None => LeaseRemainingResponse::default(),
        Some(lease) => LeaseRemainingResponse {
            found: true,
            remaining: lease.remaining,
            granted: lease.granted,
        },
    })
}

/// A lease outlives an election, half as long again, in whole seconds (etcd `server/etcdserver/server.go`,
/// `minTTL`).
fn least_ttl(election: Duration) -> i64 {
    let seconds = election.as_millis().saturating_mul(3).div_ceil(2_000);
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

async fn renew(shared: &Shared, id: i64) -> Result<i64, Status> {
    let there = |mut leader: LeaderClient| async move {
        let answer = leader.lease_renew(LeaseRenewRequest { id }).await?;
        Ok(answer.into_inner().ttl)
    };
    shared.consensus.at_leader(|| renew_here(shared, id), there).await
}

/// Renews what the client asks for, until it asks for no more or a renewal is refused.
async fn keep_alive(
    shared: &Shared,
    origin: &Origin,
    requests: &mut Streaming<LeaseKeepAliveRequest>,
    answers: &mpsc::Sender<Result<LeaseKeepAliveResponse, Status>>,
) -> Result<(), Status> {
    while let Ok(Some(request)) = requests.message().await {
        // As in etcd, the header is taken before the renewal.
        let header = shared.consensus.header(shared.store.hub.revision());
        check_renewal(shared, origin, request.id).await?;
        let answer = LeaseKeepAliveResponse {
            header: Some(header),
            id: request.id,
            ttl: renew(shared, request.id).await?,
        };
        if answers.send(Ok(answer)).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// Whether whoever keeps a lease alive may write all its keys (etcd `checkLeaseRenew`).
async fn check_renewal(shared: &Shared, origin: &Origin, id: i64) -> Result<(), Status> {
    let caller = shared.access.caller(origin).await?;
    let view = shared.store.view();
    let Some(judge) = shared.access.judge(&*view, caller.as_ref())? else {
        return Ok(());
    };
    if caller.is_none() {
        return Err(status::refused(Refusal::UserEmpty));
    }
    judge
        .lease_writes(&*view, id)
        .map_err(|error| status::failed(&error))
}

#[tonic::async_trait]
impl lease_server::Lease for LeaseService {
    async fn lease_grant(
        &self,
        request: Request<LeaseGrantRequest>,
    ) -> Result<Response<LeaseGrantResponse>, Status> {
        self.shared.check_leader(&request)?;
        self.shared.access.require_user(&request).await?;
        let mut request = request.into_inner();
        self.shared.quota.admit(LEASE_COST).await?;
        if request.ttl > MAX_LEASE_TTL {
            return Err(status::refused(Refusal::LeaseTtlTooLarge));
        }
        request.ttl = request.ttl.max(least_ttl(self.shared.election));
        while request.id == 0 {
            // Positive, as etcd's are.
            request.id = (self.shared.random.u64() >> 1).cast_signed();
        }
        let command = Command {
            lease_grant: Some(request),
            ..Command::default()
        };
        let mut response = expect_response!(self.shared.consensus.propose(&command).await?, LeaseGrant);
        let revision = response.header.as_ref().map_or(0, |header| header.revision);
        response.header = Some(self.shared.consensus.header(revision));
        Ok(Response::new(response))
    }

    async fn lease_revoke(
        &self,
        request: Request<LeaseRevokeRequest>,
    ) -> Result<Response<LeaseRevokeResponse>, Status> {
        self.shared.check_leader(&request)?;
        self.shared.access.require_user(&request).await?;
        let command = Command {
            header: self.shared.access.header(&request).await?,
            lease_revoke: Some(request.into_inner()),
            ..Command::default()
        };
        let response = expect_response!(self.shared.consensus.propose(&command).await?, LeaseRevoke);
        let revision = response.header.as_ref().map_or(0, |header| header.revision);
        Ok(Response::new(LeaseRevokeResponse {
            header: Some(self.shared.consensus.header(revision)),
        }))
    }

    type LeaseKeepAliveStream = ReceiverStream<Result<LeaseKeepAliveResponse, Status>>;

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<LeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        self.shared.check_leader(&request)?;
        let shared = self.shared.clone();
        // Auth may be enabled while the stream lives.
        let origin = Origin::of(&request);
        let needs_leader = requires_leader(&request);
        let mut requests = request.into_inner();
        let (sender, receiver) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            let end = tokio::select! {
                biased;
                () = shared.cancel.cancelled() => status::stopped(),
                () = sender.closed() => return,
                () = shared.lost_leader(needs_leader) => status::no_leader(),
                end = keep_alive(&shared, &origin, &mut requests, &sender) => match end {
                    Ok(()) => return,
                    Err(refused) => refused,
                },
            };
            // The client learns why, if it is still there.
            let _ = sender.send(Err(end)).await;
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<LeaseTimeToLiveRequest>,
    ) -> Result<Response<LeaseTimeToLiveResponse>, Status> {
        self.shared.check_leader(&request)?;
        self.shared.access.require_user(&request).await?;
        let origin = Origin::of(&request);
        let request = request.into_inner();
        let id = request.id;
        let there = |mut leader: LeaderClient| async move {
            let answer = leader.lease_remaining(LeaseRemainingRequest { id }).await?;
            Ok(answer.into_inner())
        };
        let here = || async { remaining_here(&self.shared, id) };
        let lease = self.shared.consensus.at_leader(here, there).await?;
        let mut response = LeaseTimeToLiveResponse {
            header: Some(self.shared.consensus.header(self.shared.store.hub.revision())),
            id,
            ttl: -1,
            granted_ttl: 0,
            keys: Vec::new(),
        };
        if lease.found {
            response.ttl = lease.remaining;
            response.granted_ttl = lease.granted;
            if request.keys {
                self.shared.barrier.wait().await?;
                let caller = self.shared.access.caller(&origin).await?;
                let view = self.shared.store.view();
                if let Some(judge) = self.shared.access.judge(&*view, caller.as_ref())? {
                    judge
                        .lease_reads(&*view, id)
                        .map_err(|error| status::failed(&error))?;
                }
                response.keys = lease_keys(&*view, id).map_err(|error| status::unreadable(&error))?;
            }
        }
        Ok(Response::new(response))
    }

    async fn lease_leases(
        &self,
        request: Request<LeaseLeasesRequest>,
    ) -> Result<Response<LeaseLeasesResponse>, Status> {
        self.shared.check_leader(&request)?;
        self.shared.access.require_user(&request).await?;
        let caller = self.shared.access.caller_of(&request).await?;
        let view = self.shared.store.view();
        // As in etcd, in the order of expiry; only the leader knows it.
        let ids: Vec<i64> = match self.shared.store.lessor.by_expiry() {
            Some(ids) => ids,
            None => leases(&*view)
                .map_err(|error| status::unreadable(&error))?
                .into_iter()
                .map(|lease| lease.id)
                .collect(),
        };
        if let Some(judge) = self.shared.access.judge(&*view, caller.as_ref())? {
            for id in &ids {
                judge
                    .lease_reads(&*view, *id)
                    .map_err(|error| status::failed(&error))?;
            }
        }
        Ok(Response::new(LeaseLeasesResponse {
            header: Some(self.shared.consensus.header(self.shared.store.hub.revision())),
            leases: ids.into_iter().map(|id| LeaseStatus { id }).collect(),
        }))
    }
}
