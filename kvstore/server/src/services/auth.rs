//! Auth: users, roles, logging in (etcd `server/etcdserver/v3_server.go`).
//!
//! Changes go through the log and are judged there. Questions are answered from this member's state after
//! the barrier: the same answers as etcd's, which takes them through its log too.

use super::Shared;
use super::reply::expect_response;
use crate::consensus::done;
use crate::status;
use bytes::Bytes;
use kvstore_core::{
    AuthState, Command, Judge, Read, Refusal, auth_state, credentials, role_names, role_permissions, user,
    user_names,
};
use proto::etcdserverpb::{
    AuthDisableRequest, AuthDisableResponse, AuthEnableRequest, AuthEnableResponse, AuthRoleAddRequest,
    AuthRoleAddResponse, AuthRoleDeleteRequest, AuthRoleDeleteResponse, AuthRoleGetRequest,
    AuthRoleGetResponse, AuthRoleGrantPermissionRequest, AuthRoleGrantPermissionResponse,
    AuthRoleListRequest, AuthRoleListResponse, AuthRoleRevokePermissionRequest,
    AuthRoleRevokePermissionResponse, AuthStatusRequest, AuthStatusResponse, AuthUserAddRequest,
    AuthUserAddResponse, AuthUserChangePasswordRequest, AuthUserChangePasswordResponse,
    AuthUserDeleteRequest, AuthUserDeleteResponse, AuthUserGetRequest, AuthUserGetResponse,
    AuthUserGrantRoleRequest, AuthUserGrantRoleResponse, AuthUserListRequest, AuthUserListResponse,
    AuthUserRevokeRoleRequest, AuthUserRevokeRoleResponse, AuthenticateRequest, AuthenticateResponse,
    InternalAuthenticateRequest, ResponseHeader, auth_server,
};
use std::mem::take;
use tonic::{Request, Response, Status};

/// etcd's Auth service.
#[derive(Clone)]
pub struct AuthService {
    shared: Shared,
}

impl AuthService {
    pub fn new(shared: Shared) -> Self {
        Self { shared }
    }

    fn header(&self) -> Option<ResponseHeader> {
        let revision = self.shared.store.hub.revision();
        Some(self.shared.consensus.header(revision))
    }

    /// Has a change made by the log, on behalf of whoever sent `request`.
    async fn change<T>(
        &self,
        request: Request<T>,
        fill: impl FnOnce(&mut Command, T),
    ) -> Result<Option<ResponseHeader>, Status> {
        self.shared.check_leader(&request)?;
        let mut command = Command {
            header: self.shared.access.header(&request).await?,
            ..Command::default()
        };
        fill(&mut command, request.into_inner());
        self.shared.check_size(&command)?;
        done(self.shared.consensus.propose(&command).await?)?;
        Ok(self.header())
    }

    /// Answers a question about users and roles, if whoever sent `request` may know.
    async fn ask<T, A>(
        &self,
        request: &Request<T>,
        may: impl FnOnce(&Judge) -> Result<(), Refusal>,
        answer: impl FnOnce(&dyn Read) -> Result<A, Status>,
    ) -> Result<A, Status> {
        self.shared.check_leader(request)?;
        self.shared.barrier.wait().await?;
        let caller = self.shared.access.caller_of(request).await?;
        let view = self.shared.store.view();
        if let Some(judge) = self.shared.access.judge(&*view, caller.as_ref())? {
            may(&judge).map_err(status::refused)?;
        }
        answer(&*view)
    }

    /// The password hash of a user, and the auth revision that it is of.
    fn credentials(&self, name: &str) -> Result<(Bytes, AuthState), Status> {
        let view = self.shared.store.view();
        let hash = credentials(&*view, name).map_err(|error| status::failed(&error))?;
        let state = auth_state(&*view).map_err(|error| status::unreadable(&error))?;
        Ok((hash, state))
    }
}

#[tonic::async_trait]
impl auth_server::Auth for AuthService {
    async fn auth_enable(
        &self,
        request: Request<AuthEnableRequest>,
    ) -> Result<Response<AuthEnableResponse>, Status> {
        let header = self
            .change(request, |command, request| command.auth_enable = Some(request))
            .await?;
        tracing::info!("authentication is enabled");
        Ok(Response::new(AuthEnableResponse { header }))
    }

    async fn auth_disable(
        &self,
        request: Request<AuthDisableRequest>,
    ) -> Result<Response<AuthDisableResponse>, Status> {
        let header = self
            .change(request, |command, request| command.auth_disable = Some(request))
            .await?;
        tracing::info!("authentication is disabled");
        Ok(Response::new(AuthDisableResponse { header }))
    }

    /// Anyone may ask whether to log in.
    async fn auth_status(
        &self,
        request: Request<AuthStatusRequest>,
    ) -> Result<Response<AuthStatusResponse>, Status> {
        self.shared.check_leader(&request)?;
        self.shared.barrier.wait().await?;
        let state = auth_state(&*self.shared.store.view()).map_err(|error| status::unreadable(&error))?;
        Ok(Response::new(AuthStatusResponse {
            header: self.header(),
            enabled: state.enabled,
            auth_revision: state.revision,
        }))
    }

    async fn authenticate(
        &self,
        request: Request<AuthenticateRequest>,
    ) -> Result<Response<AuthenticateResponse>, Status> {
        self.shared.check_leader(&request)?;
        let AuthenticateRequest { name, password } = request.into_inner();
        self.shared.barrier.wait().await?;
        loop {
            let (hash, checked) = self.credentials(&name)?;
            if !self
                .shared
                .access
                .passwords()
                .verify(password.clone(), hash)
                .await?
            {
                tracing::info!(user = name, "a wrong password");
                return Err(status::refused(Refusal::AuthFailed));
            }
            // The password stays here: the log only has to agree that the user may have a token.
            let command = Command {
                authenticate: Some(InternalAuthenticateRequest {
                    name: name.clone(),
                    password: String::new(),
                    simple_token: self.shared.access.token_prefix()?,
                }),
                ..Command::default()
            };
            let reply = self.shared.consensus.propose(&command).await?;
            let simple = expect_response!(reply, Authenticate).token;
            // Was the password perhaps changed after it was checked?
            if self.shared.store.auth.revision() == checked.revision {
                return Ok(Response::new(AuthenticateResponse {
                    header: self.header(),
                    token: self.shared.access.token(simple, &name, checked.revision)?,
                }));
            }
        }
    }

    async fn user_add(
        &self,
        mut request: Request<AuthUserAddRequest>,
    ) -> Result<Response<AuthUserAddResponse>, Status> {
        let message = request.get_mut();
        let password = take(&mut message.password);
        if !message.options.is_some_and(|options| options.no_password) {
            message.hashed_password = self.shared.access.passwords().hash(password).await?;
        }
        let header = self
            .change(request, |command, request| command.auth_user_add = Some(request))
            .await?;
        Ok(Response::new(AuthUserAddResponse { header }))
    }

    async fn user_get(
        &self,
        request: Request<AuthUserGetRequest>,
    ) -> Result<Response<AuthUserGetResponse>, Status> {
        let name = &request.get_ref().name;
        let found = self.ask(
            &request,
            |judge| judge.see_user(name),
            |view| user(view, name).map_err(|error| status::unreadable(&error)),
        );
        let found = found
            .await?
            .ok_or_else(|| status::refused(Refusal::UserNotFound))?;
        Ok(Response::new(AuthUserGetResponse {
            header: self.header(),
            roles: found.roles,
        }))
    }

    async fn user_list(
        &self,
        request: Request<AuthUserListRequest>,
    ) -> Result<Response<AuthUserListResponse>, Status> {
        let users = self.ask(&request, Judge::admin, |view| {
            user_names(view).map_err(|error| status::unreadable(&error))
        });
        Ok(Response::new(AuthUserListResponse {
            users: users.await?,
            header: self.header(),
        }))
    }

    async fn user_delete(
        &self,
        request: Request<AuthUserDeleteRequest>,
    ) -> Result<Response<AuthUserDeleteResponse>, Status> {
        let header = self
            .change(request, |command, request| {
                command.auth_user_delete = Some(request);
            })
            .await?;
        Ok(Response::new(AuthUserDeleteResponse { header }))
    }

    async fn user_change_password(
        &self,
        mut request: Request<AuthUserChangePasswordRequest>,
    ) -> Result<Response<AuthUserChangePasswordResponse>, Status> {
        let message = request.get_mut();
        let password = take(&mut message.password);
        // As in etcd, no password makes a user whom none lets in.
        if !password.is_empty() {
            message.hashed_password = self.shared.access.passwords().hash(password).await?;
        }
        let header = self
            .change(request, |command, request| {
                command.auth_user_change_password = Some(request);
            })
            .await?;
        Ok(Response::new(AuthUserChangePasswordResponse { header }))
    }

    async fn user_grant_role(
        &self,
        request: Request<AuthUserGrantRoleRequest>,
    ) -> Result<Response<AuthUserGrantRoleResponse>, Status> {
        let header = self
            .change(request, |command, request| {
                command.auth_user_grant_role = Some(request);
            })
            .await?;
        Ok(Response::new(AuthUserGrantRoleResponse { header }))
    }

    async fn user_revoke_role(
        &self,
        request: Request<AuthUserRevokeRoleRequest>,
    ) -> Result<Response<AuthUserRevokeRoleResponse>, Status> {
        let header = self
            .change(request, |command, request| {
                command.auth_user_revoke_role = Some(request);
            })
            .await?;
        Ok(Response::new(AuthUserRevokeRoleResponse { header }))
    }

    async fn role_add(
        &self,
        request: Request<AuthRoleAddRequest>,
    ) -> Result<Response<AuthRoleAddResponse>, Status> {
        let header = self
            .change(request, |command, request| command.auth_role_add = Some(request))
            .await?;
        Ok(Response::new(AuthRoleAddResponse { header }))
    }

    async fn role_get(
        &self,
        request: Request<AuthRoleGetRequest>,
    ) -> Result<Response<AuthRoleGetResponse>, Status> {
        let name = &request.get_ref().role;
        let permissions = self.ask(
            &request,
            |judge| judge.see_role(name),
            |view| role_permissions(view, name).map_err(|error| status::failed(&error)),
        );
        Ok(Response::new(AuthRoleGetResponse {
            perm: permissions.await?,
            header: self.header(),
        }))
    }

    async fn role_list(
        &self,
        request: Request<AuthRoleListRequest>,
    ) -> Result<Response<AuthRoleListResponse>, Status> {
        let roles = self.ask(&request, Judge::admin, |view| {
            role_names(view).map_err(|error| status::unreadable(&error))
        });
        Ok(Response::new(AuthRoleListResponse {
            roles: roles.await?,
            header: self.header(),
        }))
    }

    async fn role_delete(
        &self,
        request: Request<AuthRoleDeleteRequest>,
    ) -> Result<Response<AuthRoleDeleteResponse>, Status> {
        let header = self
            .change(request, |command, request| {
                command.auth_role_delete = Some(request);
            })
            .await?;
        Ok(Response::new(AuthRoleDeleteResponse { header }))
    }

    async fn role_grant_permission(
        &self,
        request: Request<AuthRoleGrantPermissionRequest>,
    ) -> Result<Response<AuthRoleGrantPermissionResponse>, Status> {
        let header = self
            .change(request, |command, request| {
                command.auth_role_grant_permission = Some(request);
            })
            .await?;
        Ok(Response::new(AuthRoleGrantPermissionResponse { header }))
    }

    async fn role_revoke_permission(
        &self,
        request: Request<AuthRoleRevokePermissionRequest>,
    ) -> Result<Response<AuthRoleRevokePermissionResponse>, Status> {
        let header = self
            .change(request, |command, request| {
                command.auth_role_revoke_permission = Some(request);
            })
            .await?;
        Ok(Response::new(AuthRoleRevokePermissionResponse { header }))
    }
}
