//! Webhook configurations and admission policies.

use super::access::{UNSET, name, size, text};
use super::age::age;
use super::{AGE, Printer, integer, name as name_column, text as column};
use serde_json::Value;

pub const WEBHOOKS: Printer = Printer {
    columns: &[name_column(), integer("Webhooks"), AGE],
    cells: |object, now| vec![name(object), size(object, "/webhooks").into(), age(object, now)],
};

pub const VALIDATING_POLICIES: Printer = Printer {
    columns: &[name_column(), integer("Validations"), column("ParamKind"), AGE],
    cells: |object, now| {
        vec![
            name(object),
            size(object, "/spec/validations").into(),
            param_kind(object).into(),
            age(object, now),
        ]
    },
};

pub const MUTATING_POLICIES: Printer = Printer {
    columns: &[name_column(), integer("Mutations"), column("ParamKind"), AGE],
    cells: |object, now| {
        vec![
            name(object),
            size(object, "/spec/mutations").into(),
            param_kind(object).into(),
            age(object, now),
        ]
    },
};

pub const POLICY_BINDINGS: Printer = Printer {
    columns: &[name_column(), column("PolicyName"), column("ParamRef"), AGE],
    cells: |object, now| {
        let reference = match text(object, "/spec/paramRef/name") {
            "" if object.pointer("/spec/paramRef/selector").is_some() => "*".to_owned(),
            "" => UNSET.to_owned(),
            parameter => match text(object, "/spec/paramRef/namespace") {
                "" => parameter.to_owned(),
                namespace => format!("{namespace}/{parameter}"),
            },
        };
        vec![
            name(object),
            text(object, "/spec/policyName").into(),
            reference.into(),
            age(object, now),
        ]
    },
};

fn param_kind(policy: &Value) -> String {
    match text(policy, "/spec/paramKind/kind") {
        "" => UNSET.to_owned(),
        kind => format!("{}/{kind}", text(policy, "/spec/paramKind/apiVersion")),
    }
}
