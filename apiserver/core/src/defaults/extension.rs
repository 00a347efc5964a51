//! Defaults of what extends the API: webhooks, policies, definitions, aggregated services, flow control
//! (`pkg/apis/admissionregistration/v1/defaults.go` and siblings, 1.36).

use serde_json::{Value, json};

use crate::tree;

pub(super) fn admission(plural: &str, object: &mut Value) {
    match plural {
        "mutatingwebhookconfigurations" | "validatingwebhookconfigurations" => {
            for webhook in tree::list_mut(object, &["webhooks"]) {
                tree::set_default_text(webhook, "failurePolicy", "Fail");
                tree::set_default(webhook, "timeoutSeconds", 10);
                if plural.starts_with("mutating") {
                    tree::set_default_text(webhook, "reinvocationPolicy", "Never");
                }
                matching(webhook);
                rules(webhook, "rules");
                if let Some(service) = tree::at_mut(webhook, &["clientConfig", "service"]) {
                    tree::set_default(service, "port", 443);
                }
            }
        }
        "validatingadmissionpolicies" | "mutatingadmissionpolicies" => {
            let Some(spec) = tree::at_mut(object, &["spec"]) else {
                return;
            };
            tree::set_default_text(spec, "failurePolicy", "Fail");
            if let Some(constraints) = tree::at_mut(spec, &["matchConstraints"]) {
                match_resources(constraints);
            }
        }
        _ => {
            if let Some(resources) = tree::at_mut(object, &["spec", "matchResources"]) {
                match_resources(resources);
            }
            if let Some(param) = tree::at_mut(object, &["spec", "paramRef"]) {
                tree::set_default_text(param, "parameterNotFoundAction", "Deny");
            }
        }
    }
}

fn match_resources(resources: &mut Value) {
    matching(resources);
    rules(resources, "resourceRules");
    rules(resources, "excludeResourceRules");
}

fn matching(holder: &mut Value) {
    tree::set_default_text(holder, "matchPolicy", "Equivalent");
    tree::set_default(holder, "namespaceSelector", json!({}));
    tree::set_default(holder, "objectSelector", json!({}));
}

fn rules(holder: &mut Value, field: &str) {
    for rule in tree::list_mut(holder, &[field]) {
        tree::set_default_text(rule, "scope", "*");
    }
}

pub(super) fn definition(object: &mut Value) {
    let Some(spec) = tree::at_mut(object, &["spec"]) else {
        return;
    };
    let kind = tree::text(spec, &["names", "kind"]).to_owned();
    if let Some(names) = tree::at_mut(spec, &["names"]).filter(|_| !kind.is_empty()) {
        tree::set_default_text(names, "singular", &kind.to_lowercase());
        tree::set_default_text(names, "listKind", &format!("{kind}List"));
    }
    tree::set_default(spec, "conversion", json!({"strategy": "None"}));
    if let Some(service) = tree::at_mut(spec, &["conversion", "webhook", "clientConfig", "service"]) {
        tree::set_default(service, "port", 443);
    }
}

pub(super) fn api_service(object: &mut Value) {
    if let Some(service) = tree::at_mut(object, &["spec", "service"]) {
        tree::set_default(service, "port", 443);
    }
}

pub(super) fn flow_schema(object: &mut Value) {
    if let Some(spec) = tree::at_mut(object, &["spec"])
        && tree::int(spec, &["matchingPrecedence"]).unwrap_or(0) == 0
    {
        tree::set(spec, &["matchingPrecedence"], 1000);
    }
}

pub(super) fn priority_level(object: &mut Value) {
    if let Some(exempt) = tree::at_mut(object, &["spec", "exempt"]) {
        tree::set_default(exempt, "nominalConcurrencyShares", 0);
        tree::set_default(exempt, "lendablePercent", 0);
    }
    let Some(limited) = tree::at_mut(object, &["spec", "limited"]) else {
        return;
    };
    tree::set_default(limited, "nominalConcurrencyShares", 30);
    tree::set_default(limited, "lendablePercent", 0);
    if let Some(queuing) = tree::at_mut(limited, &["limitResponse", "queuing"]) {
        for (field, number) in [("handSize", 8), ("queues", 64), ("queueLengthLimit", 50)] {
            if tree::int(queuing, &[field]).unwrap_or(0) == 0 {
                tree::set(queuing, &[field], number);
            }
        }
    }
}
