//! What happens to one request.
//! Source: `pkg/controller/certificates/approver/sarapprove.go`, `pkg/apis/certificates/helpers.go` (1.36).
//!
//! Invariants:
//! - Only requests for a node's own identity are approved, from that node or from a bootstrap token.
//! - A serving certificate holds only names and addresses that the node's object has.

use super::request::Wanted;
use crate::action::{Action, Body, Plan};
use jiff::Timestamp;
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::time::Duration;

pub const KUBELET_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
pub const KUBELET_SERVING: &str = "kubernetes.io/kubelet-serving";
const NODES: &str = "system:nodes";
const BOOTSTRAPPERS: &str = "system:bootstrappers";
/// A node asks for its serving certificate about when it reports its addresses.
const ADDRESSES_SOON: Duration = Duration::from_secs(1);

pub fn has(request: &CertificateSigningRequest, kind: &str) -> bool {
    let conditions = request
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == kind)
}

pub fn is_issued(request: &CertificateSigningRequest) -> bool {
    request
        .status
        .as_ref()
        .is_some_and(|status| status.certificate.is_some())
}

/// Approves what needs no person; leaves everything else to one.
pub fn approval(request: &CertificateSigningRequest, node: Option<&Node>, now: Timestamp) -> Plan {
    if ["Approved", "Denied", "Failed"]
        .iter()
        .any(|kind| has(request, kind))
        || is_issued(request)
    {
        return Plan::nothing();
    }
    let Some(wanted) = Wanted::parse(&request.spec.request.0) else {
        return Plan::nothing();
    };
    let username = request.spec.username.as_deref().unwrap_or_default();
    let in_group = |group: &str| request.spec.groups.iter().flatten().any(|have| have == group);
    let itself = username == wanted.common_name && in_group(NODES);
    let message = match request.spec.signer_name.as_str() {
        KUBELET_CLIENT if is_kubelet_client(request, &wanted) && itself => {
            "Auto approving self kubelet client certificate after checking its requester."
        }
        KUBELET_CLIENT if is_kubelet_client(request, &wanted) && in_group(BOOTSTRAPPERS) => {
            "Auto approving kubelet client certificate after checking its requester."
        }
        KUBELET_SERVING if is_kubelet_serving(request, &wanted) && itself => {
            if !node.is_some_and(|node| has_all_names(node, &wanted)) {
                return Plan {
                    actions: Vec::new(),
                    again_after: Some(ADDRESSES_SOON),
                };
            }
            "Auto approving kubelet serving certificate for the node's own names and addresses."
        }
        _ => return Plan::nothing(),
    };
    let mut approved = request.clone();
    approved
        .status
        .get_or_insert_default()
        .conditions
        .get_or_insert_default()
        .push(CertificateSigningRequestCondition {
            type_: "Approved".into(),
            status: "True".into(),
            reason: Some("AutoApproved".into()),
            message: Some(message.into()),
            last_update_time: Some(Time(now)),
            last_transition_time: Some(Time(now)),
        });
    vec![Action::UpdateSubresource(Body::of(&approved), "approval")].into()
}

fn is_node_subject(wanted: &Wanted) -> bool {
    wanted.organizations == [NODES]
        && wanted.common_name.starts_with("system:node:")
        && wanted.other_names == 0
}

fn usages(request: &CertificateSigningRequest, purpose: &str) -> bool {
    let mut usages: Vec<&str> = request.spec.usages.iter().flatten().map(String::as_str).collect();
    usages.sort_unstable();
    usages.retain(|usage| *usage != "key encipherment");
    let mut expected = vec!["digital signature", purpose];
    expected.sort_unstable();
    usages == expected
}

/// Source: `ValidateKubeletClientCSR`.
pub fn is_kubelet_client(request: &CertificateSigningRequest, wanted: &Wanted) -> bool {
    is_node_subject(wanted)
        && wanted.dns_names.is_empty()
        && wanted.addresses.is_empty()
        && usages(request, "client auth")
}

/// Source: `ValidateKubeletServingCSR`.
pub fn is_kubelet_serving(request: &CertificateSigningRequest, wanted: &Wanted) -> bool {
    is_node_subject(wanted)
        && !(wanted.dns_names.is_empty() && wanted.addresses.is_empty())
        && usages(request, "server auth")
}

fn has_all_names(node: &Node, wanted: &Wanted) -> bool {
    let addresses = node.status.as_ref().and_then(|status| status.addresses.as_ref());
    let known: Vec<&str> = addresses
        .into_iter()
        .flatten()
        .map(|address| address.address.as_str())
        .chain(node.metadata.name.as_deref())
        .collect();
    wanted
        .dns_names
        .iter()
        .chain(&wanted.addresses)
        .all(|name| known.contains(&name.as_str()))
}
