//! Whom a request comes from, and whether it may have what it asks for.

use super::jwt::Jwt;
use super::origin::Origin;
use super::passwords::Passwords;
use super::simple_tokens::{index_of, new_prefix};
use super::token_options::{AuthError, TokenOptions};
use crate::config::MemberConfig;
use crate::read_barrier::ReadBarrier;
use crate::status;
use crate::store::Store;
use kvstore_core::{Judge, Read, Refusal};
use kvstore_storage::SyncStyle;
use proto::etcdserverpb::{RangeRequest, RequestHeader};
use std::sync::Arc;
use support::Env;
use tonic::{Request, Status};

/// Who asks, as a good token or a certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub username: String,
    /// The auth revision that a token is bound to; others are judged at that of the moment.
    pub revision: Option<u64>,
}

enum Provider {
    Simple,
    Jwt(Jwt),
    None,
}

/// What tokens there are, and how passwords are hashed.
pub struct Settings {
    provider: Provider,
    client_cert_auth: bool,
    env: Env,
    passwords: Passwords,
}

impl Settings {
    /// # Errors
    /// When the settings make no sense or a key can't be read.
    pub fn new(config: &MemberConfig, env: &Env, style: SyncStyle) -> Result<Self, AuthError> {
        let provider = match TokenOptions::parse(&config.auth_token)? {
            TokenOptions::Simple => Provider::Simple,
            TokenOptions::Jwt(options) => Provider::Jwt(Jwt::new(&options, Arc::clone(&env.clock))?),
            TokenOptions::None => Provider::None,
        };
        Ok(Self {
            passwords: Passwords::new(config.bcrypt_cost, env.random.clone(), style),
            provider,
            client_cert_auth: config.client_cert_auth,
            env: env.clone(),
        })
    }
}

/// Tells who asks and judges it; cheap to clone.
#[derive(Clone)]
pub struct Access {
    settings: Arc<Settings>,
    store: Arc<Store>,
    barrier: ReadBarrier,
}

impl Access {
    pub fn new(settings: Arc<Settings>, store: Arc<Store>, barrier: ReadBarrier) -> Self {
        Self {
            settings,
            store,
            barrier,
        }
    }

    pub fn passwords(&self) -> &Passwords {
        &self.settings.passwords
    }

    /// Who sends `request`; `None` for nobody in particular, and while auth is disabled.
    ///
    /// # Errors
    /// `invalid auth token`.
    pub async fn caller_of<T>(&self, request: &Request<T>) -> Result<Option<Caller>, Status> {
        if !self.store.auth.enabled() {
            return Ok(None);
        }
        self.caller(&Origin::of(request)).await
    }

    /// As [`Access::caller_of`] for the many requests of a stream.
    ///
    /// # Errors
    /// `invalid auth token`.
    pub async fn caller(&self, origin: &Origin) -> Result<Option<Caller>, Status> {
        if !self.store.auth.enabled() {
            return Ok(None);
        }
        if let Some(token) = &origin.token {
            return match self.bearer(token).await? {
                Some(caller) => Ok(Some(caller)),
                None => Err(status::refused(Refusal::InvalidAuthToken)),
            };
        }
        let certificate = origin.certificate.as_ref();
        Ok(certificate
            .filter(|_| self.settings.client_cert_auth)
            .map(|certificate| Caller {
                username: certificate.common_name.clone(),
                revision: None,
            }))
    }

    async fn bearer(&self, token: &str) -> Result<Option<Caller>, Status> {
        Ok(match &self.settings.provider {
            Provider::None => None,
            Provider::Jwt(jwt) => jwt.check(token).map(|bearer| Caller {
                username: bearer.username,
                revision: Some(bearer.revision),
            }),
            Provider::Simple => {
                let Some(index) = index_of(token) else {
                    return Ok(None);
                };
                if index > self.store.applied.get() {
                    // Another member has given it out: catch up with what is committed by now. If this one
                    // has not heard of it then, nobody has.
                    self.barrier.wait().await?;
                }
                self.store.auth.tokens.user(token).map(|username| Caller {
                    username,
                    revision: None,
                })
            }
        })
    }

    /// The judge of what `caller` is about to read from `view`; `None` while auth is disabled. To be asked
    /// for after the view was taken.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn judge(&self, view: &dyn Read, caller: Option<&Caller>) -> Result<Option<Judge>, Status> {
        let username = caller.map(|caller| caller.username.as_str());
        let revision = caller.and_then(|caller| caller.revision);
        let judged = self.store.auth.judge(view, username, revision);
        judged.map_err(|error| status::unreadable(&error))
    }

    /// Refuses a range that `caller` may not read.
    ///
    /// # Errors
    /// `user name is empty`, `revision of auth store is old`, `permission denied`.
    pub fn check_range(
        &self,
        view: &dyn Read,
        caller: Option<&Caller>,
        request: &RangeRequest,
    ) -> Result<(), Status> {
        match self.judge(view, caller)? {
            Some(judge) => judge.range(request).map_err(status::refused),
            None => Ok(()),
        }
    }

    /// What a command says about who proposes it; it is judged when it is applied.
    ///
    /// # Errors
    /// `invalid auth token`.
    pub async fn header<T>(&self, request: &Request<T>) -> Result<Option<RequestHeader>, Status> {
        let caller = self.caller_of(request).await?;
        Ok(caller.map(|caller| RequestHeader {
            id: 0,
            auth_revision: caller.revision.unwrap_or_else(|| self.store.auth.revision()),
            username: caller.username,
        }))
    }

    /// Refuses everyone who isn't known.
    ///
    /// # Errors
    /// `user name is empty`, `invalid auth token`.
    pub async fn require_user<T>(&self, request: &Request<T>) -> Result<(), Status> {
        if self.caller_of(request).await?.is_none() && self.store.auth.enabled() {
            return Err(status::refused(Refusal::UserEmpty));
        }
        Ok(())
    }

    /// Refuses everyone but root.
    ///
    /// # Errors
    /// `user name is empty`, `invalid auth token`, `user name not found`, `permission denied`.
    pub async fn require_admin<T>(&self, request: &Request<T>) -> Result<(), Status> {
        if !self.store.auth.enabled() {
            return Ok(());
        }
        let caller = self.caller_of(request).await?;
        let view = self.store.view();
        match self.judge(&*view, caller.as_ref())? {
            Some(judge) => judge.admin().map_err(status::refused),
            None => Ok(()),
        }
    }

    /// What the entry that makes a new token known begins it with; empty when tokens are signed.
    ///
    /// # Errors
    /// When there are no tokens.
    pub fn token_prefix(&self) -> Result<String, Status> {
        match &self.settings.provider {
            Provider::Simple => Ok(new_prefix(&self.settings.env.random)),
            Provider::Jwt(_) => Ok(String::new()),
            Provider::None => Err(status::refused(Refusal::AuthFailed)),
        }
    }

    /// The token of a user who has logged in: `simple` as the log has made it, or a signed one.
    ///
    /// # Errors
    /// When there's no key to sign with.
    pub fn token(&self, simple: String, username: &str, revision: u64) -> Result<String, Status> {
        match &self.settings.provider {
            Provider::Jwt(jwt) => jwt.sign(username, revision).map_err(Status::unknown),
            Provider::Simple | Provider::None => Ok(simple),
        }
    }
}
