//! Which children belong to an owner: adopt matching orphans, release those that stopped matching.
//! Source: `pkg/controller/controller_ref_manager.go` (1.36).

use crate::action::Action;
use crate::object::{MetaView, Object};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde_json::json;
use std::sync::Arc;

/// The children that are the owner's, and the writes that make it so.
pub struct Claimed<C> {
    pub owned: Vec<Arc<C>>,
    /// A live check of the owner first, if anything is adopted.
    pub actions: Vec<Action>,
}

/// Sorts `candidates` into owned, to adopt (counted as owned only once the adoption is observed) and to release.
/// `matches` decides by labels; a terminating owner neither adopts nor releases.
pub fn claim<O: Object, C: Object>(
    owner: &O,
    reference: &OwnerReference,
    candidates: impl IntoIterator<Item = Arc<C>>,
    matches: impl Fn(&ObjectMeta) -> bool,
) -> Claimed<C> {
    let owner_meta: &ObjectMeta = owner.meta();
    let mut claimed = Claimed {
        owned: Vec::new(),
        actions: Vec::new(),
    };
    let mut adoptions = Vec::new();
    for child in candidates {
        let meta: &ObjectMeta = child.meta();
        match meta.controller() {
            Some(controller) if controller.uid != owner_meta.uid() => {}
            Some(_) if matches(meta) || owner_meta.is_terminating() => claimed.owned.push(child),
            Some(_) => claimed.actions.push(release(child.as_ref(), owner_meta.uid())),
            None => {
                let wanted = matches(meta) && !owner_meta.is_terminating() && !meta.is_terminating();
                if wanted {
                    adoptions.push(adopt(child.as_ref(), reference));
                }
            }
        }
    }
    if !adoptions.is_empty() {
        claimed.actions.push(Action::verify(owner));
        claimed.actions.extend(adoptions);
    }
    claimed
}

fn adopt<C: Object>(child: &C, reference: &OwnerReference) -> Action {
    let mut owners = child.meta().owners().to_vec();
    owners.retain(|owner| owner.uid != reference.uid);
    owners.push(reference.clone());
    Action::patch_seen(child, json!({"metadata": {"ownerReferences": owners}}))
}

fn release<C: Object>(child: &C, owner_uid: &str) -> Action {
    let owners: Vec<&OwnerReference> = child
        .meta()
        .owners()
        .iter()
        .filter(|owner| owner.uid != owner_uid)
        .collect();
    let owners = if owners.is_empty() {
        json!(null)
    } else {
        json!(owners)
    };
    Action::patch_seen(child, json!({"metadata": {"ownerReferences": owners}}))
}
