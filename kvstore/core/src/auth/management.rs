//! Changes of users and roles (etcd `server/auth/store.go`).

use super::record::{self, AuthState, name_bytes};
use crate::apply::Response;
use crate::command::Command;
use crate::key_range::{End, KeyRange};
use crate::overlay::Overlay;
use crate::read::Read;
use crate::refusal::{Error, Refusal};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use proto::authpb::{Permission, Role, User, permission};
use proto::etcdserverpb::{
    AuthRoleGrantPermissionRequest, AuthRoleRevokePermissionRequest, AuthUserAddRequest,
    AuthUserChangePasswordRequest, AuthUserGrantRoleRequest, AuthUserRevokeRoleRequest, AuthenticateResponse,
};

/// The user and the role that auth can't be without.
pub const ROOT: &str = "root";

/// Runs `command` if it is one of auth; `None` for others.
///
/// # Errors
/// What etcd refuses, or when the store can't be read.
pub fn run(state: &mut Overlay<'_>, command: &Command) -> Result<Option<Response>, Error> {
    if let Some(request) = &command.authenticate {
        // The server has seen the right password; here it matters that all members agree.
        credentials(state, &request.name).map_err(|error| match error {
            Error::Refused(Refusal::NoPasswordUser) => Refusal::AuthFailed.into(),
            other => other,
        })?;
        return Ok(Some(Response::Authenticate(AuthenticateResponse::default())));
    }
    if command.auth_enable.is_some() {
        enable(state)?;
    } else if command.auth_disable.is_some() {
        disable(state)?;
    } else if let Some(request) = &command.auth_user_add {
        add_user(state, request)?;
    } else if let Some(request) = &command.auth_user_delete {
        delete_user(state, &request.name)?;
    } else if let Some(request) = &command.auth_user_change_password {
        change_password(state, request)?;
    } else if let Some(request) = &command.auth_user_grant_role {
        grant_role(state, request)?;
    } else if let Some(request) = &command.auth_user_revoke_role {
        revoke_role(state, request)?;
    } else if let Some(request) = &command.auth_role_add {
        add_role(state, &request.name)?;
    } else if let Some(request) = &command.auth_role_delete {
        delete_role(state, &request.role)?;
    } else if let Some(request) = &command.auth_role_grant_permission {
        grant_permission(state, request)?;
    } else if let Some(request) = &command.auth_role_revoke_permission {
        revoke_permission(state, request)?;
    } else {
        return Ok(None);
    }
    Ok(Some(Response::Done))
}

/// The password hash of a user who may log in with one.
///
/// # Errors
/// [`Refusal::AuthNotEnabled`], [`Refusal::AuthFailed`], [`Refusal::NoPasswordUser`]; or when the store can't
/// be read.
pub fn credentials(view: &dyn Read, name: &str) -> Result<Bytes, Error> {
    if !record::auth_state(view)?.enabled {
        return Err(Refusal::AuthNotEnabled.into());
    }
    let user = record::user(view, name)?.ok_or(Refusal::AuthFailed)?;
    if without_password(&user) {
        return Err(Refusal::NoPasswordUser.into());
    }
    Ok(user.password)
}

/// What a role may do, sorted by key.
///
/// # Errors
/// [`Refusal::RoleNotFound`], or when the store can't be read.
pub fn role_permissions(view: &dyn Read, name: &str) -> Result<Vec<Permission>, Error> {
    let role = record::role(view, name)?.ok_or(Refusal::RoleNotFound)?;
    if name == ROOT {
        return Ok(vec![Permission {
            perm_type: permission::Type::Readwrite as i32,
            key: Bytes::new(),
            range_end: Bytes::from_static(&[0]),
        }]);
    }
    Ok(role.key_permission)
}

fn enable(state: &mut Overlay<'_>) -> Result<(), Error> {
    let before = record::auth_state(state)?;
    if before.enabled {
        return Ok(());
    }
    let root = record::user(state, ROOT)?.ok_or(Refusal::RootUserNotExist)?;
    if !root.roles.iter().any(|role| role == ROOT) {
        return Err(Refusal::RootRoleNotExist.into());
    }
    let enabled = AuthState {
        enabled: true,
        ..before
    };
    record::write_state(state, enabled);
    Ok(())
}

fn disable(state: &mut Overlay<'_>) -> Result<(), Error> {
    let before = record::auth_state(state)?;
    if before.enabled {
        let disabled = AuthState {
            enabled: false,
            revision: before.revision + 1,
        };
        record::write_state(state, disabled);
    }
    Ok(())
}

fn add_user(state: &mut Overlay<'_>, request: &AuthUserAddRequest) -> Result<(), Error> {
    if request.name.is_empty() {
        return Err(Refusal::UserEmpty.into());
    }
    if record::user(state, &request.name)?.is_some() {
        return Err(Refusal::UserExists.into());
    }
    let options = request.options.unwrap_or_default();
    let password = if options.no_password {
        Bytes::new()
    } else {
        hash_of(&request.hashed_password)?
    };
    let user = User {
        name: name_bytes(&request.name),
        password,
        roles: Vec::new(),
        options: Some(options),
    };
    record::put_user(state, &user);
    Ok(record::bump(state)?)
}

fn delete_user(state: &mut Overlay<'_>, name: &str) -> Result<(), Error> {
    if name == ROOT && record::auth_state(state)?.enabled {
        return Err(Refusal::InvalidAuthManagement.into());
    }
    existing_user(state, name)?;
    record::delete_user(state, name);
    Ok(record::bump(state)?)
}

fn change_password(state: &mut Overlay<'_>, request: &AuthUserChangePasswordRequest) -> Result<(), Error> {
    let mut user = existing_user(state, &request.name)?;
    user.password = if without_password(&user) {
        Bytes::new()
    } else {
        hash_of(&request.hashed_password)?
    };
    record::put_user(state, &user);
    Ok(record::bump(state)?)
}

fn grant_role(state: &mut Overlay<'_>, request: &AuthUserGrantRoleRequest) -> Result<(), Error> {
    let mut user = existing_user(state, &request.user)?;
    if request.role != ROOT && record::role(state, &request.role)?.is_none() {
        return Err(Refusal::RoleNotFound.into());
    }
    let Err(at) = user.roles.binary_search(&request.role) else {
        // Granted again: nothing changes, the auth revision neither.
        return Ok(());
    };
    user.roles.insert(at, request.role.clone());
    record::put_user(state, &user);
    Ok(record::bump(state)?)
}

fn revoke_role(state: &mut Overlay<'_>, request: &AuthUserRevokeRoleRequest) -> Result<(), Error> {
    if request.name == ROOT && request.role == ROOT && record::auth_state(state)?.enabled {
        return Err(Refusal::InvalidAuthManagement.into());
    }
    let mut user = existing_user(state, &request.name)?;
    if !drop_role(&mut user, &request.role) {
        return Err(Refusal::RoleNotGranted.into());
    }
    record::put_user(state, &user);
    Ok(record::bump(state)?)
}

fn add_role(state: &mut Overlay<'_>, name: &str) -> Result<(), Error> {
    if name.is_empty() {
        return Err(Refusal::RoleEmpty.into());
    }
    if record::role(state, name)?.is_some() {
        return Err(Refusal::RoleExists.into());
    }
    let role = Role {
        name: name_bytes(name),
        key_permission: Vec::new(),
    };
    record::put_role(state, &role);
    Ok(record::bump(state)?)
}

/// Takes the role from everyone who has it, too.
fn delete_role(state: &mut Overlay<'_>, name: &str) -> Result<(), Error> {
    if name == ROOT && record::auth_state(state)?.enabled {
        return Err(Refusal::InvalidAuthManagement.into());
    }
    existing_role(state, name)?;
    record::delete_role(state, name);
    for holder in record::user_names(state)? {
        if let Some(mut user) = record::user(state, &holder)?
            && drop_role(&mut user, name)
        {
            record::put_user(state, &user);
        }
    }
    Ok(record::bump(state)?)
}

fn grant_permission(state: &mut Overlay<'_>, request: &AuthRoleGrantPermissionRequest) -> Result<(), Error> {
    let wanted = request.perm.clone().ok_or(Refusal::PermissionNotGiven)?;
    if !is_grantable(&wanted) {
        return Err(Refusal::InvalidAuthManagement.into());
    }
    let mut role = existing_role(state, &request.name)?;
    let held = &mut role.key_permission;
    let same = |held: &Permission| held.key == wanted.key && held.range_end == wanted.range_end;
    match held.iter_mut().find(|held| same(held)) {
        Some(held) => held.perm_type = wanted.perm_type,
        None => {
            let at = held.partition_point(|held| held.key <= wanted.key);
            held.insert(at, wanted);
        }
    }
    record::put_role(state, &role);
    Ok(record::bump(state)?)
}

fn revoke_permission(
    state: &mut Overlay<'_>,
    request: &AuthRoleRevokePermissionRequest,
) -> Result<(), Error> {
    let mut role = existing_role(state, &request.role)?;
    let before = role.key_permission.len();
    role.key_permission
        .retain(|held| held.key != request.key || held.range_end != request.range_end);
    if role.key_permission.len() == before {
        return Err(Refusal::PermissionNotGranted.into());
    }
    record::put_role(state, &role);
    Ok(record::bump(state)?)
}

fn existing_user(state: &Overlay<'_>, name: &str) -> Result<User, Error> {
    Ok(record::user(state, name)?.ok_or(Refusal::UserNotFound)?)
}

fn existing_role(state: &Overlay<'_>, name: &str) -> Result<Role, Error> {
    Ok(record::role(state, name)?.ok_or(Refusal::RoleNotFound)?)
}

fn drop_role(user: &mut User, role: &str) -> bool {
    let before = user.roles.len();
    user.roles.retain(|held| held != role);
    user.roles.len() < before
}

fn without_password(user: &User) -> bool {
    user.options.is_some_and(|options| options.no_password)
}

/// The hash that a server has made, out of its base64.
fn hash_of(hashed: &str) -> Result<Bytes, Refusal> {
    let hash = STANDARD.decode(hashed).map_err(|_| Refusal::NoPasswordUser)?;
    Ok(Bytes::from(hash))
}

/// A key, keys up to a later one, or all from a key on; never a range without keys.
fn is_grantable(permission: &Permission) -> bool {
    let range = KeyRange::new(permission.key.clone(), permission.range_end.clone());
    !range.start.is_empty() && (matches!(range.end, End::Open) || !range.is_empty())
}
