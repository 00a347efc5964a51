//! Cluster: who the members are.

use super::Shared;
use crate::status;
use kvstore_core::member_attributes;
use proto::etcdserverpb::{
    Member, MemberAddRequest, MemberAddResponse, MemberListRequest, MemberListResponse, MemberPromoteRequest,
    MemberPromoteResponse, MemberRemoveRequest, MemberRemoveResponse, MemberUpdateRequest,
    MemberUpdateResponse, cluster_server,
};
use std::collections::BTreeMap;
use tonic::{Request, Response, Status};

/// etcd's Cluster service.
#[derive(Clone)]
pub struct ClusterService {
    shared: Shared,
    /// `http` or `https`: how peer addresses are shown.
    peer_scheme: &'static str,
}

impl ClusterService {
    pub fn new(shared: Shared, peer_scheme: &'static str) -> Self {
        Self { shared, peer_scheme }
    }

    fn members(&self) -> Result<Vec<Member>, Status> {
        let published: BTreeMap<u64, _> = member_attributes(&*self.shared.store.view())
            .map_err(|error| status::unreadable(&error))?
            .into_iter()
            .collect();
        let members = self.shared.consensus.members().into_iter().map(|(id, node)| {
            let attributes = published.get(&id).cloned().unwrap_or_default();
            Member {
                id,
                name: attributes.name,
                peer_ur_ls: if node.peer_address.is_empty() {
                    Vec::new()
                } else {
                    vec![format!("{}://{}", self.peer_scheme, node.peer_address)]
                },
                client_ur_ls: attributes.client_urls,
                is_learner: !self.shared.consensus.is_voter(id),
            }
        });
        Ok(members.collect())
    }
}

fn fixed() -> Status {
    Status::unimplemented("etcdserver: the members of this cluster are fixed at its start")
}

#[tonic::async_trait]
impl cluster_server::Cluster for ClusterService {
    async fn member_list(
        &self,
        request: Request<MemberListRequest>,
    ) -> Result<Response<MemberListResponse>, Status> {
        if request.get_ref().linearizable {
            self.shared.barrier.wait().await?;
        }
        Ok(Response::new(MemberListResponse {
            // etcd leaves the revision of this header 0.
            header: Some(self.shared.consensus.header(0)),
            members: self.members()?,
        }))
    }

    async fn member_add(
        &self,
        _request: Request<MemberAddRequest>,
    ) -> Result<Response<MemberAddResponse>, Status> {
        Err(fixed())
    }

    async fn member_remove(
        &self,
        _request: Request<MemberRemoveRequest>,
    ) -> Result<Response<MemberRemoveResponse>, Status> {
        Err(fixed())
    }

    async fn member_update(
        &self,
        _request: Request<MemberUpdateRequest>,
    ) -> Result<Response<MemberUpdateResponse>, Status> {
        Err(fixed())
    }

    async fn member_promote(
        &self,
        _request: Request<MemberPromoteRequest>,
    ) -> Result<Response<MemberPromoteResponse>, Status> {
        Err(fixed())
    }
}
