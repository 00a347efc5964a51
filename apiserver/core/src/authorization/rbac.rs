//! Role-based access control: roles and bindings indexed by where they apply.

mod escalation;
mod rule;

pub use escalation::EscalationCheck;
pub use rule::{Rule, RuleSet, rules_of};

use super::{Attributes, Decision, Subject};
use crate::tree;
use serde_json::Value;
use std::collections::BTreeMap;

/// What a binding points at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoleRef {
    Role(String),
    ClusterRole(String),
}

#[derive(Debug, Clone)]
struct Binding {
    subjects: Vec<BindingSubject>,
    role: RoleRef,
}

#[derive(Debug, Clone)]
enum BindingSubject {
    User(String),
    Group(String),
    ServiceAccount { namespace: String, name: String },
}

/// All roles and bindings of a cluster. Keys are `(namespace, name)`, the namespace empty for cluster ones.
#[derive(Debug, Clone, Default)]
pub struct RbacIndex {
    roles: BTreeMap<(String, String), Vec<Rule>>,
    bindings: BTreeMap<String, BTreeMap<String, Binding>>,
}

impl RbacIndex {
    /// Takes in a Role, ClusterRole, RoleBinding or ClusterRoleBinding, by its resource name; others are ignored.
    pub fn upsert(&mut self, resource: &str, object: &Value) {
        let (namespace, name) = (tree::namespace(object).to_owned(), tree::name(object).to_owned());
        match resource {
            "roles" | "clusterroles" => {
                self.roles.insert((namespace, name), rules_of(object));
            }
            "rolebindings" | "clusterrolebindings" => {
                self.bindings
                    .entry(namespace)
                    .or_default()
                    .insert(name, Binding::read(object));
            }
            _ => {}
        }
    }

    /// Forgets an object; unknown ones are ignored.
    pub fn remove(&mut self, resource: &str, namespace: &str, name: &str) {
        match resource {
            "roles" | "clusterroles" => {
                self.roles.remove(&(namespace.to_owned(), name.to_owned()));
            }
            "rolebindings" | "clusterrolebindings" => {
                if let Some(bindings) = self.bindings.get_mut(namespace) {
                    bindings.remove(name);
                }
            }
            _ => {}
        }
    }

    /// Cluster-wide bindings first, then those of the request's namespace.
    pub fn authorize(&self, attributes: &Attributes<'_>) -> Decision {
        for (namespace, name, binding) in self.bindings_for(attributes.user, attributes.namespace) {
            if self
                .rules(namespace, &binding.role)
                .iter()
                .any(|rule| rule.allows(attributes))
            {
                let kind = if namespace.is_empty() {
                    "ClusterRoleBinding"
                } else {
                    "RoleBinding"
                };
                return Decision::Allow(format!("RBAC: allowed by {kind} \"{name}\" of {}", binding.role));
            }
        }
        Decision::NoOpinion(String::new())
    }

    /// All rules that `user` has in `namespace` (cluster-wide ones included), in binding order.
    pub fn rules_for(&self, user: Subject<'_>, namespace: &str) -> Vec<Rule> {
        let bindings = self.bindings_for(user, namespace);
        bindings
            .flat_map(|(within, _, b)| self.rules(within, &b.role).iter().cloned())
            .collect()
    }

    /// The rules that a role reference stands for, in the namespace of its binding; empty when it dangles.
    pub fn rules(&self, namespace: &str, role: &RoleRef) -> &[Rule] {
        let key = match role {
            RoleRef::Role(name) => (namespace.to_owned(), name.clone()),
            RoleRef::ClusterRole(name) => (String::new(), name.clone()),
        };
        self.roles.get(&key).map_or(&[], Vec::as_slice)
    }

    fn bindings_for<'a>(
        &'a self,
        user: Subject<'a>,
        namespace: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a str, &'a Binding)> {
        let scopes = if namespace.is_empty() {
            vec![""]
        } else {
            vec!["", namespace]
        };
        scopes.into_iter().flat_map(move |scope| {
            let bindings = self.bindings.get(scope).into_iter().flatten();
            bindings
                .filter(move |(_, binding)| binding.applies_to(user, scope))
                .map(move |(name, binding)| (scope, name.as_str(), binding))
        })
    }
}

impl Binding {
    fn read(object: &Value) -> Self {
        let subjects = tree::list(object, &["subjects"])
            .iter()
            .filter_map(|subject| {
                let name = tree::text(subject, &["name"]).to_owned();
                match tree::text(subject, &["kind"]) {
                    "User" => Some(BindingSubject::User(name)),
                    "Group" => Some(BindingSubject::Group(name)),
                    "ServiceAccount" => {
                        let namespace = tree::text(subject, &["namespace"]).to_owned();
                        Some(BindingSubject::ServiceAccount { namespace, name })
                    }
                    _ => None,
                }
            })
            .collect();
        Self {
            subjects,
            role: RoleRef::read(object),
        }
    }

    fn applies_to(&self, user: Subject<'_>, binding_namespace: &str) -> bool {
        self.subjects.iter().any(|subject| match subject {
            BindingSubject::User(name) => user.name == name,
            BindingSubject::Group(name) => user.in_group(name),
            BindingSubject::ServiceAccount { namespace, name } => {
                let namespace = if namespace.is_empty() {
                    binding_namespace
                } else {
                    namespace
                };
                let account = user.name.strip_prefix("system:serviceaccount:");
                !namespace.is_empty()
                    && account.and_then(|a| a.split_once(':')) == Some((namespace, name.as_str()))
            }
        })
    }
}

impl RoleRef {
    /// The `roleRef` of a binding.
    pub fn read(binding: &Value) -> Self {
        let name = tree::text(binding, &["roleRef", "name"]).to_owned();
        match tree::text(binding, &["roleRef", "kind"]) {
            "Role" => Self::Role(name),
            _ => Self::ClusterRole(name),
        }
    }
}

impl std::fmt::Display for RoleRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Role(name) => write!(f, "Role \"{name}\""),
            Self::ClusterRole(name) => write!(f, "ClusterRole \"{name}\""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Attributes, RbacIndex, Subject};
    use serde_json::json;

    fn index() -> RbacIndex {
        let mut index = RbacIndex::default();
        index.upsert(
            "clusterroles",
            &json!({"metadata": {"name": "view"}, "rules": [
                {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods", "pods/log"]},
                {"verbs": ["get"], "nonResourceURLs": ["/healthz", "/livez/*"]}]}),
        );
        index.upsert(
            "rolebindings",
            &json!({"metadata": {"name": "b", "namespace": "dev"},
                "roleRef": {"kind": "ClusterRole", "name": "view"},
                "subjects": [{"kind": "ServiceAccount", "name": "robot"}, {"kind": "Group", "name": "devs"}]}),
        );
        index
    }

    fn ask<'a>(user: &'a str, groups: &'a [String], verb: &'a str, namespace: &'a str) -> Attributes<'a> {
        Attributes {
            user: Subject { name: user, groups },
            verb,
            resource_request: true,
            path: "",
            api_group: "",
            resource: "pods",
            subresource: "",
            namespace,
            name: "",
            field_equals: &[],
        }
    }

    #[test]
    fn a_role_binding_grants_in_its_own_namespace_only() {
        let index = index();
        let robot = "system:serviceaccount:dev:robot";
        assert!(index.authorize(&ask(robot, &[], "list", "dev")).allowed());
        assert!(!index.authorize(&ask(robot, &[], "list", "prod")).allowed());
        assert!(!index.authorize(&ask(robot, &[], "list", "")).allowed());
        assert!(!index.authorize(&ask(robot, &[], "delete", "dev")).allowed());
        assert!(
            !index
                .authorize(&ask("system:serviceaccount:prod:robot", &[], "list", "dev"))
                .allowed()
        );
    }

    #[test]
    fn a_group_is_as_good_as_a_name() {
        let groups = ["devs".to_owned()];
        assert!(index().authorize(&ask("ann", &groups, "get", "dev")).allowed());
    }

    #[test]
    fn a_subresource_needs_its_own_grant() {
        let groups = ["devs".to_owned()];
        let mut attributes = ask("ann", &groups, "get", "dev");
        attributes.subresource = "log";
        assert!(index().authorize(&attributes).allowed());
        attributes.subresource = "exec";
        assert!(!index().authorize(&attributes).allowed());
    }

    #[test]
    fn a_removed_binding_grants_nothing() {
        let mut index = index();
        index.remove("rolebindings", "dev", "b");
        assert!(
            !index
                .authorize(&ask("system:serviceaccount:dev:robot", &[], "list", "dev"))
                .allowed()
        );
    }
}
