//! What a cluster must hold so that nodes can join: rights, and tokens.
//!
//! Names and rights of joining nodes follow kubeadm (`cmd/kubeadm/app/phases/bootstraptoken/node/tlsbootstrap.go`),
//! so that documentation and tools written for it apply.

use crate::api::{bounded, is_status};
use anyhow::Context as _;
use jiff::{Timestamp, ToSpan as _};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, PostParams};
use std::collections::BTreeMap;
use support::Random;

/// The group of tokens made for joining nodes.
const JOINERS: &str = "system:bootstrappers:kubeadm:default-node-token";
const NODES: &str = "system:nodes";
/// Binding, cluster role, group.
const BINDINGS: &[(&str, &str, &str)] = &[
    ("kubeadm:kubelet-bootstrap", "system:node-bootstrapper", JOINERS),
    (
        "kubeadm:node-autoapprove-bootstrap",
        "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
        JOINERS,
    ),
    (
        "kubeadm:node-autoapprove-certificate-rotation",
        "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
        NODES,
    ),
];
const RBAC: &str = "rbac.authorization.k8s.io";
const TOKEN_ALPHABET: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";

/// Makes sure that joining nodes may ask for certificates and get them.
///
/// # Errors
/// When the API server refuses.
pub async fn allow(client: &kube::Client) -> anyhow::Result<()> {
    for (name, role, group) in BINDINGS {
        bind(client, name, role, group).await?;
    }
    Ok(())
}

async fn bind(client: &kube::Client, name: &str, role: &str, group: &str) -> anyhow::Result<()> {
    let bindings: Api<ClusterRoleBinding> = Api::all(client.clone());
    let binding = ClusterRoleBinding {
        metadata: named(name),
        role_ref: RoleRef {
            api_group: Some(RBAC.to_owned()),
            kind: "ClusterRole".to_owned(),
            name: role.to_owned(),
        },
        subjects: Some(vec![Subject {
            api_group: Some(RBAC.to_owned()),
            kind: "Group".to_owned(),
            name: group.to_owned(),
            namespace: None,
        }]),
    };
    create(&bindings, name, &binding).await
}

/// Creates the object unless it is there.
async fn create<K>(api: &Api<K>, name: &str, object: &K) -> anyhow::Result<()>
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
{
    match bounded(api.create(&PostParams::default(), object)).await {
        Err(error) if !is_status(&error, 409) => Err(error).with_context(|| format!("creating {name}")),
        _ => Ok(()),
    }
}

fn named(name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        ..ObjectMeta::default()
    }
}

/// Makes a token with which nodes can join until `hours` from now.
///
/// # Errors
/// When the API server refuses.
pub async fn create_token(
    client: &kube::Client,
    random: &Random,
    now: Timestamp,
    hours: u32,
) -> anyhow::Result<String> {
    let id = random.characters(TOKEN_ALPHABET, 6);
    let secret = random.characters(TOKEN_ALPHABET, 16);
    let expiration = now
        .checked_add(i64::from(hours).hours())?
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string();
    let data = BTreeMap::from(
        [
            ("token-id", id.as_str()),
            ("token-secret", &secret),
            ("expiration", &expiration),
            ("usage-bootstrap-authentication", "true"),
            ("usage-bootstrap-signing", "true"),
            ("auth-extra-groups", JOINERS),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned())),
    );
    let object = Secret {
        metadata: ObjectMeta {
            name: Some(format!("bootstrap-token-{id}")),
            namespace: Some("kube-system".to_owned()),
            ..ObjectMeta::default()
        },
        type_: Some("bootstrap.kubernetes.io/token".to_owned()),
        string_data: Some(data),
        ..Secret::default()
    };
    let secrets: Api<Secret> = Api::namespaced(client.clone(), "kube-system");
    bounded(secrets.create(&PostParams::default(), &object))
        .await
        .context("creating the token")?;
    Ok(format!("{id}.{secret}"))
}
