//! Maintenance: status, hashes, alarms, snapshots, leader transfer.

use super::reply::expect_response;
use super::{ETCD_VERSION, STORAGE_VERSION, Shared, downgrade};
use crate::aside;
use crate::status;
use kvstore_core::{Command, Meta, ReadError, alarms, hash_kv, state_hash};
use proto::etcdserverpb::alarm_request::AlarmAction;
use proto::etcdserverpb::{
    AlarmRequest, AlarmResponse, DefragmentRequest, DefragmentResponse, DowngradeInfo, DowngradeRequest,
    DowngradeResponse, HashKvRequest, HashKvResponse, HashRequest, HashResponse, MoveLeaderRequest,
    MoveLeaderResponse, SnapshotRequest, SnapshotResponse, StatusRequest, StatusResponse, maintenance_server,
};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

/// etcd's Maintenance service.
#[derive(Clone)]
pub struct MaintenanceService {
    shared: Shared,
}

impl MaintenanceService {
    pub fn new(shared: Shared) -> Self {
        Self { shared }
    }
}

#[tonic::async_trait]
impl maintenance_server::Maintenance for MaintenanceService {
    async fn alarm(&self, request: Request<AlarmRequest>) -> Result<Response<AlarmResponse>, Status> {
        if request.get_ref().action() == AlarmAction::Get {
            self.shared.access.require_user(&request).await?;
        } else {
            self.shared.access.require_admin(&request).await?;
        }
        let request = request.into_inner();
        if request.action() == AlarmAction::Get {
            let view = self.shared.store.view();
            let raised = alarms(&*view).map_err(|error| status::unreadable(&error))?;
            let revision = Meta::read(&*view)
                .map_err(|error| status::unreadable(&error))?
                .revision;
            let wanted = raised
                .into_iter()
                .filter(|alarm| request.alarm == 0 || alarm.alarm == request.alarm);
            return Ok(Response::new(AlarmResponse {
                header: Some(self.shared.consensus.header(revision)),
                alarms: wanted.collect(),
            }));
        }
        let command = Command {
            alarm: Some(request),
            ..Command::default()
        };
        let mut response = expect_response!(self.shared.consensus.propose(&command).await?, Alarm);
        let revision = response.header.as_ref().map_or(0, |header| header.revision);
        response.header = Some(self.shared.consensus.header(revision));
        Ok(Response::new(response))
    }

    /// Answered by this member alone, with or without a quorum.
    async fn status(&self, request: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        self.shared.access.require_user(&request).await?;
        let (raft, leader) = (
            self.shared.consensus.view(),
            self.shared.consensus.leader_in_touch(),
        );
        let revision = self.shared.store.hub.revision();
        let store = &self.shared.store;
        let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        let mut errors = Vec::new();
        if leader.is_none() {
            errors.push("etcdserver: no leader".to_owned());
        }
        for alarm in alarms(&*self.shared.store.view()).map_err(|error| status::unreadable(&error))? {
            errors.push(format!(
                "memberID:{} alarm:{} ",
                alarm.member_id,
                alarm.alarm().as_str_name()
            ));
        }
        Ok(Response::new(StatusResponse {
            header: Some(self.shared.consensus.header(revision)),
            version: ETCD_VERSION.to_owned(),
            db_size: bytes(store.upkeep.file_bytes(&**store.engine())),
            leader: leader.unwrap_or(0),
            raft_index: raft.committed_index,
            raft_term: raft.term,
            raft_applied_index: self.shared.store.applied.get(),
            errors,
            db_size_in_use: bytes(store.upkeep.in_use()),
            is_learner: self.shared.consensus.is_learner(self.shared.consensus.id),
            storage_version: STORAGE_VERSION.to_owned(),
            db_size_quota: bytes(self.shared.quota.limit()),
            downgrade_info: Some(DowngradeInfo::default()),
        }))
    }

    /// The engine gives space back by itself, while it serves; this makes it hurry, and doesn't wait.
    async fn defragment(
        &self,
        request: Request<DefragmentRequest>,
    ) -> Result<Response<DefragmentResponse>, Status> {
        self.shared.access.require_admin(&request).await?;
        let begun = Instant::now();
        self.shared.reclaimer.hurry();
        let took = begun.elapsed().as_secs_f64();
        self.shared.store.metrics.state.defrag.observe(took);
        // As in etcd, without a header.
        Ok(Response::new(DefragmentResponse::default()))
    }

    /// Of the whole state, as members compare it: all that is replicated.
    async fn hash(&self, request: Request<HashRequest>) -> Result<Response<HashResponse>, Status> {
        self.shared.access.require_admin(&request).await?;
        let begun = Instant::now();
        let mut work = aside::start(&self.shared.store, |view, on_slice| {
            let revision = Meta::read(view)?.revision;
            Ok::<_, ReadError>((state_hash(view, on_slice)?, revision))
        });
        let outcome = work.result().await.ok_or_else(status::stopped)?;
        let (hash, revision) = outcome.map_err(|error| status::unreadable(&error))?;
        let took = begun.elapsed().as_secs_f64();
        self.shared.store.metrics.state.hash.observe(took);
        Ok(Response::new(HashResponse {
            header: Some(self.shared.consensus.header(revision)),
            hash: hash.ok_or_else(status::stopped)?,
        }))
    }

    async fn hash_kv(&self, request: Request<HashKvRequest>) -> Result<Response<HashKvResponse>, Status> {
        self.shared.access.require_admin(&request).await?;
        let begun = Instant::now();
        let revision = request.into_inner().revision;
        let mut work = aside::start(&self.shared.store, move |view, on_slice| {
            hash_kv(view, revision, on_slice)
        });
        let outcome = work.result().await.ok_or_else(status::stopped)?;
        let crc = outcome.map_err(|error| status::failed(&error))?;
        let crc = crc.ok_or_else(status::stopped)?;
        let took = begun.elapsed().as_secs_f64();
        let before = self.shared.store.upkeep.compaction_before(revision);
        self.shared.store.metrics.state.hash_at_revision.observe(took);
        Ok(Response::new(HashKvResponse {
            header: Some(self.shared.consensus.header(crc.current)),
            hash: crc.hash,
            compact_revision: before.unwrap_or(crc.compacted),
            hash_revision: crc.revision,
        }))
    }

    type SnapshotStream = ReceiverStream<Result<SnapshotResponse, Status>>;

    /// Any member has a snapshot to give, a learner and one without a leader too.
    async fn snapshot(
        &self,
        request: Request<SnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        self.shared.access.require_admin(&request).await?;
        let messages = self.shared.snapshots.stream(Vec::new()).await?;
        Ok(Response::new(ReceiverStream::new(messages)))
    }

    async fn move_leader(
        &self,
        request: Request<MoveLeaderRequest>,
    ) -> Result<Response<MoveLeaderResponse>, Status> {
        self.shared.access.require_admin(&request).await?;
        let target = request.into_inner().target_id;
        let consensus = &self.shared.consensus;
        if !consensus.view().is_leader {
            return Err(status::not_leader());
        }
        if !consensus.is_voter(target) {
            return Err(status::bad_transferee());
        }
        if target != consensus.id {
            consensus
                .transfer_leader(target, self.shared.election * 8)
                .await?;
        }
        Ok(Response::new(MoveLeaderResponse {
            header: Some(consensus.header(0)),
        }))
    }

    async fn downgrade(
        &self,
        request: Request<DowngradeRequest>,
    ) -> Result<Response<DowngradeResponse>, Status> {
        self.shared.access.require_admin(&request).await?;
        let answer = downgrade::answer(&self.shared, request.get_ref()).await?;
        Ok(Response::new(answer))
    }
}
