//! Users and roles as records of the state.

use crate::overlay::Overlay;
use crate::read::{Batch, Read, ReadError, Space};
use bytes::Bytes;
use prost::Message;
use proto::authpb::Role;
use proto::raftpb;

/// A user as it is stored; its password is a bcrypt hash.
pub use proto::authpb::User;

/// The layout of all auth records.
const FORMAT: u32 = 1;

const STATE: &[u8] = b"auth/state";
const USER: &[u8] = b"auth/user/";
const ROLE: &[u8] = b"auth/role/";

/// Users, roles, and how auth stands: all that is kept of it.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptAuth {
    pub state: AuthState,
    /// Sorted by name.
    pub users: Vec<User>,
    /// Sorted by name.
    pub roles: Vec<Role>,
}

impl KeptAuth {
    /// # Errors
    /// When the store can't be read, or was written by a newer release.
    pub fn read(view: &dyn Read) -> Result<Self, ReadError> {
        let missing = |name: &String| ReadError::corrupt(Space::Meta, format!("no record of {name:?}"));
        let users = user_names(view)?;
        let users = users
            .iter()
            .map(|name| user(view, name)?.ok_or_else(|| missing(name)));
        let roles = role_names(view)?;
        let roles = roles
            .iter()
            .map(|name| role(view, name)?.ok_or_else(|| missing(name)));
        Ok(Self {
            state: auth_state(view)?,
            users: users.collect::<Result<_, _>>()?,
            roles: roles.collect::<Result<_, _>>()?,
        })
    }
}

/// Writes all of auth into a state under construction.
pub fn restore_auth(batch: &mut Batch, kept: &KeptAuth) {
    batch.put(Space::Meta, STATE, state_record(kept.state));
    for user in &kept.users {
        batch.put(Space::Meta, [USER, &user.name].concat(), user.encode_to_vec());
    }
    for role in &kept.roles {
        batch.put(Space::Meta, [ROLE, &role.name].concat(), role.encode_to_vec());
    }
}

/// How auth stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthState {
    pub enabled: bool,
    /// Of users and roles; 1 before there are any.
    pub revision: u64,
}

/// # Errors
/// When the store can't be read, or was written by a newer release.
pub fn auth_state(view: &dyn Read) -> Result<AuthState, ReadError> {
    let Some(state) = read::<raftpb::AuthState>(view, STATE)? else {
        return Ok(AuthState {
            enabled: false,
            revision: 1,
        });
    };
    if state.format > FORMAT {
        let what = format!("auth records of the newer format {}", state.format);
        return Err(ReadError::corrupt(Space::Meta, what));
    }
    Ok(AuthState {
        enabled: state.enabled,
        revision: state.revision,
    })
}

pub fn write_state(state: &mut Overlay<'_>, auth: AuthState) {
    state.put(Space::Meta, STATE, state_record(auth));
}

fn state_record(auth: AuthState) -> Vec<u8> {
    let record = raftpb::AuthState {
        format: FORMAT,
        enabled: auth.enabled,
        revision: auth.revision,
    };
    record.encode_to_vec()
}

/// Makes the next auth revision.
pub fn bump(state: &mut Overlay<'_>) -> Result<(), ReadError> {
    let before = auth_state(state)?;
    let next = AuthState {
        revision: before.revision + 1,
        ..before
    };
    write_state(state, next);
    Ok(())
}

/// # Errors
/// When the store can't be read.
pub fn user(view: &dyn Read, name: &str) -> Result<Option<User>, ReadError> {
    read(view, &record_key(USER, name))
}

pub fn put_user(state: &mut Overlay<'_>, user: &User) {
    state.put(Space::Meta, [USER, &user.name].concat(), user.encode_to_vec());
}

pub fn delete_user(state: &mut Overlay<'_>, name: &str) {
    state.delete(Space::Meta, record_key(USER, name));
}

/// All users, sorted.
///
/// # Errors
/// When the store can't be read.
pub fn user_names(view: &dyn Read) -> Result<Vec<String>, ReadError> {
    names(view, USER)
}

pub fn role(view: &dyn Read, name: &str) -> Result<Option<Role>, ReadError> {
    read(view, &record_key(ROLE, name))
}

pub fn put_role(state: &mut Overlay<'_>, role: &Role) {
    state.put(Space::Meta, [ROLE, &role.name].concat(), role.encode_to_vec());
}

pub fn delete_role(state: &mut Overlay<'_>, name: &str) {
    state.delete(Space::Meta, record_key(ROLE, name));
}

/// All roles, sorted.
///
/// # Errors
/// When the store can't be read.
pub fn role_names(view: &dyn Read) -> Result<Vec<String>, ReadError> {
    names(view, ROLE)
}

fn record_key(prefix: &[u8], name: &str) -> Vec<u8> {
    [prefix, name.as_bytes()].concat()
}

fn read<M: Message + Default>(view: &dyn Read, key: &[u8]) -> Result<Option<M>, ReadError> {
    view.get(Space::Meta, key)?
        .map(|bytes| M::decode(bytes).map_err(|error| ReadError::corrupt(Space::Meta, error)))
        .transpose()
}

fn names(view: &dyn Read, prefix: &[u8]) -> Result<Vec<String>, ReadError> {
    let mut found = Vec::new();
    let mut cursor = view.cursor(Space::Meta);
    cursor.seek(prefix)?;
    while let Some(name) = cursor.entry().and_then(|(key, _)| key.strip_prefix(prefix)) {
        let name = std::str::from_utf8(name).map_err(|error| ReadError::corrupt(Space::Meta, error))?;
        found.push(name.to_owned());
        cursor.advance()?;
    }
    Ok(found)
}

/// The bytes of a name, as records carry them.
pub fn name_bytes(name: &str) -> Bytes {
    Bytes::copy_from_slice(name.as_bytes())
}
