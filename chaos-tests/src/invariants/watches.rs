//! A watch of the API tells every change after the version it began at, in order, once; whichever API server
//! tells it, and whatever happened to the others.
//!
//! Source: `docs/reference/using-api/api-concepts` of Kubernetes, "efficient detection of changes".

use super::Change;
use crate::users::Session;
use chaos_store::Violation;

const PROMISE: &str = "a watch of the API tells every change, in order, once";

pub(super) fn check(changes: &[Change], sessions: &[Session]) -> Result<(), Violation> {
    // A watch may have been told of what no recorder heard before the world ended.
    let known = changes.last().map_or(0, |change| change.revision);
    for session in sessions {
        let last = session.told.last().map_or(session.from, |(at, _, _)| *at);
        let until = last.max(session.bookmark).min(known);
        let wanted: Vec<(i64, &str, bool)> = changes
            .iter()
            .filter(|change| change.revision > session.from && change.revision <= until)
            .filter_map(|change| {
                let name = change.key.strip_prefix(session.folder)?;
                Some((change.revision, name, change.after.is_none()))
            })
            .collect();
        let told = session
            .told
            .iter()
            .filter(|(at, _, _)| *at <= known)
            .map(|(at, name, deleted)| (*at, name.as_str(), *deleted));
        let told: Vec<(i64, &str, bool)> = told.collect();
        if wanted != told {
            let at = wanted
                .iter()
                .zip(&told)
                .position(|(wanted, told)| wanted != told)
                .unwrap_or_else(|| wanted.len().min(told.len()));
            return Err(Violation::safety(
                PROMISE,
                format!(
                    "{} of {} from {} to {until}: change {at} is {:?}, told was {:?}",
                    session.folder,
                    session.api,
                    session.from,
                    wanted.get(at),
                    told.get(at)
                ),
            ));
        }
    }
    Ok(())
}
