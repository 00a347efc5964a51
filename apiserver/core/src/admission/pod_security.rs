//! Pod security standards, enforced by namespace labels.
//! Follows `staging/src/k8s.io/pod-security-admission` of Kubernetes 1.36.

mod checks;

use super::{Context, Operation, Request};
use crate::status::ApiError;
use crate::tree;
use checks::Violation;
use serde_json::Value;

const LABEL_PREFIX: &str = "pod-security.kubernetes.io/";
/// Kinds whose pod template is judged for warnings only, and where the template is.
const TEMPLATES: &[(&str, &str, &[&str])] = &[
    ("", "podtemplates", &["template"]),
    ("", "replicationcontrollers", &["spec", "template"]),
    ("apps", "replicasets", &["spec", "template"]),
    ("apps", "deployments", &["spec", "template"]),
    ("apps", "statefulsets", &["spec", "template"]),
    ("apps", "daemonsets", &["spec", "template"]),
    ("batch", "jobs", &["spec", "template"]),
    ("batch", "cronjobs", &["spec", "jobTemplate", "spec", "template"]),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Privileged,
    Baseline,
    Restricted,
}

impl Level {
    fn read(text: &str) -> Option<Self> {
        match text {
            "privileged" => Some(Self::Privileged),
            "baseline" => Some(Self::Baseline),
            "restricted" => Some(Self::Restricted),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Privileged => "privileged",
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        }
    }
}

pub(super) fn validate(
    request: &Request<'_>,
    object: Option<&Value>,
    context: &mut Context<'_>,
) -> Result<(), ApiError> {
    let Some(object) = object else { return Ok(()) };
    if !matches!(request.operation, Operation::Create | Operation::Update) {
        return Ok(());
    }
    if request.is("", "namespaces") {
        return labels(request, object);
    }
    let is_pod = request.concerns("", "pods") && matches!(request.subresource, "" | "ephemeralcontainers");
    let template = TEMPLATES
        .iter()
        .find(|(group, resource, _)| request.is(group, resource))
        .and_then(|(_, _, path)| tree::at(object, path));
    let (pod, enforced) = match template {
        _ if is_pod => (object, true),
        Some(template) => (template, false),
        None => return Ok(()),
    };
    let Some(namespace) = context.objects.get("", "namespaces", "", request.namespace) else {
        return Ok(());
    };
    if enforced {
        let (level, version) = policy(&namespace, "enforce");
        let violations = violations(pod, level);
        if !violations.is_empty() {
            let listed = describe(&violations);
            return Err(request.forbidden(format!(
                "violates PodSecurity \"{}:{version}\": {listed}",
                level.name()
            )));
        }
    }
    let (level, version) = policy(&namespace, "warn");
    let violations = violations(pod, level);
    if !violations.is_empty() {
        let listed = describe(&violations);
        context.warnings.push(format!(
            "would violate PodSecurity \"{}:{version}\": {listed}",
            level.name()
        ));
    }
    Ok(())
}

/// The level and version that a namespace's labels ask for in one mode.
fn policy<'a>(namespace: &'a Value, mode: &str) -> (Level, &'a str) {
    let label = tree::label(namespace, &format!("{LABEL_PREFIX}{mode}")).unwrap_or_default();
    let level = match label {
        "" => Level::Privileged,
        // A level that can't be read is taken at its strictest.
        text => Level::read(text).unwrap_or(Level::Restricted),
    };
    (
        level,
        tree::label(namespace, &format!("{LABEL_PREFIX}{mode}-version")).unwrap_or("latest"),
    )
}

fn labels(request: &Request<'_>, namespace: &Value) -> Result<(), ApiError> {
    for mode in ["enforce", "audit", "warn"] {
        let key = format!("{LABEL_PREFIX}{mode}");
        let given = tree::label(namespace, &key);
        let unchanged = request.old.is_some_and(|old| tree::label(old, &key) == given);
        if let Some(given) = given
            && Level::read(given).is_none()
            && !unchanged
        {
            let error = crate::FieldError::invalid(
                &crate::FieldPath::new("metadata.labels").key(&key),
                given,
                "must be one of privileged, baseline, restricted",
            );
            return Err(ApiError::invalid(
                "",
                "Namespace",
                tree::name(namespace),
                &[error],
            ));
        }
    }
    Ok(())
}

fn violations(pod: &Value, level: Level) -> Vec<Violation> {
    let mut found = Vec::new();
    if level >= Level::Baseline {
        found.extend(checks::BASELINE.iter().filter_map(|check| check(pod)));
    }
    if level >= Level::Restricted {
        found.extend(checks::RESTRICTED.iter().filter_map(|check| check(pod)));
        // The strict volume check says all that the baseline one on host paths says.
        if found.iter().any(|v| v.name == checks::RESTRICTED_VOLUMES) {
            found.retain(|v| v.name != checks::HOST_PATHS);
        }
    }
    found
}

fn describe(violations: &[Violation]) -> String {
    violations
        .iter()
        .map(|v| format!("{} ({})", v.name, v.detail))
        .collect::<Vec<_>>()
        .join(", ")
}
