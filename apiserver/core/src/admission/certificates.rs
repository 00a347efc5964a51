//! Who may approve and sign certificates. Follows `plugin/pkg/admission/certificates`.
//!
//! Not here: CertificateSubjectRestriction, which reads the request's PKCS#10 bytes; the server checks those.

use super::{Context, Operation, Request};
use crate::authorization::Attributes;
use crate::status::ApiError;
use crate::tree;
use serde_json::Value;

const GROUP: &str = "certificates.k8s.io";
const REQUESTS: &str = "certificatesigningrequests";

pub(super) fn validate_approval(
    request: &Request<'_>,
    object: Option<&Value>,
    context: &mut Context<'_>,
) -> Result<(), ApiError> {
    if request.subresource != "approval" || request.operation != Operation::Update {
        return Ok(());
    }
    permitted(
        request,
        object,
        context,
        "approve",
        "user not permitted to approve requests with signerName",
    )
}

pub(super) fn validate_signing(
    request: &Request<'_>,
    object: Option<&Value>,
    context: &mut Context<'_>,
) -> Result<(), ApiError> {
    if request.subresource != "status" || request.operation != Operation::Update {
        return Ok(());
    }
    let (Some(new), Some(old)) = (object, request.old) else {
        return Ok(());
    };
    // Only issuing and failing is signing; other status changes are free.
    let path = ["status", "certificate"];
    let conditions = ["status", "conditions"];
    if tree::same(tree::at(new, &path), tree::at(old, &path))
        && tree::same(tree::at(new, &conditions), tree::at(old, &conditions))
    {
        return Ok(());
    }
    permitted(
        request,
        object,
        context,
        "sign",
        "user not permitted to sign requests with signerName",
    )
}

fn permitted(
    request: &Request<'_>,
    object: Option<&Value>,
    context: &mut Context<'_>,
    verb: &str,
    refusal: &str,
) -> Result<(), ApiError> {
    if !request.concerns(GROUP, REQUESTS) {
        return Ok(());
    }
    let signer = tree::text(
        request.old.or(object).unwrap_or(&Value::Null),
        &["spec", "signerName"],
    );
    let domain = signer.split_once('/').map_or(signer, |(domain, _)| domain);
    let any = format!("{domain}/*");
    let allowed = [signer, any.as_str()].into_iter().any(|name| {
        context.objects.authorized(&Attributes {
            user: request.user,
            verb,
            resource_request: true,
            path: "",
            api_group: GROUP,
            resource: "signers",
            subresource: "",
            namespace: "",
            name,
            field_equals: &[],
        })
    });
    if allowed {
        Ok(())
    } else {
        Err(request.forbidden(format!("{refusal} \"{signer}\"")))
    }
}
