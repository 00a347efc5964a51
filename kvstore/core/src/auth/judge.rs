//! Whether a request may go ahead (etcd `server/etcdserver/apply/auth.go`).

use super::record::AuthState;
use super::rights::Rights;
use crate::command::Command;
use crate::key_range::KeyRange;
use crate::lease;
use crate::read::Read;
use crate::refusal::{Error, Refusal};
use bytes::Bytes;
use proto::etcdserverpb::{
    DeleteRangeRequest, PutRequest, RangeRequest, RequestHeader, RequestOp, TxnRequest, request_op,
};
use std::sync::Arc;

/// Who asks, as a request's header says it. Without a name: nobody in particular.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    pub username: String,
    /// The auth revision that the request was admitted at; 0 for nobody.
    pub revision: u64,
}

impl From<&RequestHeader> for Identity {
    fn from(header: &RequestHeader) -> Self {
        Self {
            username: header.username.clone(),
            revision: header.auth_revision,
        }
    }
}

/// What one identity may do while auth is enabled. Made by [`super::RightsCache::judge`].
#[derive(Debug, Clone)]
pub struct Judge {
    pub(super) current: AuthState,
    pub(super) identity: Identity,
    /// `None`: there is no such user.
    pub(super) rights: Option<Arc<Rights>>,
}

impl Judge {
    /// # Errors
    /// [`Refusal::UserEmpty`], [`Refusal::UserNotFound`], [`Refusal::PermissionDenied`] for all but root.
    pub fn admin(&self) -> Result<(), Refusal> {
        if self.identity.username.is_empty() {
            return Err(Refusal::UserEmpty);
        }
        match &self.rights {
            None => Err(Refusal::UserNotFound),
            Some(rights) if rights.root() => Ok(()),
            Some(_) => Err(Refusal::PermissionDenied),
        }
    }

    /// Users may look at themselves.
    ///
    /// # Errors
    /// As [`Judge::admin`].
    pub fn see_user(&self, user: &str) -> Result<(), Refusal> {
        self.admin().or_else(|refusal| {
            if user == self.identity.username {
                Ok(())
            } else {
                Err(refusal)
            }
        })
    }

    /// Users may look at the roles they have.
    ///
    /// # Errors
    /// As [`Judge::admin`].
    pub fn see_role(&self, role: &str) -> Result<(), Refusal> {
        self.admin().or_else(|refusal| match &self.rights {
            Some(rights) if rights.has_role(role) => Ok(()),
            _ => Err(refusal),
        })
    }

    /// Whether the keys of a range may be read.
    ///
    /// # Errors
    /// [`Refusal::UserEmpty`], [`Refusal::AuthOldRevision`], [`Refusal::PermissionDenied`].
    pub fn read(&self, key: &Bytes, range_end: &Bytes) -> Result<(), Refusal> {
        self.check(key, range_end, Rights::may_read)
    }

    /// Whether the keys of a range may be written.
    ///
    /// # Errors
    /// As [`Judge::read`].
    pub fn write(&self, key: &Bytes, range_end: &Bytes) -> Result<(), Refusal> {
        self.check(key, range_end, Rights::may_write)
    }

    fn check(
        &self,
        key: &Bytes,
        range_end: &Bytes,
        may: impl FnOnce(&Rights, &KeyRange) -> bool,
    ) -> Result<(), Refusal> {
        if self.identity.revision == 0 {
            return Err(Refusal::UserEmpty);
        }
        if self.identity.revision < self.current.revision {
            return Err(Refusal::AuthOldRevision);
        }
        match &self.rights {
            Some(rights) if may(rights, &KeyRange::new(key.clone(), range_end.clone())) => Ok(()),
            _ => Err(Refusal::PermissionDenied),
        }
    }

    /// # Errors
    /// As [`Judge::read`].
    pub fn range(&self, request: &RangeRequest) -> Result<(), Refusal> {
        self.read(&request.key, &request.range_end)
    }

    /// A put needs to be allowed to write, also what its lease would take along, and to read what it asks
    /// back.
    ///
    /// # Errors
    /// As [`Judge::read`], or when the store can't be read.
    pub fn put(&self, view: &dyn Read, request: &PutRequest) -> Result<(), Error> {
        self.write(&request.key, &Bytes::new())?;
        self.lease_writes(view, request.lease)?;
        if request.prev_kv {
            self.read(&request.key, &Bytes::new())?;
        }
        Ok(())
    }

    /// # Errors
    /// As [`Judge::read`].
    pub fn delete(&self, request: &DeleteRangeRequest) -> Result<(), Refusal> {
        self.write(&request.key, &request.range_end)?;
        if request.prev_kv {
            self.read(&request.key, &request.range_end)?;
        }
        Ok(())
    }

    /// A transaction needs to be allowed everything in it, whichever way it would go.
    ///
    /// # Errors
    /// As [`Judge::read`], or when the store can't be read.
    pub fn txn(&self, view: &dyn Read, request: &TxnRequest) -> Result<(), Error> {
        for compare in &request.compare {
            self.read(&compare.key, &compare.range_end)?;
        }
        for op in request.success.iter().chain(&request.failure) {
            self.operation(view, op)?;
        }
        Ok(())
    }

    fn operation(&self, view: &dyn Read, op: &RequestOp) -> Result<(), Error> {
        match &op.request {
            Some(request_op::Request::RequestRange(request)) => self.range(request)?,
            Some(request_op::Request::RequestPut(request)) => self.put(view, request)?,
            Some(request_op::Request::RequestDeleteRange(request)) => self.delete(request)?,
            Some(request_op::Request::RequestTxn(request)) => self.txn(view, request)?,
            None => {}
        }
        Ok(())
    }

    /// Whether all keys of a lease may be written: what using, keeping or revoking it needs.
    ///
    /// # Errors
    /// As [`Judge::read`], or when the store can't be read.
    pub fn lease_writes(&self, view: &dyn Read, id: i64) -> Result<(), Error> {
        self.lease_keys(view, id, Self::write)
    }

    /// Whether all keys of a lease may be read: what seeing them, or the lease in a list, needs.
    ///
    /// # Errors
    /// As [`Judge::read`], or when the store can't be read.
    pub fn lease_reads(&self, view: &dyn Read, id: i64) -> Result<(), Error> {
        self.lease_keys(view, id, Self::read)
    }

    fn lease_keys(
        &self,
        view: &dyn Read,
        id: i64,
        check: impl Fn(&Self, &Bytes, &Bytes) -> Result<(), Refusal>,
    ) -> Result<(), Error> {
        if id == 0 || self.admin().is_ok() {
            return Ok(());
        }
        for key in lease::lease_keys(view, id)? {
            check(self, &key, &Bytes::new())?;
        }
        Ok(())
    }

    /// Whether `command` may be applied.
    ///
    /// # Errors
    /// As [`Judge::read`] and [`Judge::admin`], or when the store can't be read.
    pub fn command(&self, view: &dyn Read, command: &Command) -> Result<(), Error> {
        if let Some(request) = &command.put {
            self.put(view, request)?;
        } else if let Some(request) = &command.txn {
            self.txn(view, request)?;
        } else if let Some(request) = &command.delete_range {
            self.delete(request)?;
        } else if let Some(request) = &command.lease_revoke {
            self.lease_writes(view, request.id)?;
        } else if needs_admin(command) {
            self.admin()?;
        }
        Ok(())
    }
}

/// What only root may change. Compaction, alarms and the like are checked where they are asked for.
pub fn needs_admin(command: &Command) -> bool {
    command.auth_enable.is_some()
        || command.auth_disable.is_some()
        || command.auth_user_add.is_some()
        || command.auth_user_delete.is_some()
        || command.auth_user_change_password.is_some()
        || command.auth_user_grant_role.is_some()
        || command.auth_user_revoke_role.is_some()
        || command.auth_role_add.is_some()
        || command.auth_role_delete.is_some()
        || command.auth_role_grant_permission.is_some()
        || command.auth_role_revoke_permission.is_some()
}
