//! Simple tokens and signed ones.

use super::client::{BAD_TOKEN, Client, DENIED, Guarded, OLD, config, guarded, refused, runtime};
use crate::harness::{Node, PATIENCE, put_soon};
use kvstore_server::{Member, MemberConfig};
use proto::authpb::permission::Type;
use proto::etcdserverpb::RangeRequest;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use support::Env;
use tonic::Request;

/// `--auth-token` with a key of the unit tests.
fn jwt(method: &str, private: &str, more: &str) -> String {
    let keys = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("src/auth/jwt/keys");
    let key = keys.join(private);
    format!("jwt,sign-method={method},priv-key={}{more}", key.display())
}

#[test]
fn a_simple_token_is_sixteen_letters_and_an_index() {
    guarded(async |store| {
        let token = store.alice.token.clone().unwrap();
        let (letters, index) = token.split_once('.').unwrap();
        assert!(letters.len() == 16 && letters.chars().all(|letter| letter.is_ascii_alphabetic()));
        assert!(index.parse::<u64>().unwrap() > 0);
        for forged in [
            "",
            "x",
            "x.y",
            "x.1",
            &format!("{letters}.1"),
            &format!("x.{index}"),
        ] {
            refused(store.nobody.with_token(forged).get("foo", "").await, BAD_TOKEN);
            refused(store.nobody.with_token(forged).put("foo", "x").await, BAD_TOKEN);
        }
        // As HTTP clients send it.
        for value in [token.clone(), format!("Bearer {token}")] {
            let mut request = Request::new(RangeRequest {
                key: "foo".into(),
                ..RangeRequest::default()
            });
            request
                .metadata_mut()
                .insert("authorization", value.parse().unwrap());
            store.nobody.kv().range(request).await.unwrap();
        }
    });
}

#[test]
fn a_simple_token_ends_with_its_users_password_and_with_auth() {
    guarded(async |store| {
        store.root.add_role("other").await.unwrap();
        store.alice.put("foo", "survives other changes").await.unwrap();
        store.root.change_password("alice", "new").await.unwrap();
        refused(store.alice.put("foo", "x").await, BAD_TOKEN);
        let alice = store.nobody.log_in("alice", "new").await.unwrap();
        alice.put("foo", "x").await.unwrap();
        store.root.delete_user("alice").await.unwrap();
        refused(alice.get("foo", "").await, BAD_TOKEN);
        store.root.disable().await.unwrap();
        store.nobody.enable().await.unwrap();
        refused(store.root.get("foo", "").await, BAD_TOKEN);
        store.nobody.log_in("root", "rootpw").await.unwrap();
    });
}

#[test]
fn a_simple_token_that_nobody_uses_ends() {
    runtime().block_on(async {
        let config = MemberConfig {
            auth_token_ttl: Duration::from_secs(1),
            ..config()
        };
        let store = Guarded::start(&config).await;
        let deadline = Instant::now() + PATIENCE;
        loop {
            tokio::time::sleep(Duration::from_millis(1100)).await;
            match store.alice.get("foo", "").await {
                Err(status) => break refused::<()>(Err(status), BAD_TOKEN),
                Ok(_) => assert!(Instant::now() < deadline, "the token does not expire"),
            }
        }
    });
}

#[test]
fn a_signed_token_holds_until_users_or_roles_change() {
    runtime().block_on(async {
        let config = MemberConfig {
            auth_token: jwt("RS256", "rsa.pem", ",ttl=10m"),
            ..config()
        };
        let store = Guarded::start(&config).await;
        assert_eq!(store.alice.token.as_ref().unwrap().matches('.').count(), 2);
        store.alice.put("foo", "x").await.unwrap();
        refused(store.alice.put("bar", "x").await, DENIED);
        refused(store.nobody.with_token("a.b.c").get("foo", "").await, BAD_TOKEN);
        store
            .root
            .allow("role", Type::Readwrite, "bar", "")
            .await
            .unwrap();
        refused(store.alice.put("bar", "x").await, OLD);
        refused(store.alice.get("foo", "").await, OLD);
        refused(store.root.put("foo", "x").await, OLD);
        let alice = store.nobody.log_in("alice", "pw").await.unwrap();
        alice.put("bar", "x").await.unwrap();
    });
}

#[test]
fn a_signed_token_expires() {
    runtime().block_on(async {
        let config = MemberConfig {
            auth_token: jwt("ES256", "p256.pem", ",ttl=3s"),
            ..config()
        };
        let node = Node::start(&config);
        put_soon(&node.address, "foo", "bar").await;
        let nobody = Client::nobody(&node.address);
        nobody.set_up().await;
        let alice = nobody.log_in("alice", "pw").await.unwrap();
        let deadline = Instant::now() + PATIENCE;
        loop {
            match alice.get("foo", "").await {
                Err(status) => break refused::<()>(Err(status), BAD_TOKEN),
                Ok(_) => assert!(Instant::now() < deadline, "the token does not expire"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
}

#[test]
fn settings_that_make_no_sense_stop_a_member_before_it_starts() {
    for (setting, expected) in [
        ("fancy".to_owned(), "auth: invalid auth options: \"fancy\""),
        (jwt("RS256", "p256.pem", ""), "auth: private key for RS256"),
        ("jwt,sign-method=RS256".to_owned(), "auth: missing key data"),
        (
            "jwt,priv-key=/nowhere".to_owned(),
            "auth: invalid auth signature method \"\"",
        ),
    ] {
        let config = MemberConfig {
            auth_token: setting.clone(),
            ..config()
        };
        let error = Member::new(config, Env::production()).err().unwrap().to_string();
        assert!(error.starts_with(expected), "{setting}: {error}");
    }
}
