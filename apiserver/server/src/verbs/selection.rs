//! Selectors of a request as a filter over cached entries.

use crate::cache::{Entry, EntryPredicate, Filter, LabelPredicate};
use apiserver_core::options::ListOptions;
use apiserver_core::{ApiError, Resource};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The filter of a list or a watch in `namespace` (empty: all).
///
/// # Errors
/// 400 for a field that can't be selected.
pub(super) fn filter(
    resource: &Resource,
    namespace: &str,
    name: &str,
    options: &ListOptions,
) -> Result<Filter, ApiError> {
    resource.field_rule.check(&options.field_selector)?;
    let in_namespace = resource.namespaced && !namespace.is_empty();
    let labels = (!options.label_selector.is_empty()).then(|| {
        let selector = options.label_selector.clone();
        let predicate: LabelPredicate = Arc::new(move |labels: &BTreeMap<String, String>| {
            selector.matches_labels(|key| labels.get(key).map(String::as_str))
        });
        predicate
    });
    let requirements: Vec<(String, String, bool)> = options
        .field_selector
        .requirements
        .iter()
        .map(|requirement| {
            (
                stored_field(resource, &requirement.field),
                requirement.value.clone(),
                requirement.negated,
            )
        })
        .collect();
    let fields = (!requirements.is_empty()).then(|| {
        let predicate: EntryPredicate = Arc::new(move |entry: &Entry| {
            requirements.iter().all(|(field, wanted, negated)| {
                let actual = match field.as_str() {
                    "metadata.name" => entry.name.as_str(),
                    "metadata.namespace" => entry.namespace.as_str(),
                    field => entry.fields.get(field).map_or("", String::as_str),
                };
                (actual == wanted) != *negated
            })
        });
        predicate
    });
    Ok(Filter {
        namespace: in_namespace.then(|| namespace.to_owned()),
        name: (!name.is_empty()).then(|| name.to_owned()),
        labels,
        fields,
    })
}

/// Entries hold the fields of the stored version: those of `events.k8s.io` have other names there.
fn stored_field(resource: &Resource, field: &str) -> String {
    if resource.gvr.group != "events.k8s.io" {
        return field.to_owned();
    }
    match field.strip_prefix("regarding.") {
        Some(rest) => format!("involvedObject.{rest}"),
        None if field == "reportingController" => "reportingComponent".to_owned(),
        None => field.to_owned(),
    }
}
