//! A client that shows a token, and a store with auth enabled for it.

use crate::harness::{Node, PATIENCE, channel};
use bytes::Bytes;
use kvstore_server::{DataDir, MemberConfig};
use kvstore_storage::MemoryDisk;
use proto::authpb::{Permission, UserAddOptions, permission::Type};
use proto::etcdserverpb::auth_client::AuthClient;
use proto::etcdserverpb::cluster_client::ClusterClient;
use proto::etcdserverpb::kv_client::KvClient;
use proto::etcdserverpb::lease_client::LeaseClient;
use proto::etcdserverpb::maintenance_client::MaintenanceClient;
use proto::etcdserverpb::{
    AuthDisableRequest, AuthEnableRequest, AuthRoleAddRequest, AuthRoleGrantPermissionRequest,
    AuthRoleRevokePermissionRequest, AuthUserAddRequest, AuthUserChangePasswordRequest,
    AuthUserDeleteRequest, AuthUserGrantRoleRequest, AuthUserRevokeRoleRequest, AuthenticateRequest,
    DeleteRangeRequest, LeaseGrantRequest, PutRequest, RangeRequest,
};
use std::time::{Duration, Instant};
use test_ports::free_address;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

pub const DENIED: (Code, &str) = (Code::PermissionDenied, "etcdserver: permission denied");
pub const NOBODY: (Code, &str) = (Code::InvalidArgument, "etcdserver: user name is empty");
pub const BAD_TOKEN: (Code, &str) = (Code::Unauthenticated, "etcdserver: invalid auth token");
pub const OLD: (Code, &str) = (Code::InvalidArgument, "etcdserver: revision of auth store is old");
pub const FAILED: (Code, &str) = (
    Code::InvalidArgument,
    "etcdserver: authentication failed, invalid user ID or password",
);

/// What a refused request came to.
#[track_caller]
pub fn refused<T: std::fmt::Debug>(answer: Result<T, Status>, (code, message): (Code, &str)) {
    let status = answer.expect_err("refused");
    assert_eq!((status.code(), status.message()), (code, message));
}

/// Asks until the member can answer: it may be starting, or an election may come in between.
pub async fn answer<T, F: Future<Output = Result<T, Status>>>(ask: impl Fn() -> F) -> Result<T, Status> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ask().await {
            Err(status) if status.code() == Code::Unavailable && Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            other => return other,
        }
    }
}

/// Someone who talks to a member.
#[derive(Clone)]
pub struct Client {
    pub channel: Channel,
    pub token: Option<String>,
}

impl Client {
    pub fn nobody(address: &str) -> Self {
        Self {
            channel: channel(address),
            token: None,
        }
    }

    pub fn with_token(&self, token: &str) -> Self {
        Self {
            token: Some(token.to_owned()),
            ..self.clone()
        }
    }

    /// The same client, logged in.
    pub async fn log_in(&self, name: &str, password: &str) -> Result<Self, Status> {
        let request = AuthenticateRequest {
            name: name.to_owned(),
            password: password.to_owned(),
        };
        let answer = self.auth().authenticate(request).await?.into_inner();
        Ok(self.with_token(&answer.token))
    }

    /// Logs in as soon as the member answers.
    pub async fn log_in_soon(&self, name: &str, password: &str) -> Self {
        answer(|| self.log_in(name, password)).await.unwrap()
    }

    /// `message` with the token.
    pub fn say<M>(&self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            request.metadata_mut().insert("token", token.parse().unwrap());
        }
        request
    }

    pub fn auth(&self) -> AuthClient<Channel> {
        AuthClient::new(self.channel.clone())
    }

    pub fn kv(&self) -> KvClient<Channel> {
        KvClient::new(self.channel.clone())
    }

    pub fn lease(&self) -> LeaseClient<Channel> {
        LeaseClient::new(self.channel.clone())
    }

    pub fn maintenance(&self) -> MaintenanceClient<Channel> {
        MaintenanceClient::new(self.channel.clone())
    }

    pub fn cluster(&self) -> ClusterClient<Channel> {
        ClusterClient::new(self.channel.clone())
    }

    pub async fn put(&self, key: &str, value: &str) -> Result<(), Status> {
        self.put_leased(key, value, 0).await
    }

    pub async fn put_leased(&self, key: &str, value: &str, lease: i64) -> Result<(), Status> {
        let request = PutRequest {
            key: key.to_owned().into(),
            value: value.to_owned().into(),
            lease,
            ..PutRequest::default()
        };
        self.kv().put(self.say(request)).await.map(|_| ())
    }

    /// The values in a range.
    pub async fn get(&self, key: &str, end: &str) -> Result<Vec<Bytes>, Status> {
        let request = RangeRequest {
            key: key.to_owned().into(),
            range_end: end.to_owned().into(),
            ..RangeRequest::default()
        };
        let answer = self.kv().range(self.say(request)).await?.into_inner();
        Ok(answer.kvs.into_iter().map(|kv| kv.value).collect())
    }

    pub async fn delete(&self, key: &str, end: &str) -> Result<i64, Status> {
        let request = DeleteRangeRequest {
            key: key.to_owned().into(),
            range_end: end.to_owned().into(),
            prev_kv: false,
        };
        let answer = self.kv().delete_range(self.say(request)).await?;
        Ok(answer.into_inner().deleted)
    }

    pub async fn grant_lease(&self, ttl: i64) -> Result<i64, Status> {
        let request = LeaseGrantRequest { ttl, id: 0 };
        Ok(self.lease().lease_grant(self.say(request)).await?.into_inner().id)
    }

    /// Adds a user; without a password it has none.
    pub async fn add_user(&self, name: &str, password: &str) -> Result<(), Status> {
        let request = AuthUserAddRequest {
            name: name.to_owned(),
            password: password.to_owned(),
            options: Some(UserAddOptions {
                no_password: password.is_empty(),
            }),
            ..AuthUserAddRequest::default()
        };
        self.auth().user_add(self.say(request)).await.map(|_| ())
    }

    pub async fn delete_user(&self, name: &str) -> Result<(), Status> {
        let request = AuthUserDeleteRequest {
            name: name.to_owned(),
        };
        self.auth().user_delete(self.say(request)).await.map(|_| ())
    }

    pub async fn change_password(&self, name: &str, password: &str) -> Result<(), Status> {
        let request = AuthUserChangePasswordRequest {
            name: name.to_owned(),
            password: password.to_owned(),
            ..AuthUserChangePasswordRequest::default()
        };
        let changed = self.auth().user_change_password(self.say(request)).await;
        changed.map(|_| ())
    }

    pub async fn grant(&self, user: &str, role: &str) -> Result<(), Status> {
        let request = AuthUserGrantRoleRequest {
            user: user.to_owned(),
            role: role.to_owned(),
        };
        self.auth().user_grant_role(self.say(request)).await.map(|_| ())
    }

    pub async fn revoke(&self, user: &str, role: &str) -> Result<(), Status> {
        let request = AuthUserRevokeRoleRequest {
            name: user.to_owned(),
            role: role.to_owned(),
        };
        self.auth().user_revoke_role(self.say(request)).await.map(|_| ())
    }

    pub async fn add_role(&self, name: &str) -> Result<(), Status> {
        let request = AuthRoleAddRequest {
            name: name.to_owned(),
        };
        self.auth().role_add(self.say(request)).await.map(|_| ())
    }

    pub async fn allow(&self, role: &str, kind: Type, key: &str, end: &str) -> Result<(), Status> {
        let request = AuthRoleGrantPermissionRequest {
            name: role.to_owned(),
            perm: Some(Permission {
                perm_type: kind as i32,
                key: key.to_owned().into(),
                range_end: end.to_owned().into(),
            }),
        };
        let allowed = self.auth().role_grant_permission(self.say(request)).await;
        allowed.map(|_| ())
    }

    pub async fn forbid(&self, role: &str, key: &str, end: &str) -> Result<(), Status> {
        let request = AuthRoleRevokePermissionRequest {
            role: role.to_owned(),
            key: key.to_owned().into(),
            range_end: end.to_owned().into(),
        };
        let forbidden = self.auth().role_revoke_permission(self.say(request)).await;
        forbidden.map(|_| ())
    }

    pub async fn enable(&self) -> Result<(), Status> {
        let request = self.say(AuthEnableRequest {});
        self.auth().auth_enable(request).await.map(|_| ())
    }

    pub async fn disable(&self) -> Result<(), Status> {
        let request = self.say(AuthDisableRequest {});
        self.auth().auth_disable(request).await.map(|_| ())
    }

    /// Users `root` (password `rootpw`) and `alice` (`pw`), who may read and write `foo`; auth enabled.
    pub async fn set_up(&self) {
        self.add_user("root", "rootpw").await.unwrap();
        self.grant("root", "root").await.unwrap();
        self.add_role("role").await.unwrap();
        self.allow("role", Type::Readwrite, "foo", "").await.unwrap();
        self.add_user("alice", "pw").await.unwrap();
        self.grant("alice", "role").await.unwrap();
        self.enable().await.unwrap();
    }
}

/// Hashing passwords is cheap here.
pub fn config() -> MemberConfig {
    let disk = DataDir::Simulated(MemoryDisk::new(), Duration::ZERO);
    MemberConfig {
        bcrypt_cost: 4,
        ..MemberConfig::single("one", disk, &free_address())
    }
}

/// A store with auth enabled, and clients of it.
pub struct Guarded {
    pub node: Node,
    pub nobody: Client,
    pub root: Client,
    pub alice: Client,
}

impl Guarded {
    pub async fn start(config: &MemberConfig) -> Self {
        let node = Node::start(config);
        let nobody = Client::nobody(&node.address);
        crate::harness::put_soon(&node.address, "foo", "bar").await;
        nobody.set_up().await;
        Self {
            root: nobody.log_in("root", "rootpw").await.unwrap(),
            alice: nobody.log_in("alice", "pw").await.unwrap(),
            nobody,
            node,
        }
    }
}

/// Runs a test against a store with auth enabled.
pub fn guarded<F: Future<Output = ()>>(test: impl FnOnce(Guarded) -> F) {
    runtime().block_on(async { test(Guarded::start(&config()).await).await });
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}
