//! What a failed pod means. Source: `pkg/controller/job/pod_failure_policy.go` (1.36).

use crate::object::{Key, MetaView};
use k8s_openapi::api::batch::v1::{JobSpec, PodFailurePolicyRule};
use k8s_openapi::api::core::v1::Pod;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Count,
    Ignore,
    FailIndex,
    FailJob(String),
}

/// The first matching rule decides; without one the failure counts.
pub fn judge(spec: &JobSpec, pod: &Pod) -> Verdict {
    let rules = spec
        .pod_failure_policy
        .as_ref()
        .map(|policy| policy.rules.as_slice());
    for (at, rule) in rules.unwrap_or_default().iter().enumerate() {
        if let Some(what) = matched(rule, pod) {
            return match rule.action.as_str() {
                "Ignore" => Verdict::Ignore,
                "FailIndex" => Verdict::FailIndex,
                "FailJob" => {
                    let key = Key::new(pod.metadata.namespace(), pod.metadata.name());
                    Verdict::FailJob(
                        what.replace("{pod}", &key.to_string())
                            .replace("{rule}", &at.to_string()),
                    )
                }
                _ => Verdict::Count,
            };
        }
    }
    Verdict::Count
}

fn matched(rule: &PodFailurePolicyRule, pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    if let Some(codes) = &rule.on_exit_codes {
        let containers = status
            .container_statuses
            .iter()
            .chain(&status.init_container_statuses)
            .flatten();
        for container in containers {
            let named = codes
                .container_name
                .as_ref()
                .is_none_or(|name| *name == container.name);
            let ended = container
                .state
                .as_ref()
                .and_then(|state| state.terminated.as_ref());
            let Some(code) = ended
                .map(|ended| ended.exit_code)
                .filter(|&code| named && code != 0)
            else {
                continue;
            };
            if codes.values.contains(&code) == (codes.operator == "In") {
                let name = &container.name;
                return Some(format!(
                    "Container {name} for pod {{pod}} failed with exit code {code} matching FailJob rule at index {{rule}}"
                ));
            }
        }
        return None;
    }
    for pattern in rule.on_pod_conditions.iter().flatten() {
        let wanted = pattern.status.as_deref().unwrap_or("True");
        let conditions = status.conditions.iter().flatten();
        if conditions
            .into_iter()
            .any(|condition| condition.type_ == pattern.type_ && condition.status == wanted)
        {
            let kind = &pattern.type_;
            return Some(format!(
                "Pod {{pod}} has condition {kind} matching FailJob rule at index {{rule}}"
            ));
        }
    }
    None
}
