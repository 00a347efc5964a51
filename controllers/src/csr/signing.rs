//! Signs approved requests of the built-in signers.
//! Source: `pkg/controller/certificates/signer/signer.go` (1.36).

use super::plan::{KUBELET_CLIENT, KUBELET_SERVING, has, is_issued, is_kubelet_client, is_kubelet_serving};
use super::request::Wanted;
use crate::action::{Action, Plan};
use crate::config::SigningConfig;
use crate::object::Key;
use crate::runner::{Cache, Context, Controller, Informers, Watches};
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::time::Duration;
use support::tls::{CertificateAuthority, TlsError, Usage};

/// The shortest life a request may ask for.
const SHORTEST: Duration = Duration::from_secs(600);

/// What is to be signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    Nothing,
    Sign {
        pem: String,
        usage: Usage,
        validity: Duration,
    },
    /// The request isn't what its signer signs.
    Refuse(&'static str),
}

pub fn decide(request: &CertificateSigningRequest, longest: Duration) -> Decision {
    if !has(request, "Approved") || has(request, "Denied") || has(request, "Failed") || is_issued(request) {
        return Decision::Nothing;
    }
    let signer = request.spec.signer_name.as_str();
    let ours = [
        KUBELET_CLIENT,
        KUBELET_SERVING,
        "kubernetes.io/kube-apiserver-client",
    ];
    if !ours.contains(&signer) {
        return Decision::Nothing;
    }
    let (Some(wanted), Ok(pem)) = (
        Wanted::parse(&request.spec.request.0),
        String::from_utf8(request.spec.request.0.clone()),
    ) else {
        return Decision::Refuse("the request could not be parsed");
    };
    let usage = match signer {
        KUBELET_CLIENT if is_kubelet_client(request, &wanted) => Usage::Client,
        KUBELET_SERVING if is_kubelet_serving(request, &wanted) => Usage::Server,
        KUBELET_CLIENT | KUBELET_SERVING => return Decision::Refuse("the request isn't one of a node"),
        _ if request
            .spec
            .usages
            .iter()
            .flatten()
            .any(|usage| usage == "client auth") =>
        {
            Usage::Client
        }
        _ => return Decision::Refuse("the request isn't one of a client"),
    };
    let asked = request
        .spec
        .expiration_seconds
        .and_then(|seconds| u64::try_from(seconds).ok());
    let validity = asked.map_or(longest, |seconds| {
        Duration::from_secs(seconds).max(SHORTEST).min(longest)
    });
    Decision::Sign { pem, usage, validity }
}

pub struct CsrSigningController {
    requests: Cache<CertificateSigningRequest>,
    authority: CertificateAuthority,
    longest: Duration,
}

impl CsrSigningController {
    /// # Errors
    /// When the authority's PEM texts can't be used.
    pub fn new(informers: &Informers, config: &SigningConfig) -> Result<Self, TlsError> {
        Ok(Self {
            authority: CertificateAuthority::from_pem(&config.cert_pem, &config.key_pem)?,
            requests: informers.of(),
            longest: config.duration,
        })
    }

    fn act(&self, request: &CertificateSigningRequest, now: Timestamp) -> Plan {
        let failed = match decide(request, self.longest) {
            Decision::Nothing => return Plan::nothing(),
            Decision::Refuse(reason) => reason.to_owned(),
            Decision::Sign { pem, usage, validity } => {
                match self.authority.sign_request(&pem, usage, validity, now) {
                    Ok(certificate) => {
                        let mut issued = request.clone();
                        issued.status.get_or_insert_default().certificate =
                            Some(ByteString(certificate.into_bytes()));
                        return vec![Action::update_status(&issued)].into();
                    }
                    Err(error) => error.to_string(),
                }
            }
        };
        let mut refused = request.clone();
        let conditions = refused
            .status
            .get_or_insert_default()
            .conditions
            .get_or_insert_default();
        conditions.push(CertificateSigningRequestCondition {
            type_: "Failed".into(),
            status: "True".into(),
            reason: Some("SignerValidationFailure".into()),
            message: Some(failed),
            last_update_time: Some(Time(now)),
            last_transition_time: Some(Time(now)),
        });
        vec![Action::update_status(&refused)].into()
    }
}

impl Controller for CsrSigningController {
    fn name(&self) -> &'static str {
        "certificatesigningrequest-signing-controller"
    }

    fn watch(&self, watches: &mut Watches<'_>) {
        watches.objects(&self.requests);
    }

    fn plan(&self, key: &Key, context: &Context) -> Plan {
        let request = self.requests.get(key);
        request
            .map(|request| self.act(&request, context.now))
            .unwrap_or_default()
    }
}
