//! Applying one command to the state.

use crate::command::Command;
use crate::meta::Meta;
use crate::mutation::Mutation;
use crate::overlay::Overlay;
use crate::read::ReadError;
use crate::refusal::{Error, Refusal};
use crate::{alarm, auth, compaction, lease, meta, removed_member, txn};
use proto::etcdserverpb::{
    AlarmResponse, AlarmType, AuthenticateResponse, CompactionResponse, DeleteRangeResponse,
    LeaseGrantResponse, LeaseRevokeResponse, PutResponse, RequestOp, TxnResponse, request_op,
};
use proto::mvccpb::Event;

/// The answer to a command. Of its header only the revision is filled.
#[derive(Debug, Clone, PartialEq)]
pub enum Response {
    Put(PutResponse),
    DeleteRange(DeleteRangeResponse),
    Txn(TxnResponse),
    Compaction(CompactionResponse),
    LeaseGrant(LeaseGrantResponse),
    LeaseRevoke(LeaseRevokeResponse),
    Alarm(AlarmResponse),
    /// Its token is made by the server.
    Authenticate(AuthenticateResponse),
    /// Commands without an answer of their own.
    Done,
}

/// What a command came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    pub reply: Result<Response, Refusal>,
    /// The revision after it.
    pub revision: i64,
    /// Its events, with previous values; all of `revision`.
    pub events: Vec<Event>,
}

/// Applies `command`; a refused command changes nothing.
///
/// # Errors
/// When the store can't be read. The member must stop then: it can't know what others came to.
pub fn apply(state: &mut Overlay<'_>, command: &Command) -> Result<Applied, ReadError> {
    let (reply, events) = match Error::split(run(state, command))? {
        Ok((response, events)) => (Ok(response), events),
        Err(refusal) => (Err(refusal), Vec::new()),
    };
    Ok(Applied {
        reply,
        revision: Meta::read(state)?.revision,
        events,
    })
}

fn run(state: &mut Overlay<'_>, command: &Command) -> Result<(Response, Vec<Event>), Error> {
    refuse_under_alarm(state, command)?;
    if let Some(request) = &command.put {
        // A put by itself looks for the lease first, one in a transaction for the key: as in etcd.
        txn::check_lease(state, request)?;
        txn::check_put_state(state, request)?;
        let mut mutation = Mutation::begin(state)?;
        let response = txn::put(&mut mutation, request)?;
        return Ok((Response::Put(response), mutation.finish().1));
    }
    if let Some(request) = &command.txn {
        let (response, events) = txn::txn(state, request)?;
        return Ok((Response::Txn(response), events));
    }
    if let Some(request) = &command.delete_range {
        let mut mutation = Mutation::begin(state)?;
        let response = txn::delete_range(&mut mutation, request)?;
        return Ok((Response::DeleteRange(response), mutation.finish().1));
    }
    if let Some(request) = &command.lease_grant {
        let ttl = lease::grant(state, request.id, request.ttl)?;
        let response = LeaseGrantResponse {
            header: Some(txn::header(Meta::read(state)?.revision)),
            id: request.id,
            ttl,
            error: String::new(),
        };
        return Ok((Response::LeaseGrant(response), Vec::new()));
    }
    if let Some(request) = &command.lease_revoke {
        let events = lease::revoke(state, request.id)?;
        let response = LeaseRevokeResponse {
            header: Some(txn::header(Meta::read(state)?.revision)),
        };
        return Ok((Response::LeaseRevoke(response), events));
    }
    if let Some(request) = &command.compaction {
        compaction::compact(state, request.revision)?;
        let response = CompactionResponse {
            header: Some(txn::header(Meta::read(state)?.revision)),
        };
        return Ok((Response::Compaction(response), Vec::new()));
    }
    if let Some(request) = &command.alarm {
        let mut response = alarm::alarm(state, request)?;
        response.header = Some(txn::header(Meta::read(state)?.revision));
        return Ok((Response::Alarm(response), Vec::new()));
    }
    if command.checkpoint.is_some() {
        // It changes nothing: members only note what they hold when they come to it.
        return Ok((Response::Done, Vec::new()));
    }
    if let Some(request) = &command.cluster_member_attr_set {
        let attributes = request.member_attributes.clone().unwrap_or_default();
        // A removed member's last words may come after its removal.
        if !removed_member::is_removed_member(state, request.member_id)? {
            meta::write_member_attributes(state, request.member_id, &attributes);
        }
        return Ok((Response::Done, Vec::new()));
    }
    if let Some(response) = auth::run(state, command)? {
        return Ok((response, Vec::new()));
    }
    Err(Refusal::UnsupportedCommand.into())
}

/// A corrupt cluster takes no writes at all, a full one none that grow it (etcd
/// `applierV3Corrupt`, `applierV3Capped`). A single corrupt member is no reason: it stops by itself.
///
/// In etcd this comes before the sender's permission is looked at.
pub(crate) fn refuse_under_alarm(state: &Overlay<'_>, command: &Command) -> Result<(), Error> {
    let grows = match command {
        Command { put: Some(_), .. }
        | Command {
            lease_grant: Some(_), ..
        } => true,
        Command { txn: Some(txn), .. } => writes(&txn.success) || writes(&txn.failure),
        Command {
            delete_range: Some(_),
            ..
        }
        | Command {
            lease_revoke: Some(_),
            ..
        }
        | Command {
            compaction: Some(_), ..
        } => false,
        _ => return Ok(()),
    };
    for alarm in meta::read_alarms(state)?.alarms {
        match alarm.alarm() {
            AlarmType::Corrupt if alarm.member_id == 0 => return Err(Refusal::Corrupt.into()),
            AlarmType::Nospace if grows => return Err(Refusal::NoSpace.into()),
            _ => {}
        }
    }
    Ok(())
}

fn writes(ops: &[RequestOp]) -> bool {
    ops.iter().any(|op| match &op.request {
        Some(request_op::Request::RequestPut(_)) => true,
        Some(request_op::Request::RequestTxn(txn)) => writes(&txn.success) || writes(&txn.failure),
        _ => false,
    })
}
