//! What a list or a watch wants to see.

use super::Entry;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

pub(crate) type LabelPredicate = Arc<dyn Fn(&BTreeMap<String, String>) -> bool + Send + Sync>;
pub(crate) type EntryPredicate = Arc<dyn Fn(&Entry) -> bool + Send + Sync>;

/// All parts must hold; an absent part always does.
#[derive(Clone, Default)]
pub(crate) struct Filter {
    pub namespace: Option<String>,
    pub name: Option<String>,
    pub labels: Option<LabelPredicate>,
    pub fields: Option<EntryPredicate>,
}

impl Filter {
    pub(crate) fn matches(&self, entry: &Entry) -> bool {
        self.namespace
            .as_ref()
            .is_none_or(|namespace| *namespace == entry.namespace)
            && self.name.as_ref().is_none_or(|name| *name == entry.name)
            && self.labels.as_ref().is_none_or(|labels| labels(&entry.labels))
            && self.fields.as_ref().is_none_or(|fields| fields(entry))
    }

    /// Whether a selector narrows the list, so that nobody can tell how many objects remain.
    pub(crate) fn selects(&self) -> bool {
        self.labels.is_some() || self.fields.is_some()
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filter")
            .field("namespace", &self.namespace)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
