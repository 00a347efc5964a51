//! The same story of users and roles told to Debian's etcd (3.4) and to ours.
//!
//! Left out is what etcd has changed since 3.4: who may ask for the status of members and maintenance, that
//! a range of a role must not be empty, that compaction needs root, and stale tokens while auth is disabled.

use super::client::{Client, config, runtime};
use crate::differential::Etcd;
use crate::harness::{Node, PATIENCE};
use proto::authpb::permission::Type;
use proto::etcdserverpb::{AuthRoleGetRequest, AuthRoleListRequest, AuthUserGetRequest, AuthUserListRequest};
use std::time::{Duration, Instant};
use support::Random;
use tonic::Status;

const SEEDS: std::ops::Range<u64> = 0..12;
const STEPS: usize = 60;
const USERS: [&str; 4] = ["root", "alice", "bob", "nobody"];
const ROLES: [&str; 4] = ["root", "r1", "r2", "none"];
const KEYS: [&str; 5] = ["a", "b", "c", "d", "\0"];
const ENDS: [&str; 5] = ["", "", "c", "e", "\0"];

#[derive(Debug, Clone)]
enum Step {
    LogIn(&'static str, &'static str),
    AddUser(&'static str),
    DeleteUser(&'static str),
    Password(&'static str, &'static str),
    AddRole(&'static str),
    DeleteRole(&'static str),
    Grant(&'static str, &'static str),
    Revoke(&'static str, &'static str),
    Allow(&'static str, Type, &'static str, &'static str),
    Forbid(&'static str, &'static str, &'static str),
    Put(&'static str),
    Get(&'static str, &'static str),
    Delete(&'static str, &'static str),
    SeeUser(&'static str),
    SeeRole(&'static str),
    List,
    Enable,
    Disable,
}

struct Generator(Random);

impl Generator {
    fn of<T: Copy, const N: usize>(&self, choices: [T; N]) -> T {
        choices[self.0.below(0..N as u64) as usize]
    }

    fn step(&self) -> Step {
        let (user, role) = (self.of(USERS), self.of(ROLES));
        let (key, end) = (self.of(KEYS), self.of(ENDS));
        let password = self.of(["pw", "pw", "pw2"]);
        // An empty range is refused only since 3.5.
        let end = if end.is_empty() || end == "\0" || end > key {
            end
        } else {
            ""
        };
        match self.0.below(0..40) {
            0..=6 => Step::LogIn(user, password),
            7..=8 => Step::AddUser(user),
            9 => Step::DeleteUser(user),
            10 => Step::Password(user, password),
            11..=12 => Step::AddRole(role),
            13 => Step::DeleteRole(role),
            14..=16 => Step::Grant(user, role),
            17 => Step::Revoke(user, role),
            18..=21 => Step::Allow(
                role,
                self.of([Type::Read, Type::Write, Type::Readwrite]),
                key,
                end,
            ),
            22 => Step::Forbid(role, key, end),
            23..=26 => Step::Put(key),
            27..=30 => Step::Get(key, end),
            31..=32 => Step::Delete(key, end),
            33 => Step::SeeUser(user),
            34 => Step::SeeRole(role),
            35 => Step::List,
            36..=38 => Step::Enable,
            _ => Step::Disable,
        }
    }
}

fn shown<T: std::fmt::Debug>(answer: Result<T, Status>) -> String {
    match answer {
        Ok(answer) => format!("{answer:?}"),
        Err(status) => format!("{:?}: {}", status.code(), status.message()),
    }
}

/// One of the two stores, with whoever logged in last.
struct Side {
    client: Client,
    root: Client,
}

impl Side {
    async fn run(&mut self, step: &Step) -> String {
        let client = &self.client;
        match *step {
            Step::LogIn(user, password) => {
                let nobody = Client {
                    token: None,
                    ..client.clone()
                };
                match nobody.log_in(user, password).await {
                    Ok(client) => {
                        self.client = client;
                        "logged in".to_owned()
                    }
                    Err(status) => shown::<()>(Err(status)),
                }
            }
            Step::AddUser(user) => shown(client.add_user(user, "pw").await),
            Step::DeleteUser(user) => shown(client.delete_user(user).await),
            Step::Password(user, password) => shown(client.change_password(user, password).await),
            Step::AddRole(role) => shown(client.add_role(role).await),
            Step::DeleteRole(role) => {
                let role = role.to_owned();
                let request = proto::etcdserverpb::AuthRoleDeleteRequest { role };
                shown(client.auth().role_delete(client.say(request)).await.map(|_| ()))
            }
            Step::Grant(user, role) => shown(client.grant(user, role).await),
            Step::Revoke(user, role) => shown(client.revoke(user, role).await),
            Step::Allow(role, kind, key, end) => shown(client.allow(role, kind, key, end).await),
            Step::Forbid(role, key, end) => shown(client.forbid(role, key, end).await),
            Step::Put(key) => shown(client.put(key, "v").await),
            Step::Get(key, end) => shown(client.get(key, end).await),
            Step::Delete(key, end) => shown(client.delete(key, end).await),
            Step::SeeUser(user) => {
                let request = AuthUserGetRequest {
                    name: user.to_owned(),
                };
                let answer = client.auth().user_get(client.say(request)).await;
                shown(answer.map(|answer| answer.into_inner().roles))
            }
            Step::SeeRole(role) => {
                let request = AuthRoleGetRequest {
                    role: role.to_owned(),
                };
                let answer = client.auth().role_get(client.say(request)).await;
                shown(answer.map(|answer| answer.into_inner().perm))
            }
            Step::List => {
                let users = client.auth().user_list(client.say(AuthUserListRequest {})).await;
                let roles = client.auth().role_list(client.say(AuthRoleListRequest {})).await;
                let users = shown(users.map(|users| users.into_inner().users));
                format!("{users} {}", shown(roles.map(|roles| roles.into_inner().roles)))
            }
            Step::Enable => shown(client.enable().await),
            Step::Disable => {
                let answer = client.disable().await;
                if answer.is_ok() {
                    // 3.4 refuses a token that it has forgotten even when nobody needs one.
                    self.client.token = None;
                }
                shown(answer)
            }
        }
    }

    /// Back to a store without users, whatever has happened to it.
    async fn reset(&mut self) {
        let nobody = Client {
            token: None,
            ..self.client.clone()
        };
        for password in ["pw", "pw2"] {
            if let Ok(root) = nobody.log_in("root", password).await {
                root.disable().await.unwrap();
            }
        }
        for user in USERS {
            // It may not be there.
            let _ = nobody.delete_user(user).await;
        }
        for role in ROLES {
            let role = role.to_owned();
            let request = proto::etcdserverpb::AuthRoleDeleteRequest { role };
            let _ = nobody.auth().role_delete(request).await;
        }
        nobody.delete("\0", "\0").await.unwrap();
        nobody.add_user("root", "pw").await.unwrap();
        nobody.grant("root", "root").await.unwrap();
        nobody.add_role("r1").await.unwrap();
        nobody.add_user("alice", "pw").await.unwrap();
        nobody.grant("alice", "r1").await.unwrap();
        nobody.enable().await.unwrap();
        self.root = nobody.log_in("root", "pw").await.unwrap();
        self.client = self.root.clone();
    }
}

#[test]
fn users_and_roles_fare_as_with_etcd() {
    let etcd = Etcd::start_with(&["--bcrypt-cost", "4"]);
    let node = Node::start(&config());
    runtime().block_on(async {
        let side = |address: &str| Side {
            client: Client::nobody(address),
            root: Client::nobody(address),
        };
        let (mut theirs, mut ours) = (side(&etcd.address), side(&node.address));
        for store in [&theirs, &ours] {
            let deadline = Instant::now() + PATIENCE;
            while store.client.put("ready", "").await.is_err() {
                assert!(Instant::now() < deadline, "both stores answer in time");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        let mut outcomes = std::collections::BTreeMap::new();
        for seed in SEEDS {
            theirs.reset().await;
            ours.reset().await;
            let generator = Generator(Random::seeded(seed));
            let mut story = Vec::new();
            for number in 0..STEPS {
                let step = generator.step();
                let expected = theirs.run(&step).await;
                let got = ours.run(&step).await;
                assert_eq!(
                    got, expected,
                    "seed {seed}, step {number}: {step:?} after {story:#?}"
                );
                story.push((step, expected.clone()));
                *outcomes.entry(expected).or_insert(0) += 1;
            }
        }
        // A story in which everything is refused tells nothing.
        assert!(outcomes.len() > 15, "{outcomes:?}");
    });
}
