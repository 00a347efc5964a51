//! Pods stay five minutes on a node that fails; a new node takes none before it is ready.
//! Follows `plugin/pkg/admission/{defaulttolerationseconds,nodetaint}`.

use super::service_account::push;
use super::{Context, Operation, Request};
use crate::status::ApiError;
use crate::tree;
use serde_json::{Value, json};

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const SECONDS: i64 = 300;

pub(super) fn mutate(request: &Request<'_>, pod: &mut Value, _: &mut Context<'_>) -> Result<(), ApiError> {
    if !request.is("", "pods") || !matches!(request.operation, Operation::Create | Operation::Update) {
        return Ok(());
    }
    let Some(spec) = tree::at_mut(pod, &["spec"]) else {
        return Ok(());
    };
    for key in [NOT_READY, UNREACHABLE] {
        let tolerated = tree::list(spec, &["tolerations"]).iter().any(|toleration| {
            let (over, effect) = (
                tree::text(toleration, &["key"]),
                tree::text(toleration, &["effect"]),
            );
            (over.is_empty() || over == key) && (effect.is_empty() || effect == "NoExecute")
        });
        if !tolerated {
            push(
                spec,
                "tolerations",
                json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS}),
            );
        }
    }
    Ok(())
}

pub(super) fn taint_new_node(
    request: &Request<'_>,
    node: &mut Value,
    _: &mut Context<'_>,
) -> Result<(), ApiError> {
    if !request.creates("", "nodes") {
        return Ok(());
    }
    tree::ensure_map(node, &["spec"]);
    let Some(spec) = tree::at_mut(node, &["spec"]) else {
        return Ok(());
    };
    let tainted = tree::list(spec, &["taints"]).iter().any(|taint| {
        tree::text(taint, &["key"]) == NOT_READY && tree::text(taint, &["effect"]) == "NoSchedule"
    });
    if !tainted {
        push(spec, "taints", json!({"key": NOT_READY, "effect": "NoSchedule"}));
    }
    Ok(())
}
