//! What one user may do, all roles together (etcd `server/auth/range_perm_cache.go`).

use super::intervals::Intervals;
use super::management::ROOT;
use super::record;
use crate::key_range::KeyRange;
use crate::read::{Read, ReadError};
use proto::authpb::{Permission, permission::Type};

/// The rights of one user at one auth revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights {
    /// Sorted.
    pub roles: Vec<String>,
    read: Intervals,
    write: Intervals,
}

impl Rights {
    /// What `user` may do; `None` when there is no such user.
    pub fn of(view: &dyn Read, user: &str) -> Result<Option<Self>, ReadError> {
        let Some(user) = record::user(view, user)? else {
            return Ok(None);
        };
        let mut granted: Vec<Permission> = Vec::new();
        for role in &user.roles {
            // A role that is granted need not exist: `root` seldom does.
            if let Some(role) = record::role(view, role)? {
                granted.extend(role.key_permission);
            }
        }
        let ranges = |kind: Type| {
            let ranges = granted.iter().filter_map(|permission| {
                let given = Type::try_from(permission.perm_type).ok()?;
                (given == kind || given == Type::Readwrite)
                    .then(|| KeyRange::new(permission.key.clone(), permission.range_end.clone()))
            });
            Intervals::new(ranges)
        };
        Ok(Some(Self {
            read: ranges(Type::Read),
            write: ranges(Type::Write),
            roles: user.roles,
        }))
    }

    /// Whether this is an administrator: all keys, and all of management.
    pub fn root(&self) -> bool {
        self.has_role(ROOT)
    }

    pub fn has_role(&self, role: &str) -> bool {
        self.roles
            .binary_search_by(|held| held.as_str().cmp(role))
            .is_ok()
    }

    pub fn may_read(&self, range: &KeyRange) -> bool {
        self.root() || self.read.covers(range)
    }

    pub fn may_write(&self, range: &KeyRange) -> bool {
        self.root() || self.write.covers(range)
    }
}
