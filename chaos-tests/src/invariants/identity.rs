//! Nothing comes back from the dead: a UID that was deleted is never seen again, and an object keeps its own.
//!
//! Source: `docs/concepts/overview/working-with-objects/names` of Kubernetes: a UID is given once.

use super::{Change, text};
use chaos_store::Violation;
use std::collections::BTreeMap;

pub(super) fn check(changes: &[Change]) -> Result<(), Violation> {
    let mut dead: BTreeMap<String, (String, i64)> = BTreeMap::new();
    for change in changes {
        let uid = |object: &Option<serde_json::Value>| {
            let uid = object
                .as_ref()
                .map(|object| text(object, "/metadata/uid").to_owned());
            uid.filter(|uid| !uid.is_empty())
        };
        let (before, after) = (uid(&change.before), uid(&change.after));
        if let Some(uid) = &after
            && let Some((key, revision)) = dead.get(uid)
        {
            return Err(Violation::safety(
                "no object comes back from the dead",
                format!(
                    "{} at revision {}: {key} was deleted at {revision}",
                    change.key, change.revision
                ),
            ));
        }
        if let (Some(before), Some(after)) = (&before, &after)
            && before != after
        {
            return Err(Violation::safety(
                "an object is deleted before another takes its name",
                format!(
                    "{} at revision {}: {before} became {after}",
                    change.key, change.revision
                ),
            ));
        }
        if let (Some(uid), None) = (before, after) {
            dead.insert(uid, (change.key.clone(), change.revision));
        }
    }
    Ok(())
}
