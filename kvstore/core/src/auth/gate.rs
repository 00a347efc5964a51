//! The way of commands into the state, past the judge.

use super::judge::{Identity, Judge, needs_admin};
use super::record::{self, AuthState};
use super::rights::Rights;
use crate::apply::{Applied, apply, refuse_under_alarm};
use crate::command::Command;
use crate::meta::Meta;
use crate::overlay::Overlay;
use crate::read::{Read, ReadError};
use crate::refusal::Error;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Users whose rights are kept at a time; beyond it they are all worked out anew.
const MAX_USERS: usize = 10_000;

/// The rights of users, worked out once an auth revision.
#[derive(Debug, Default)]
pub struct RightsCache {
    revision: u64,
    users: BTreeMap<String, Arc<Rights>>,
}

impl RightsCache {
    /// The judge of `identity` if its rights at `state` are here already.
    pub fn known(&self, state: AuthState, identity: &Identity) -> Option<Judge> {
        if self.revision != state.revision {
            return None;
        }
        let rights = self.users.get(&identity.username)?;
        Some(Judge {
            current: state,
            identity: identity.clone(),
            rights: Some(Arc::clone(rights)),
        })
    }

    /// The judge of `identity`; `state` is that of `view`.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn judge(
        &mut self,
        view: &dyn Read,
        state: AuthState,
        identity: Identity,
    ) -> Result<Judge, ReadError> {
        if let Some(judge) = self.known(state, &identity) {
            return Ok(judge);
        }
        let rights = Rights::of(view, &identity.username)?.map(Arc::new);
        if self.revision != state.revision || self.users.len() >= MAX_USERS {
            self.users.clear();
            self.revision = state.revision;
        }
        if let Some(rights) = &rights {
            self.users.insert(identity.username.clone(), Arc::clone(rights));
        }
        Ok(Judge {
            current: state,
            identity,
            rights,
        })
    }
}

/// Where commands are judged before they are applied. Keeps in mind how auth stands after the last one.
#[derive(Debug)]
pub struct Gate {
    state: AuthState,
    rights: RightsCache,
}

impl Gate {
    /// # Errors
    /// When the store can't be read.
    pub fn open(view: &dyn Read) -> Result<Self, ReadError> {
        Ok(Self {
            state: record::auth_state(view)?,
            rights: RightsCache::default(),
        })
    }

    /// How auth stands after the last command.
    pub fn state(&self) -> AuthState {
        self.state
    }

    /// As [`crate::apply`], if the command's sender may have it.
    ///
    /// # Errors
    /// When the store can't be read. The member must stop then.
    pub fn apply(&mut self, state: &mut Overlay<'_>, command: &Command) -> Result<Applied, ReadError> {
        if self.state.enabled {
            let identity = command.header.as_ref().map(Identity::from).unwrap_or_default();
            let judge = self.rights.judge(state, self.state, identity)?;
            let allowed = refuse_under_alarm(state, command).and_then(|()| judge.command(state, command));
            if let Err(refusal) = Error::split(allowed)? {
                return Ok(Applied {
                    reply: Err(refusal),
                    revision: Meta::read(state)?.revision,
                    events: Vec::new(),
                });
            }
        }
        let applied = apply(state, command)?;
        if needs_admin(command) {
            self.state = record::auth_state(state)?;
        }
        Ok(applied)
    }
}
