//! Replies on their way from the leader to the member whose client asked.

use crate::status;
use crate::store::Reply;
use kvstore_core::{Command, Refusal, Response};
use prost::Message;
use proto::raftpb::ProposeResponse;
use tonic::Status;

pub fn encode_reply(reply: Reply, index: u64) -> ProposeResponse {
    let (refusal, response) = match reply {
        Err(refusal) => (refusal.to_string(), Vec::new()),
        Ok(response) => (
            String::new(),
            match response {
                Response::Put(response) => response.encode_to_vec(),
                Response::DeleteRange(response) => response.encode_to_vec(),
                Response::Txn(response) => response.encode_to_vec(),
                Response::Compaction(response) => response.encode_to_vec(),
                Response::LeaseGrant(response) => response.encode_to_vec(),
                Response::LeaseRevoke(response) => response.encode_to_vec(),
                Response::Alarm(response) => response.encode_to_vec(),
                Response::Authenticate(response) => response.encode_to_vec(),
                Response::Done => Vec::new(),
            },
        ),
    };
    ProposeResponse {
        refusal,
        response: response.into(),
        index,
        ..ProposeResponse::default()
    }
}

/// The reply to `command`; which kind it is follows from the command.
pub fn decode_reply(command: &Command, answer: ProposeResponse) -> Result<Reply, Status> {
    if !answer.refusal.is_empty() {
        return match Refusal::from_text(&answer.refusal) {
            Some(refusal) => Ok(Err(refusal)),
            None => Err(Status::unknown(answer.refusal)),
        };
    }
    fn parse<M: Message + Default>(
        answer: &ProposeResponse,
        wrap: fn(M) -> Response,
    ) -> Result<Reply, Status> {
        M::decode(answer.response.clone())
            .map(|message| Ok(wrap(message)))
            .map_err(|error| Status::internal(format!("the leader's reply: {error}")))
    }
    if command.put.is_some() {
        parse(&answer, Response::Put)
    } else if command.txn.is_some() {
        parse(&answer, Response::Txn)
    } else if command.delete_range.is_some() {
        parse(&answer, Response::DeleteRange)
    } else if command.compaction.is_some() {
        parse(&answer, Response::Compaction)
    } else if command.lease_grant.is_some() {
        parse(&answer, Response::LeaseGrant)
    } else if command.lease_revoke.is_some() {
        parse(&answer, Response::LeaseRevoke)
    } else if command.alarm.is_some() {
        parse(&answer, Response::Alarm)
    } else if command.authenticate.is_some() {
        parse(&answer, Response::Authenticate)
    } else {
        Ok(Ok(Response::Done))
    }
}

/// The response of the kind that the command has; anything else is a fault of ours.
macro_rules! expect_response {
    ($reply:expr, $kind:ident) => {
        match $reply.map_err($crate::status::refused)? {
            kvstore_core::Response::$kind(response) => response,
            other => return Err($crate::services::reply::mismatch(&other)),
        }
    };
}
pub(super) use expect_response;

pub(super) fn mismatch(response: &Response) -> Status {
    tracing::error!(?response, "a reply of the wrong kind");
    status::stopped()
}
