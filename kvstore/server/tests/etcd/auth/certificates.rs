//! A client is who its certificate says, when the member is told to believe that.

use super::client::{BAD_TOKEN, Client, DENIED, NOBODY, config, refused, runtime};
use crate::harness::{Node, PATIENCE};
use kvstore_server::MemberConfig;
use proto::etcdserverpb::RangeRequest;
use std::time::{Duration, Instant};
use support::tls::{CertificateAuthority, CertificateRequest, ClientTls, Identity, ServerTls, Usage};
use support::{Env, SystemClock, WallClock as _};

struct Pki(CertificateAuthority);

impl Pki {
    fn new() -> Self {
        Self(CertificateAuthority::generate("clients", SystemClock.now()).unwrap())
    }

    fn issue(&self, name: &str, usage: Usage) -> Identity {
        let request = CertificateRequest {
            common_name: name.to_owned(),
            organizations: Vec::new(),
            subject_alt_names: vec!["127.0.0.1".to_owned()],
            usage,
            validity: Duration::from_secs(3600),
        };
        self.0.issue(&request, SystemClock.now()).unwrap()
    }

    fn config(&self, client_cert_auth: bool) -> MemberConfig {
        let server = self.issue("server", Usage::Server);
        MemberConfig {
            client_tls: Some(ServerTls::new(&server, Some(self.0.cert_pem()), true).unwrap()),
            client_cert_auth,
            ..config()
        }
    }

    /// A client with a certificate for `name`.
    fn client(&self, address: &str, name: &str) -> Client {
        let identity = self.issue(name, Usage::Client);
        let tls = ClientTls::new(self.0.cert_pem(), Some(&identity)).unwrap();
        Client {
            channel: support::grpc_channel(&Env::production(), address, Some(tls)),
            token: None,
        }
    }
}

async fn ready(client: &Client) {
    let deadline = Instant::now() + PATIENCE;
    while let Err(status) = client.put("foo", "bar").await {
        assert!(Instant::now() < deadline, "{status}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn a_certificate_names_its_user() {
    runtime().block_on(async {
        let pki = Pki::new();
        let node = Node::start(&pki.config(true));
        let root = pki.client(&node.address, "root");
        ready(&root).await;
        root.set_up().await;
        // No token and no password: the certificate is enough.
        root.put("anything", "x").await.unwrap();
        root.add_user("bob", "").await.unwrap();
        root.grant("bob", "role").await.unwrap();
        let bob = pki.client(&node.address, "bob");
        bob.put("foo", "by bob").await.unwrap();
        assert_eq!(bob.get("foo", "").await.unwrap(), ["by bob"]);
        refused(bob.put("bar", "x").await, DENIED);
        refused(bob.add_role("more").await, DENIED);
        let stranger = pki.client(&node.address, "stranger");
        refused(stranger.get("foo", "").await, DENIED);
        // A token goes before the certificate.
        let alice = bob.log_in("alice", "pw").await.unwrap();
        root.revoke("bob", "role").await.unwrap();
        refused(bob.get("foo", "").await, DENIED);
        alice.get("foo", "").await.unwrap();
        refused(root.with_token("forged.1").get("foo", "").await, BAD_TOKEN);
        // The JSON gateway's connection says nothing about its clients.
        let mut request = root.say(RangeRequest {
            key: "foo".into(),
            ..RangeRequest::default()
        });
        request
            .metadata_mut()
            .insert("grpcgateway-accept", "*/*".parse().unwrap());
        refused(root.kv().range(request).await, NOBODY);
    });
}

#[test]
fn a_certificate_names_nobody_unless_it_is_asked_to() {
    runtime().block_on(async {
        let pki = Pki::new();
        let node = Node::start(&pki.config(false));
        let root = pki.client(&node.address, "root");
        ready(&root).await;
        root.set_up().await;
        refused(root.get("foo", "").await, NOBODY);
        root.log_in("root", "rootpw")
            .await
            .unwrap()
            .get("foo", "")
            .await
            .unwrap();
    });
}
