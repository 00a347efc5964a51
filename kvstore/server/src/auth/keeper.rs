//! How auth stands at this member, kept beside the state machine.

use super::simple_tokens::SimpleTokens;
use crate::store::Reply;
use kvstore_core::{
    AuthState, Command, Gate, Identity, Judge, Read, ReadError, Response, RightsCache, auth_state,
};
use proto::etcdserverpb::RequestHeader;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

/// The user in whose name a member acts by itself.
const ROOT: &str = "root";

/// Auth as this member knows it.
pub struct AuthKeeper {
    /// Set before the state that enables auth can be read, and unset after: whoever takes a view first and
    /// looks here then never misses that it is enabled in that view.
    enabled: AtomicBool,
    revision: AtomicU64,
    /// Where commands pass; only the state machine's task goes there.
    gate: Mutex<Gate>,
    /// Of those who read.
    rights: RwLock<RightsCache>,
    pub tokens: SimpleTokens,
}

impl AuthKeeper {
    /// # Errors
    /// When the store can't be read.
    pub fn open(view: &dyn Read, token_ttl: Duration) -> Result<Self, ReadError> {
        let gate = Gate::open(view)?;
        Ok(Self {
            enabled: AtomicBool::new(gate.state().enabled),
            revision: AtomicU64::new(gate.state().revision),
            gate: Mutex::new(gate),
            rights: RwLock::default(),
            tokens: SimpleTokens::new(token_ttl),
        })
    }

    /// Whether requests have to be looked at. May be true for a moment when it isn't so any more.
    pub fn enabled(&self) -> bool {
        self.enabled.load(Ordering::Acquire)
    }

    /// The auth revision of the last command applied.
    pub fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    /// Where commands pass on their way into the state.
    pub fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes and drops tokens as an applied command says; the entry's `index` is part of a token.
    pub fn follow(&self, command: &Command, reply: &mut Reply, index: u64) {
        match reply {
            Ok(Response::Authenticate(answer)) => {
                if let Some(request) = &command.authenticate
                    && !request.simple_token.is_empty()
                {
                    answer.token = format!("{}.{index}", request.simple_token);
                    self.tokens.assign(&answer.token, &request.name);
                }
            }
            Ok(Response::Done) => {
                if let Some(request) = &command.auth_user_delete {
                    self.tokens.drop_user(&request.name);
                } else if let Some(request) = &command.auth_user_change_password {
                    self.tokens.drop_user(&request.name);
                } else if command.auth_disable.is_some() {
                    self.tokens.clear();
                }
            }
            _ => {}
        }
    }

    /// To be called before state where auth stands so can be read.
    pub fn before(&self, state: AuthState) {
        if state.enabled {
            self.enabled.store(true, Ordering::Release);
        }
    }

    /// To be called when state where auth stands so can be read.
    pub fn after(&self, state: AuthState) {
        self.revision.store(state.revision, Ordering::Release);
        self.enabled.store(state.enabled, Ordering::Release);
    }

    /// To be called before the state is replaced by another member's: nothing is let through unseen.
    pub fn before_install(&self) {
        self.enabled.store(true, Ordering::Release);
    }

    /// Takes up replaced state. Tokens are forgotten: which of them were dropped meanwhile isn't known, and
    /// clients get new ones.
    pub fn installed(&self, view: &dyn Read) -> Result<(), ReadError> {
        let gate = Gate::open(view)?;
        let state = gate.state();
        *self.gate() = gate;
        *self.rights.write().unwrap_or_else(PoisonError::into_inner) = RightsCache::default();
        self.tokens.clear();
        self.after(state);
        Ok(())
    }

    /// The judge of a request that `view` will answer; `None` while auth is disabled. Without a revision of
    /// its own an identity has that of the view.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn judge(
        &self,
        view: &dyn Read,
        username: Option<&str>,
        revision: Option<u64>,
    ) -> Result<Option<Judge>, ReadError> {
        if !self.enabled() {
            return Ok(None);
        }
        let state = auth_state(view)?;
        if !state.enabled {
            return Ok(None);
        }
        let identity = match username {
            None => Identity::default(),
            Some(name) => Identity {
                username: name.to_owned(),
                revision: revision.unwrap_or(state.revision),
            },
        };
        let known = self
            .rights
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .known(state, &identity);
        if known.is_some() {
            return Ok(known);
        }
        let mut rights = self.rights.write().unwrap_or_else(PoisonError::into_inner);
        rights.judge(view, state, identity).map(Some)
    }

    /// The header of what a member proposes by itself, as the revocation of an expired lease.
    pub fn own_header(&self) -> Option<RequestHeader> {
        self.enabled().then(|| RequestHeader {
            id: 0,
            username: ROOT.to_owned(),
            auth_revision: self.revision(),
        })
    }
}
