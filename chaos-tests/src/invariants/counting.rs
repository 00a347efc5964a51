//! Optimistic concurrency: nobody's update is lost.
//!
//! Source: `docs/reference/using-api/api-concepts` of Kubernetes, "resource versions": a replacement of what
//! was changed meanwhile is refused. So a counter that all users read, add one to, and write, grows by one.

use super::{CONFIG_MAPS, Change, text};
use crate::users::COUNTER;
use chaos_store::Violation;
use serde_json::Value;

pub(super) fn check(changes: &[Change]) -> Result<(), Violation> {
    let count = |object: &Option<Value>| {
        let object = object.as_ref()?;
        text(object, &format!("/data/{COUNTER}")).parse::<i64>().ok()
    };
    for change in changes {
        if change.key != format!("{CONFIG_MAPS}default/{COUNTER}") {
            continue;
        }
        if let (Some(before), Some(after)) = (count(&change.before), count(&change.after))
            && after != before + 1
        {
            return Err(Violation::safety(
                "no update is lost (optimistic concurrency)",
                format!(
                    "revision {}: the counter went from {before} to {after}",
                    change.revision
                ),
            ));
        }
    }
    Ok(())
}
