//! What the users of the API were told, held against what is.

use super::kubectl::Call;
use super::writers::{POINTER, Written, map_of};
use chaos_store::Violation;
use chaos_tests::invariants::{Change, text};
use std::collections::BTreeMap;

/// No acknowledged write is lost: it stands in the store's history, at the version that the answer gave.
///
/// Source: promise 1 of `ARCHITECTURE.md`, section 9.
///
/// # Errors
/// When a write isn't where it should be.
pub fn acknowledged(changes: &[Change], writes: &[Written]) -> Result<(), Violation> {
    let written = changes
        .iter()
        .filter(|change| change.is_of("/registry/configmaps/"));
    let by_revision: BTreeMap<i64, &Change> = written.map(|change| (change.revision, change)).collect();
    for write in writes {
        let key = format!("/registry/configmaps/default/{}", map_of(write.writer));
        let found = by_revision.get(&write.version);
        let value = found
            .filter(|change| change.key == key)
            .and_then(|change| change.after.as_ref())
            .map(|map| text(map, POINTER));
        if value != Some(write.value.as_str()) {
            return Err(Violation::safety(
                "no acknowledged write is lost",
                format!(
                    "{:?} was acknowledged at {:.3?} as version {} of {key}, where {value:?} is",
                    write.value, write.returned, write.version
                ),
            ));
        }
    }
    Ok(())
}

/// Who has created something finds it, whichever API server answers: `kubectl` reads only what it has created, and not
/// removed.
///
/// Source: `ARCHITECTURE.md`, section 5: a client moves between replicas without noticing.
///
/// # Errors
/// When something was not found.
pub fn read_own_writes(calls: &[Call]) -> Result<(), Violation> {
    let missed = calls.iter().find(|call| {
        let error = call.error.as_deref().unwrap_or_default();
        call.words.starts_with("get") && error.contains("(NotFound)")
    });
    match missed {
        None => Ok(()),
        Some(call) => Err(Violation::safety(
            "who has created something finds it",
            format!("at {:.3?}: kubectl {}: {:?}", call.called, call.words, call.error),
        )),
    }
}
