//! Cluster: who the members are, and changes of that.

use super::Shared;
use crate::membership::{Change, Changes, parse_peer_urls};
use crate::status;
use proto::etcdserverpb::{
    Member, MemberAddRequest, MemberAddResponse, MemberListRequest, MemberListResponse, MemberPromoteRequest,
    MemberPromoteResponse, MemberRemoveRequest, MemberRemoveResponse, MemberUpdateRequest,
    MemberUpdateResponse, ResponseHeader, cluster_server,
};
use tonic::{Request, Response, Status};

/// etcd's Cluster service.
#[derive(Clone)]
pub struct ClusterService {
    shared: Shared,
    changes: Changes,
}

impl ClusterService {
    pub fn new(shared: Shared, changes: Changes) -> Self {
        Self { shared, changes }
    }

    /// etcd leaves the revision of these headers 0.
    fn header(&self) -> Option<ResponseHeader> {
        Some(self.shared.consensus.header(0))
    }

    fn members(&self) -> Result<Vec<Member>, Status> {
        Ok(self.shared.consensus.roster()?.listed())
    }

    /// The members after the change.
    async fn change(&self, change: Change) -> Result<Vec<Member>, Status> {
        self.changes.request(&change).await?.map_err(status::refused)?;
        self.members()
    }
}

#[tonic::async_trait]
impl cluster_server::Cluster for ClusterService {
    async fn member_list(
        &self,
        request: Request<MemberListRequest>,
    ) -> Result<Response<MemberListResponse>, Status> {
        self.shared.access.require_user(&request).await?;
        if request.get_ref().linearizable {
            self.shared.check_voter()?;
            self.shared.barrier.wait().await?;
        }
        Ok(Response::new(MemberListResponse {
            header: self.header(),
            members: self.members()?,
        }))
    }

    async fn member_add(
        &self,
        request: Request<MemberAddRequest>,
    ) -> Result<Response<MemberAddResponse>, Status> {
        self.shared.access.require_admin(&request).await?;
        let request = request.into_inner();
        let peer_urls = parse_peer_urls(&request.peer_ur_ls).map_err(status::refused)?;
        let member = Member {
            id: self.changes.new_id(),
            peer_ur_ls: peer_urls.clone(),
            is_learner: request.is_learner,
            ..Member::default()
        };
        let change = Change::Add {
            id: member.id,
            peer_urls,
            learner: request.is_learner,
        };
        let members = self.change(change).await?;
        Ok(Response::new(MemberAddResponse {
            header: self.header(),
            member: Some(member),
            members,
        }))
    }

    async fn member_remove(
        &self,
        request: Request<MemberRemoveRequest>,
    ) -> Result<Response<MemberRemoveResponse>, Status> {
        self.shared.access.require_admin(&request).await?;
        let id = request.into_inner().id;
        let members = self.change(Change::Remove { id }).await?;
        Ok(Response::new(MemberRemoveResponse {
            header: self.header(),
            members,
        }))
    }

    async fn member_update(
        &self,
        request: Request<MemberUpdateRequest>,
    ) -> Result<Response<MemberUpdateResponse>, Status> {
        self.shared.access.require_admin(&request).await?;
        let request = request.into_inner();
        let peer_urls = parse_peer_urls(&request.peer_ur_ls).map_err(status::refused)?;
        let change = Change::Update {
            id: request.id,
            peer_urls,
        };
        let members = self.change(change).await?;
        Ok(Response::new(MemberUpdateResponse {
            header: self.header(),
            members,
        }))
    }

    async fn member_promote(
        &self,
        request: Request<MemberPromoteRequest>,
    ) -> Result<Response<MemberPromoteResponse>, Status> {
        self.shared.access.require_admin(&request).await?;
        let id = request.into_inner().id;
        let members = self.change(Change::Promote { id }).await?;
        Ok(Response::new(MemberPromoteResponse {
            header: self.header(),
            members,
        }))
    }
}
