//! The operations of resources, in a neutral form that both versions of OpenAPI are written from.
//!
//! Follows `apiserver/pkg/endpoints/installer.go` (1.36); the deprecated `/watch/` paths are left out.

use super::definitions::{DELETE_OPTIONS, PATCH, STATUS, definition_name};
use super::parameters::{DELETE, FORCE, LIST, Parameter, WRITE};
use crate::GroupVersionKind;
use crate::resource::Resource;

/// One path with its operations.
pub(super) struct Path {
    pub path: String,
    pub namespaced: bool,
    pub named: bool,
    pub operations: Vec<Operation>,
}

/// One operation.
pub(super) struct Operation {
    /// lower case
    pub method: &'static str,
    /// `x-kubernetes-action`
    pub action: &'static str,
    pub id: String,
    pub description: String,
    pub tag: String,
    pub kind: GroupVersionKind,
    pub parameters: Vec<&'static Parameter>,
    /// the definition of the body
    pub body: Option<String>,
    /// the definition of the answer; a text when there is none
    pub answer: Option<String>,
}

pub(super) fn paths(resource: &Resource) -> Vec<Path> {
    let gvr = &resource.gvr;
    let prefix = format!("/{}", super::path_of(&gvr.group, &gvr.version));
    let collection = if resource.namespaced {
        format!("{prefix}/namespaces/{{namespace}}/{}", gvr.resource)
    } else {
        format!("{prefix}/{}", gvr.resource)
    };
    let mut out = Vec::new();
    let maker = Maker { resource };
    if resource.namespaced && resource.has_verb("list") {
        out.push(Path {
            path: format!("{prefix}/{}", gvr.resource),
            namespaced: false,
            named: false,
            operations: vec![maker.list("ForAllNamespaces")],
        });
    }
    let mut operations = Vec::new();
    for verb in ["list", "create", "deletecollection"] {
        if resource.has_verb(verb) {
            operations.push(maker.collection(verb));
        }
    }
    out.push(Path {
        path: collection.clone(),
        namespaced: resource.namespaced,
        named: false,
        operations,
    });
    let operations: Vec<Operation> = ["get", "update", "patch", "delete"]
        .into_iter()
        .filter(|verb| resource.has_verb(verb))
        .map(|verb| maker.item(verb, &resource.gvk(), ""))
        .collect();
    out.push(Path {
        path: format!("{collection}/{{name}}"),
        namespaced: resource.namespaced,
        named: true,
        operations,
    });
    for sub in &resource.subresources {
        let operations = sub
            .verbs
            .iter()
            .map(|verb| maker.item(verb, &sub.kind, &sub.name))
            .collect();
        out.push(Path {
            path: format!("{collection}/{{name}}/{}", sub.name),
            namespaced: resource.namespaced,
            named: true,
            operations,
        });
    }
    out.retain(|path| !path.operations.is_empty());
    out
}

struct Maker<'r> {
    resource: &'r Resource,
}

impl Maker<'_> {
    fn scope(&self) -> &'static str {
        if self.resource.namespaced {
            "Namespaced"
        } else {
            ""
        }
    }

    /// `CoreV1`, `RbacAuthorizationV1`
    fn group(&self) -> String {
        let group = &self.resource.gvr.group;
        let short = if group.is_empty() {
            "core"
        } else {
            group.strip_suffix(".k8s.io").unwrap_or(group)
        };
        let words = short.split('.').chain([self.resource.gvr.version.as_str()]);
        words.map(capital).collect()
    }

    fn operation(&self, method: &'static str, action: &'static str, id: String, what: &str) -> Operation {
        let gvr = &self.resource.gvr;
        let group = if gvr.group.is_empty() {
            "core"
        } else {
            gvr.group.strip_suffix(".k8s.io").unwrap_or(&gvr.group)
        };
        Operation {
            method,
            action,
            id,
            description: what.to_owned(),
            tag: format!("{}_{}", group.replace(['.', '-'], "_"), gvr.version),
            kind: self.resource.gvk(),
            parameters: Vec::new(),
            body: None,
            answer: None,
        }
    }

    fn list(&self, suffix: &str) -> Operation {
        let kind = &self.resource.kind;
        let scope = if suffix.is_empty() { self.scope() } else { "" };
        let id = format!("list{}{scope}{kind}{suffix}", self.group());
        let mut operation = self.operation(
            "get",
            "list",
            id,
            &format!("list or watch objects of kind {kind}"),
        );
        operation.parameters.extend(&LIST);
        operation.answer = Some(format!("{}List", definition_name(&self.resource.gvk())));
        operation
    }

    fn collection(&self, verb: &str) -> Operation {
        let kind = &self.resource.kind;
        let definition = definition_name(&self.resource.gvk());
        match verb {
            "create" => {
                let id = format!("create{}{}{kind}", self.group(), self.scope());
                let mut operation = self.operation("post", "post", id, &format!("create a {kind}"));
                operation.parameters.extend(&WRITE);
                operation.body = Some(definition.clone());
                operation.answer = Some(definition);
                operation
            }
            "deletecollection" => {
                let id = format!("delete{}Collection{}{kind}", self.group(), self.scope());
                let what = format!("delete collection of {kind}");
                let mut operation = self.operation("delete", "deletecollection", id, &what);
                operation.parameters.extend(
                    LIST.iter()
                        .filter(|p| !["watch", "allowWatchBookmarks"].contains(&p.name)),
                );
                operation.parameters.extend(&DELETE);
                operation.body = Some(DELETE_OPTIONS.to_owned());
                operation.answer = Some(STATUS.to_owned());
                operation
            }
            _ => self.list(""),
        }
    }

    fn item(&self, verb: &str, kind: &GroupVersionKind, sub: &str) -> Operation {
        let connect = kind.kind.ends_with("Options");
        let owner = &self.resource.kind;
        let suffix: String = sub.split('-').map(capital).collect();
        let scope = self.scope();
        let id = |word: &str| format!("{word}{}{scope}{owner}{suffix}", self.group());
        let what = |word: &str| {
            let of = if sub.is_empty() {
                String::new()
            } else {
                format!("{sub} of the ")
            };
            format!("{word} {of}the specified {owner}")
        };
        let (method, action, word) = match verb {
            "get" => ("get", "get", "read"),
            "update" => ("put", "put", "replace"),
            "patch" => ("patch", "patch", "patch"),
            "delete" => ("delete", "delete", "delete"),
            _ => ("post", "post", "create"),
        };
        if connect {
            let id = id(&format!("connect{}", capital(method)));
            let mut operation = self.operation(method, "connect", id, &what("connect to"));
            operation.kind = kind.clone();
            return operation;
        }
        let definition = definition_name(kind);
        let mut operation = self.operation(method, action, id(word), &what(word));
        operation.kind = kind.clone();
        operation.answer = Some(definition.clone());
        match verb {
            "get" => {}
            "delete" => {
                operation.parameters.extend(&DELETE);
                operation.body = Some(DELETE_OPTIONS.to_owned());
                operation.answer = Some(STATUS.to_owned());
            }
            "patch" => {
                operation.parameters.extend(&WRITE);
                operation.parameters.push(&FORCE);
                operation.body = Some(PATCH.to_owned());
            }
            _ => {
                operation.parameters.extend(&WRITE);
                operation.body = Some(definition);
            }
        }
        operation
    }
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    match chars.next() {
        Some(first) => first.to_uppercase().chain(chars).collect(),
        None => String::new(),
    }
}
