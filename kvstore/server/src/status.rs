//! The one table from what went wrong to what a client of etcd sees.

use kvstore_core::{Code, Error, ReadError, Refusal};
use tonic::Status;

/// A refusal as etcd's clients know it.
pub fn refused(refusal: Refusal) -> Status {
    let code = match refusal.code() {
        Code::Unknown => tonic::Code::Unknown,
        Code::InvalidArgument => tonic::Code::InvalidArgument,
        Code::NotFound => tonic::Code::NotFound,
        Code::ResourceExhausted => tonic::Code::ResourceExhausted,
        Code::FailedPrecondition => tonic::Code::FailedPrecondition,
        Code::OutOfRange => tonic::Code::OutOfRange,
        Code::DataLoss => tonic::Code::DataLoss,
        Code::Unimplemented => tonic::Code::Unimplemented,
        Code::Unavailable => tonic::Code::Unavailable,
        Code::PermissionDenied => tonic::Code::PermissionDenied,
        Code::Unauthenticated => tonic::Code::Unauthenticated,
    };
    Status::new(code, refusal.to_string())
}

pub fn failed(error: &Error) -> Status {
    match error {
        Error::Refused(refusal) => refused(*refusal),
        Error::Read(error) => unreadable(error),
    }
}

pub fn unreadable(error: &ReadError) -> Status {
    Status::internal(error.to_string())
}

/// Whether a member could not be reached, or the connection broke while it was asked, which has no code of its own.
pub fn is_lost_on_the_way(status: &Status) -> bool {
    matches!(
        status.code(),
        tonic::Code::Unavailable | tonic::Code::Unknown | tonic::Code::Cancelled
    )
}

/// A status in one line, as Go's gRPC prints it (`status.Error`): etcd gives the reasons of refused watches so.
/// Its 3.4 client compares them, to know that a token has run out and that it's worth asking for a new one.
pub fn in_one_line(status: &Status) -> String {
    let code = match status.code() {
        // Spelled with one l there.
        tonic::Code::Cancelled => "Canceled".to_owned(),
        code => format!("{code:?}"),
    };
    format!("rpc error: code = {code} desc = {}", status.message())
}

pub fn no_leader() -> Status {
    Status::unavailable("etcdserver: no leader")
}

pub fn leader_changed() -> Status {
    Status::unavailable("etcdserver: leader changed")
}

pub fn timed_out() -> Status {
    Status::unavailable("etcdserver: request timed out")
}

pub fn transfer_timed_out() -> Status {
    Status::unavailable("etcdserver: request timed out, leader transfer took too long")
}

pub fn connection_lost() -> Status {
    Status::unavailable("etcdserver: request timed out, possibly due to connection lost")
}

pub fn leader_failed() -> Status {
    Status::unavailable("etcdserver: request timed out, possibly due to previous leader failure")
}

pub fn stopped() -> Status {
    Status::unavailable("etcdserver: server stopped")
}

pub fn not_leader() -> Status {
    Status::failed_precondition("etcdserver: not leader")
}

/// Lock: the lease ran out before its turn came.
pub fn session_expired() -> Status {
    Status::unknown("mutex: session is expired")
}

pub fn nobody_elected() -> Status {
    Status::unknown("election: no leader")
}

pub fn not_elected() -> Status {
    Status::unknown("election: not leader")
}

pub fn leader_key_missing() -> Status {
    Status::unknown("\"leader\" field must be provided")
}

pub fn not_for_learners() -> Status {
    Status::failed_precondition("etcdserver: rpc not supported for learner")
}

pub fn bad_transferee() -> Status {
    Status::failed_precondition("etcdserver: bad leader transferee")
}

pub fn unknown_method() -> Status {
    Status::unknown("etcdserver: unknown method")
}

pub fn bad_downgrade_format() -> Status {
    Status::invalid_argument("etcdserver: wrong downgrade target version format")
}

pub fn bad_downgrade_target() -> Status {
    Status::invalid_argument("etcdserver: invalid downgrade target version")
}

/// Ours: no etcd opens our folders.
pub fn no_way_back() -> Status {
    Status::failed_precondition(
        "etcdserver: members can't be downgraded in place; save a snapshot and restore it with etcdutl of the older version",
    )
}

pub fn too_large() -> Status {
    Status::invalid_argument("etcdserver: request is too large")
}

pub fn too_many_requests() -> Status {
    Status::resource_exhausted("etcdserver: too many requests")
}
