//! Debug forms of messages with passwords or tokens, without them.

use crate::authpb::User;
use crate::etcdserverpb::{
    AuthUserAddRequest, AuthUserChangePasswordRequest, AuthenticateRequest, AuthenticateResponse,
    InternalAuthenticateRequest,
};
use std::fmt::{Debug, Formatter, Result};

impl Debug for User {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("User")
            .field("name", &self.name)
            .field("roles", &self.roles)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Debug for AuthUserAddRequest {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("AuthUserAddRequest")
            .field("name", &self.name)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Debug for AuthUserChangePasswordRequest {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("AuthUserChangePasswordRequest")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Debug for AuthenticateRequest {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("AuthenticateRequest")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Debug for AuthenticateResponse {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("AuthenticateResponse")
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

impl Debug for InternalAuthenticateRequest {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("InternalAuthenticateRequest")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{AuthUserAddRequest, AuthenticateRequest, AuthenticateResponse};
    use crate::etcdserverpb::InternalRaftRequest;

    #[test]
    fn no_password_or_token_shows_in_a_debug_form() {
        let add = AuthUserAddRequest {
            name: "alice".to_owned(),
            password: "hunter2".to_owned(),
            hashed_password: "hunter2".to_owned(),
            options: None,
        };
        let command = InternalRaftRequest {
            auth_user_add: Some(add),
            ..InternalRaftRequest::default()
        };
        let authenticate = AuthenticateRequest {
            name: "alice".to_owned(),
            password: "hunter2".to_owned(),
        };
        let answer = AuthenticateResponse {
            header: None,
            token: "hunter2".to_owned(),
        };
        let shown = format!("{command:?} {authenticate:?} {answer:?}");
        assert!(shown.contains("alice") && !shown.contains("hunter2"), "{shown}");
    }
}
