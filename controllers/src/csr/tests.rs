use super::signing::{Decision, decide};
use super::{cleaner, plan};
use crate::testing::{ago, merged, now, object, story};
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::Node;
use rcgen::{CertificateParams, DnType, KeyPair};
use serde_json::{Value, json};
use std::time::Duration;
use support::tls::Usage;

fn request(name: &str, organization: &str, names: &[&str], over: Value) -> CertificateSigningRequest {
    let key = KeyPair::generate().unwrap();
    let mut params =
        CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).unwrap();
    params
        .distinguished_name
        .push(DnType::OrganizationName, organization);
    params.distinguished_name.push(DnType::CommonName, name);
    let pem = params.serialize_request(&key).unwrap().pem().unwrap();
    let base = json!({"metadata": {"name": "r", "uid": "r", "creationTimestamp": ago(60)},
        "spec": {"request": ByteString(pem.into_bytes()), "signerName": plan::KUBELET_CLIENT,
            "usages": ["digital signature", "client auth"], "username": "system:bootstrap:abc", "groups": ["system:bootstrappers"]}});
    object::<CertificateSigningRequest>(merged(base, over))
        .as_ref()
        .clone()
}

fn approved(request: &CertificateSigningRequest, node: Option<&Node>) -> bool {
    story(&plan::approval(request, node, now())) == ["approval CertificateSigningRequest r"]
}

#[test]
fn a_bootstrap_token_gets_a_node_identity_and_nothing_else() {
    assert!(approved(
        &request("system:node:n1", "system:nodes", &[], json!({})),
        None
    ));
    assert!(!approved(
        &request("system:node:n1", "system:masters", &[], json!({})),
        None
    ));
    assert!(!approved(&request("admin", "system:nodes", &[], json!({})), None));
    assert!(!approved(
        &request("system:node:n1", "system:nodes", &["n1"], json!({})),
        None
    ));
    let stranger = json!({"spec": {"groups": ["system:authenticated"]}});
    assert!(!approved(
        &request("system:node:n1", "system:nodes", &[], stranger),
        None
    ));
    let renewal = json!({"spec": {"username": "system:node:n1", "groups": ["system:nodes"]}});
    assert!(approved(
        &request("system:node:n1", "system:nodes", &[], renewal.clone()),
        None
    ));
    assert!(
        !approved(&request("system:node:n2", "system:nodes", &[], renewal), None),
        "another node's identity"
    );
}

#[test]
fn a_serving_certificate_holds_only_the_nodes_own_addresses() {
    let node = object::<Node>(
        json!({"metadata": {"name": "n1"}, "status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.7"}]}}),
    );
    let serving = |names: &[&str]| {
        let over = json!({"spec": {"signerName": plan::KUBELET_SERVING, "usages": ["digital signature", "server auth"],
            "username": "system:node:n1", "groups": ["system:nodes"]}});
        request("system:node:n1", "system:nodes", names, over)
    };
    assert!(approved(&serving(&["n1", "10.0.0.7"]), Some(&node)));
    assert!(!approved(&serving(&["n1", "10.0.0.8"]), Some(&node)));
    assert!(!approved(&serving(&["n1"]), None), "an unknown node");
}

#[test]
fn approved_requests_are_signed_for_their_purpose_and_no_longer_than_allowed() {
    let approval = json!({"status": {"conditions": [{"type": "Approved", "status": "True"}]}, "spec": {"expirationSeconds": 86_400}});
    let longest = Duration::from_secs(3600);
    let decision = decide(
        &request("system:node:n1", "system:nodes", &[], approval.clone()),
        longest,
    );
    assert!(matches!(decision, Decision::Sign { usage: Usage::Client, validity, .. } if validity == longest));
    assert_eq!(
        decide(
            &request("system:node:n1", "system:nodes", &[], json!({})),
            longest
        ),
        Decision::Nothing
    );
    let odd = decide(&request("admin", "system:masters", &[], approval), longest);
    assert!(matches!(odd, Decision::Refuse(_)));
}

#[test]
fn old_requests_are_removed() {
    let denied = json!({"status": {"conditions": [{"type": "Denied", "status": "True", "lastUpdateTime": "1969-12-31T23:00:00Z"}]}});
    assert_eq!(
        story(&cleaner::plan(&request("a", "b", &[], denied), now())),
        ["delete CertificateSigningRequest r"]
    );
    assert!(
        cleaner::plan(&request("a", "b", &[], json!({})), now())
            .again_after
            .is_some()
    );
}
