//! Pods stay for a while on a node that fails; a new node takes none before it is ready.
//! Follows `plugin/pkg/admission/{defaulttolerationseconds,nodetaint}`.

use super::service_account::push;
use super::{Context, Operation, Request};
use crate::status::ApiError;
use crate::tree;
use serde_json::{Value, json};

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";

/// How long a pod that doesn't say so itself stays on a failing node, in seconds. Upstream gives 300 to both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DefaultTolerations {
    /// `--default-not-ready-toleration-seconds`. The node speaks, and says that it isn't well: a container runtime that
    /// starts anew must not cost a node its pods.
    pub not_ready_seconds: i64,
    /// `--default-unreachable-toleration-seconds`. The node has been silent for the whole grace period of the node
    /// life cycle controller before this even begins.
    pub unreachable_seconds: i64,
}

impl Default for DefaultTolerations {
    fn default() -> Self {
        Self {
            not_ready_seconds: 30,
            unreachable_seconds: 4,
        }
    }
}

pub(super) fn mutate(
    request: &Request<'_>,
    pod: &mut Value,
    context: &mut Context<'_>,
) -> Result<(), ApiError> {
    if !request.is("", "pods") || !matches!(request.operation, Operation::Create | Operation::Update) {
        return Ok(());
    }
    let Some(spec) = tree::at_mut(pod, &["spec"]) else {
        return Ok(());
    };
    let DefaultTolerations {
        not_ready_seconds,
        unreachable_seconds,
    } = context.tolerations;
    for (key, seconds) in [(NOT_READY, not_ready_seconds), (UNREACHABLE, unreachable_seconds)] {
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
                json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}),
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
