//! `ETCD_*` variables: what no flag has set, they set (etcd `pkg/flags/flag.go`).

use crate::catalogue;
use crate::options::Refusal;
use crate::settings::{Settings, Source};
use std::collections::BTreeMap;

/// Takes the variables that name a flag.
///
/// # Errors
/// When a value can't be read.
pub fn apply(variables: &BTreeMap<String, String>, settings: &mut Settings) -> Result<(), Refusal> {
    let mut used = Vec::new();
    for flag in catalogue::all() {
        let variable = flag.variable();
        let Some(value) = variables.get(&variable).filter(|value| !value.is_empty()) else {
            continue;
        };
        used.push(variable.clone());
        if variable == "ETCD_VERSION" {
            // Images set it for their own purposes.
            settings.remark(format!("environment variable {variable}={value} is ignored"));
            continue;
        }
        // etcd refuses to start here; but what was said last and loudest is clear.
        if settings.is_set(flag.name) {
            settings.remark(format!(
                "environment variable {variable}={value} is shadowed by the command-line flag --{}",
                flag.name
            ));
            continue;
        }
        settings
            .set(flag, value, Source::Environment)
            .map_err(|reason| Refusal(format!("invalid value {value:?} for {variable}: {reason}")))?;
        settings.remark(format!(
            "recognized and used environment variable {variable}={value}"
        ));
    }
    for (variable, value) in variables {
        if variable.starts_with("ETCD_") && !used.contains(variable) && !value.is_empty() {
            settings.remark(format!("unrecognized environment variable {variable}={value}"));
        }
    }
    Ok(())
}
