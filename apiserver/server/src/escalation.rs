//! Nobody grants what they don't have: writes of roles and bindings.
//!
//! Follows pkg/registry/rbac/{role,rolebinding,clusterrole,clusterrolebinding}/policybased (Kubernetes 1.36).

use crate::authz::{Question, allowed};
use crate::state::State;
use crate::verbs::Writer;
use apiserver_core::authorization::{EscalationCheck, RoleRef, Rule, rules_of};
use apiserver_core::{ApiError, GroupResource, Resource, tree};
use serde_json::Value;

const RBAC: &str = "rbac.authorization.k8s.io";

/// # Errors
/// 403 when the writer would grant more than they hold, 404 for a binding to a role that isn't there.
pub(crate) async fn check(
    state: &State,
    resource: &Resource,
    writer: &Writer,
    new: &Value,
    old: Option<&Value>,
) -> Result<(), ApiError> {
    if resource.gvr.group != RBAC || writer.user.in_group("system:masters") {
        return Ok(());
    }
    let (namespace, name) = (tree::namespace(new), tree::name(new));
    let kind = resource.gvr.resource.as_str();
    let wanted: Vec<Rule> = match kind {
        "roles" | "clusterroles" => {
            let changes = old.is_none_or(|old| {
                !tree::same(old.get("rules"), new.get("rules"))
                    || !tree::same(old.get("aggregationRule"), new.get("aggregationRule"))
            });
            if !changes || may(state, writer, "escalate", kind, namespace, name).await? {
                return Ok(());
            }
            // A role that aggregates others grants whatever will match.
            if tree::at(new, &["aggregationRule"]).is_some() {
                let all = |resources: bool| Rule {
                    verbs: vec!["*".to_owned()],
                    api_groups: if resources {
                        vec!["*".to_owned()]
                    } else {
                        Vec::new()
                    },
                    resources: if resources {
                        vec!["*".to_owned()]
                    } else {
                        Vec::new()
                    },
                    resource_names: Vec::new(),
                    non_resource_urls: if resources {
                        Vec::new()
                    } else {
                        vec!["*".to_owned()]
                    },
                };
                vec![all(true), all(false)]
            } else {
                rules_of(new)
            }
        }
        "rolebindings" | "clusterrolebindings" => {
            let changes = old.is_none_or(|old| {
                !tree::same(old.get("roleRef"), new.get("roleRef"))
                    || !tree::same(old.get("subjects"), new.get("subjects"))
            });
            let role = RoleRef::read(new);
            let (role_kind, role_name, role_namespace) = match &role {
                RoleRef::Role(name) => ("roles", name.clone(), namespace),
                RoleRef::ClusterRole(name) => ("clusterroles", name.clone(), ""),
            };
            if !changes || may(state, writer, "bind", role_kind, namespace, &role_name).await? {
                return Ok(());
            }
            let registry = state.registry();
            let Some(roles) = registry.lookup(RBAC, "v1", role_kind) else {
                return Ok(());
            };
            rules_of(&crate::verbs::fetch(state, roles, role_namespace, &role_name).await?)
        }
        _ => return Ok(()),
    };
    let held = state.authorizer.rules_for(writer.user.subject(), namespace);
    let missing = EscalationCheck::new(&held).missing(&wanted);
    if missing.is_empty() {
        return Ok(());
    }
    let shown: Vec<String> = missing.iter().map(show).collect();
    Err(ApiError::forbidden(
        &GroupResource::new(RBAC, kind),
        name,
        format!(
            "user {:?} (groups={:?}) is attempting to grant RBAC permissions not currently held:\n{}",
            writer.user.username,
            writer.user.groups,
            shown.join("\n")
        ),
    ))
}

async fn may(
    state: &State,
    writer: &Writer,
    verb: &str,
    resource: &str,
    namespace: &str,
    name: &str,
) -> Result<bool, ApiError> {
    let question = Question::resource(verb, RBAC, resource, "", namespace, name);
    Ok(allowed(state, &writer.user, &question).await?.allowed)
}

fn show(rule: &Rule) -> String {
    let mut parts = Vec::new();
    for (name, values) in [
        ("APIGroups", &rule.api_groups),
        ("Resources", &rule.resources),
        ("ResourceNames", &rule.resource_names),
        ("NonResourceURLs", &rule.non_resource_urls),
        ("Verbs", &rule.verbs),
    ] {
        if !values.is_empty() {
            parts.push(format!("{name}:{values:?}"));
        }
    }
    format!("{{{}}}", parts.join(", "))
}
