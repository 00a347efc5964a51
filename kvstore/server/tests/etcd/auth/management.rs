//! Enabling, disabling, users and roles.

use super::client::{Client, DENIED, FAILED, NOBODY, config, guarded, refused, runtime};
use crate::harness::{Node, put_soon};
use kvstore_server::{DataDir, MemberConfig};
use kvstore_storage::RocksOptions;
use proto::authpb::permission::Type;
use proto::etcdserverpb::{
    AuthRoleGetRequest, AuthRoleListRequest, AuthStatusRequest, AuthUserAddRequest, AuthUserGetRequest,
    AuthUserListRequest,
};
use tonic::{Code, Status};

const MANAGEMENT: (Code, &str) = (Code::InvalidArgument, "etcdserver: invalid auth management");

async fn status(client: &Client) -> (bool, u64) {
    let request = client.say(AuthStatusRequest {});
    let status = client.auth().auth_status(request).await.unwrap().into_inner();
    (status.enabled, status.auth_revision)
}

#[test]
fn auth_is_enabled_and_disabled_by_root() {
    runtime().block_on(async {
        let node = Node::start(&config());
        let nobody = Client::nobody(&node.address);
        put_soon(&node.address, "foo", "bar").await;
        let not_enabled = (
            Code::FailedPrecondition,
            "etcdserver: authentication is not enabled",
        );
        refused(nobody.log_in("root", "rootpw").await.map(|_| ()), not_enabled);
        assert_eq!(status(&nobody).await, (false, 1));
        let no_root = (Code::FailedPrecondition, "etcdserver: root user does not exist");
        refused(nobody.enable().await, no_root);
        nobody.disable().await.unwrap();
        nobody.set_up().await;
        // Six changes; enabling isn't one of them.
        assert_eq!(status(&nobody).await, (true, 7));
        refused(nobody.put("foo", "x").await, NOBODY);
        refused(nobody.get("foo", "").await, NOBODY);
        refused(nobody.disable().await, NOBODY);
        let alice = nobody.log_in("alice", "pw").await.unwrap();
        refused(alice.disable().await, DENIED);
        refused(nobody.log_in("alice", "wrong").await.map(|_| ()), FAILED);
        refused(nobody.log_in("nobody", "pw").await.map(|_| ()), FAILED);
        let root = nobody.log_in("root", "rootpw").await.unwrap();
        root.enable().await.unwrap();
        root.disable().await.unwrap();
        assert_eq!(status(&nobody).await, (false, 8));
        nobody.put("anything", "x").await.unwrap();
        // A token that is no longer needed does no harm.
        root.put("anything", "y").await.unwrap();
    });
}

#[test]
fn auth_outlives_a_restart_but_simple_tokens_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let config = MemberConfig {
        data_dir: DataDir::Directory(folder.path().join("member"), RocksOptions::default()),
        ..config()
    };
    runtime().block_on(async {
        let store = super::client::Guarded::start(&config).await;
        store.alice.put("foo", "before").await.unwrap();
        store.node.kill();
        let node = Node::start(&config);
        let nobody = Client::nobody(&node.address);
        let alice = nobody.log_in_soon("alice", "pw").await;
        assert_eq!(alice.get("foo", "").await.unwrap(), ["before"]);
        refused(alice.put("other", "x").await, DENIED);
        refused(nobody.put("foo", "x").await, NOBODY);
        refused(store.alice.get("foo", "").await, super::client::BAD_TOKEN);
    });
}

#[test]
fn root_can_not_lock_itself_out() {
    guarded(async |store| {
        refused(store.root.delete_user("root").await, MANAGEMENT);
        refused(store.root.revoke("root", "root").await, MANAGEMENT);
    });
}

#[test]
fn users_and_roles_are_shown_to_root_and_to_those_who_have_them() {
    guarded(async |store| {
        let user = async |client: &Client, name: &str| {
            let request = client.say(AuthUserGetRequest {
                name: name.to_owned(),
            });
            let answer = client.auth().user_get(request).await?.into_inner();
            assert!(answer.header.is_some());
            Ok::<_, Status>(answer.roles)
        };
        let role = async |client: &Client, name: &str| {
            let request = client.say(AuthRoleGetRequest {
                role: name.to_owned(),
            });
            Ok::<_, Status>(client.auth().role_get(request).await?.into_inner().perm)
        };
        assert_eq!(user(&store.root, "alice").await.unwrap(), ["role"]);
        assert_eq!(user(&store.alice, "alice").await.unwrap(), ["role"]);
        refused(user(&store.alice, "root").await, DENIED);
        refused(user(&store.nobody, "alice").await, NOBODY);
        let missing = (Code::FailedPrecondition, "etcdserver: user name not found");
        refused(user(&store.root, "bob").await, missing);
        assert_eq!(role(&store.root, "role").await.unwrap().len(), 1);
        let permissions = role(&store.alice, "role").await.unwrap();
        assert_eq!(
            (permissions[0].perm_type(), &permissions[0].key[..]),
            (Type::Readwrite, &b"foo"[..])
        );
        refused(role(&store.alice, "root").await, DENIED);
        let missing = (Code::FailedPrecondition, "etcdserver: role name not found");
        refused(role(&store.root, "root").await, missing);
        store.root.add_role("root").await.unwrap();
        let all = role(&store.root, "root").await.unwrap();
        assert_eq!((&all[0].key[..], &all[0].range_end[..]), (&b""[..], &b"\0"[..]));
        let request = store.root.say(AuthUserListRequest {});
        let users = store.root.auth().user_list(request).await.unwrap().into_inner();
        assert_eq!(users.users, ["alice", "root"]);
        let request = store.root.say(AuthRoleListRequest {});
        let roles = store.root.auth().role_list(request).await.unwrap().into_inner();
        assert_eq!(roles.roles, ["role", "root"]);
        let request = store.alice.say(AuthRoleListRequest {});
        refused(store.alice.auth().role_list(request).await, DENIED);
        let request = store.nobody.say(AuthUserListRequest {});
        refused(store.nobody.auth().user_list(request).await, NOBODY);
    });
}

#[test]
fn a_password_is_changed() {
    guarded(async |store| {
        refused(store.alice.change_password("alice", "new").await, DENIED);
        store.root.change_password("alice", "new").await.unwrap();
        refused(store.nobody.log_in("alice", "pw").await.map(|_| ()), FAILED);
        let alice = store.nobody.log_in("alice", "new").await.unwrap();
        alice.put("foo", "x").await.unwrap();
        store.root.change_password("alice", "").await.unwrap();
        refused(store.nobody.log_in("alice", "").await.map(|_| ()), FAILED);
    });
}

#[test]
fn a_user_without_a_password_and_one_too_long_are_refused() {
    guarded(async |store| {
        store.root.add_user("cert", "").await.unwrap();
        let text = "auth: authentication failed, password was given for no password user";
        refused(
            store.nobody.log_in("cert", "").await.map(|_| ()),
            (Code::Unknown, text),
        );
        let text = "bcrypt: password length exceeds 72 bytes";
        refused(
            store.root.add_user("long", &"x".repeat(73)).await,
            (Code::Unknown, text),
        );
        let empty = store.root.say(AuthUserAddRequest::default());
        refused(store.root.auth().user_add(empty).await, NOBODY);
    });
}
