//! Why a request was refused: etcd's codes and texts, which clients match by string.

use crate::read::ReadError;

/// The gRPC code that goes with a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    Unknown,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    FailedPrecondition,
    OutOfRange,
    DataLoss,
    Unimplemented,
    Unavailable,
    PermissionDenied,
    Unauthenticated,
}

macro_rules! refusals {
    ($($name:ident $code:ident $text:literal,)*) => {
        /// A refusal that every member comes to alike (etcd `api/v3rpc/rpctypes/error.go`).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
        pub enum Refusal {
            $(#[error($text)] $name,)*
        }

        impl Refusal {
            pub const fn code(self) -> Code {
                match self {
                    $(Self::$name => Code::$code,)*
                }
            }

            /// The refusal with this text.
            pub fn from_text(text: &str) -> Option<Self> {
                match text {
                    $($text => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

refusals! {
    EmptyKey InvalidArgument "etcdserver: key is not provided",
    KeyNotFound InvalidArgument "etcdserver: key not found",
    ValueProvided InvalidArgument "etcdserver: value is provided",
    LeaseProvided InvalidArgument "etcdserver: lease is provided",
    TooManyOps InvalidArgument "etcdserver: too many operations in txn request",
    DuplicateKey InvalidArgument "etcdserver: duplicate key given in txn request",
    InvalidSortOption InvalidArgument "etcdserver: invalid sort option",
    Compacted OutOfRange "etcdserver: mvcc: required revision has been compacted",
    FutureRevision OutOfRange "etcdserver: mvcc: required revision is a future revision",
    LeaseTtlTooLarge OutOfRange "etcdserver: too large lease TTL",
    LeaseNotFound NotFound "etcdserver: requested lease not found",
    LeaseExists FailedPrecondition "etcdserver: lease already exists",
    NoSpace ResourceExhausted "etcdserver: mvcc: database space exceeded",
    Corrupt DataLoss "etcdserver: corrupt cluster",
    MemberUrlsInvalid InvalidArgument "etcdserver: given member URLs are invalid",
    MemberNotFound NotFound "etcdserver: member not found",
    MemberExists FailedPrecondition "etcdserver: member ID already exist",
    PeerUrlExists FailedPrecondition "etcdserver: Peer URLs already exists",
    NotEnoughStarted FailedPrecondition
        "etcdserver: re-configuration failed due to not enough started members",
    NotLearner FailedPrecondition "etcdserver: can only promote a learner member",
    LearnerNotReady FailedPrecondition
        "etcdserver: can only promote a learner member which is in sync with leader",
    TooManyLearners FailedPrecondition "etcdserver: too many learner members in cluster",
    UnhealthyCluster Unavailable "etcdserver: unhealthy cluster",
    UserEmpty InvalidArgument "etcdserver: user name is empty",
    RoleEmpty InvalidArgument "etcdserver: role name is empty",
    AuthFailed InvalidArgument "etcdserver: authentication failed, invalid user ID or password",
    PermissionNotGiven InvalidArgument "etcdserver: permission not given",
    InvalidAuthManagement InvalidArgument "etcdserver: invalid auth management",
    AuthOldRevision InvalidArgument "etcdserver: revision of auth store is old",
    RootUserNotExist FailedPrecondition "etcdserver: root user does not exist",
    RootRoleNotExist FailedPrecondition "etcdserver: root user does not have root role",
    UserExists FailedPrecondition "etcdserver: user name already exists",
    UserNotFound FailedPrecondition "etcdserver: user name not found",
    RoleExists FailedPrecondition "etcdserver: role name already exists",
    RoleNotFound FailedPrecondition "etcdserver: role name not found",
    RoleNotGranted FailedPrecondition "etcdserver: role is not granted to the user",
    PermissionNotGranted FailedPrecondition "etcdserver: permission is not granted to the role",
    AuthNotEnabled FailedPrecondition "etcdserver: authentication is not enabled",
    PermissionDenied PermissionDenied "etcdserver: permission denied",
    InvalidAuthToken Unauthenticated "etcdserver: invalid auth token",
    NoPasswordUser Unknown "auth: authentication failed, password was given for no password user",
    UnsupportedCommand Unimplemented "etcdserver: unsupported command",
}

/// Either the request is at fault, or the store could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl Error {
    /// Splits off the refusal: what is left over is the member's trouble, not the client's.
    ///
    /// # Errors
    /// When reading the store failed.
    pub fn split<T>(result: Result<T, Self>) -> Result<Result<T, Refusal>, ReadError> {
        match result {
            Ok(value) => Ok(Ok(value)),
            Err(Self::Refused(refusal)) => Ok(Err(refusal)),
            Err(Self::Read(error)) => Err(error),
        }
    }
}
