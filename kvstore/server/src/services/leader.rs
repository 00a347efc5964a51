//! What followers ask of the leader on behalf of their clients.

use super::{Shared, encode_reply, lease};
use crate::status;
use bytes::Bytes;
use kvstore_core::Command;
use prost::Message as _;
use proto::raftpb::{
    CheckSoonRequest, CheckSoonResponse, LeaseRemainingRequest, LeaseRemainingResponse, LeaseRenewRequest,
    LeaseRenewResponse, ProposeManyRequest, ProposeManyResponse, ProposeRequest, ProposeResponse,
    ReadIndexRequest, ReadIndexResponse, leader_server,
};
use tonic::{Request, Response, Status};

/// The peer protocol's Leader service.
#[derive(Clone)]
pub struct LeaderService {
    shared: Shared,
}

impl LeaderService {
    pub fn new(shared: Shared) -> Self {
        Self { shared }
    }
}

fn is_alarm(command: &Bytes) -> bool {
    Command::decode(command.clone()).is_ok_and(|command| command.alarm.is_some())
}

#[tonic::async_trait]
impl leader_server::Leader for LeaderService {
    async fn propose(&self, request: Request<ProposeRequest>) -> Result<Response<ProposeResponse>, Status> {
        let command = request.into_inner().command;
        if self.shared.is_stopped() && !is_alarm(&command) {
            // The answer would come from state that is wrong. Another member will lead soon.
            return Err(status::not_leader());
        }
        let (reply, index) = self.shared.consensus.propose_as_leader(command).await?;
        Ok(Response::new(encode_reply(reply, index)))
    }

    async fn propose_many(
        &self,
        request: Request<ProposeManyRequest>,
    ) -> Result<Response<ProposeManyResponse>, Status> {
        let commands = request.into_inner().commands;
        if self.shared.is_stopped() && !commands.iter().any(is_alarm) {
            return Err(status::not_leader());
        }
        let answers = self.shared.consensus.propose_many_as_leader(commands).await?;
        let answers = answers.into_iter().map(|answer| match answer {
            Ok((reply, index)) => encode_reply(reply, index),
            Err(status) => ProposeResponse {
                code: status.code() as i32,
                message: status.message().to_owned(),
                ..ProposeResponse::default()
            },
        });
        Ok(Response::new(ProposeManyResponse {
            answers: answers.collect(),
        }))
    }

    async fn read_index(
        &self,
        _request: Request<ReadIndexRequest>,
    ) -> Result<Response<ReadIndexResponse>, Status> {
        let index = self.shared.consensus.read_index_as_leader().await?;
        Ok(Response::new(ReadIndexResponse { index }))
    }

    async fn check_soon(
        &self,
        _request: Request<CheckSoonRequest>,
    ) -> Result<Response<CheckSoonResponse>, Status> {
        if !self.shared.consensus.view().is_leader {
            return Err(status::not_leader());
        }
        self.shared.check_soon.notify_one();
        Ok(Response::new(CheckSoonResponse {}))
    }

    async fn lease_renew(
        &self,
        request: Request<LeaseRenewRequest>,
    ) -> Result<Response<LeaseRenewResponse>, Status> {
        let ttl = lease::renew_here(&self.shared, request.into_inner().id).await?;
        Ok(Response::new(LeaseRenewResponse { ttl }))
    }

    async fn lease_remaining(
        &self,
        request: Request<LeaseRemainingRequest>,
    ) -> Result<Response<LeaseRemainingResponse>, Status> {
        lease::remaining_here(&self.shared, request.into_inner().id).map(Response::new)
    }
}
