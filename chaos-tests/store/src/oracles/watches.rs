//! The guarantees of watches.
//!
//! Source: <https://etcd.io/docs/v3.6/learning/api_guarantees/#watch-apis> and etcd's robustness tests:
//! ordered, unique, reliable, atomic, resumable, bookmarkable; and that the previous value, the filters and
//! what a client takes for a creation are right.

use crate::chronicle::Chronicle;
use crate::history::{Operation, Outcome, Request, WatchSession};
use crate::model::contains;
use crate::outcome::Violation;
use proto::etcdserverpb::watch_create_request::FilterType;
use proto::mvccpb::Event;
use proto::mvccpb::event::EventType;
use std::time::Duration;

/// # Errors
/// The first watcher that was told less, more or something else than it asked for.
pub fn check(
    operations: &[Operation],
    sessions: &[WatchSession],
    chronicle: &Chronicle,
) -> Result<(), Violation> {
    let compactions: Vec<(Duration, i64)> = operations
        .iter()
        .filter(|operation| !matches!(operation.outcome, Outcome::Refused(_)))
        .filter_map(|operation| match &operation.request {
            Request::Compact(compact) => Some((operation.called, compact.revision)),
            _ => None,
        })
        .collect();
    sessions
        .iter()
        .try_for_each(|session| Reader::new(session, chronicle, &compactions).read())
}

struct Reader<'a> {
    session: &'a WatchSession,
    chronicle: &'a Chronicle,
    /// When which revision may have been compacted.
    compactions: &'a [(Duration, i64)],
    /// The next revision that may come; `None` until the watcher is created.
    next: Option<i64>,
    /// Events of a response that is continued by the next one.
    fragments: Vec<Event>,
}

impl<'a> Reader<'a> {
    fn new(session: &'a WatchSession, chronicle: &'a Chronicle, compactions: &'a [(Duration, i64)]) -> Self {
        Self {
            session,
            chronicle,
            compactions,
            next: None,
            fragments: Vec::new(),
        }
    }

    fn read(&mut self) -> Result<(), Violation> {
        for (at, response) in &self.session.responses {
            let revision = response.header.as_ref().map_or(0, |header| header.revision);
            if response.created {
                let start = self.session.create.start_revision;
                self.next = Some(if start > 0 { start } else { revision + 1 });
                continue;
            }
            if response.canceled {
                let next = self.next.unwrap_or(0);
                if response.compact_revision > 0 && next >= response.compact_revision {
                    return Err(self.violation(
                        "only what is compacted is refused",
                        format!(
                            "at {at:?}: next is {next}, compacted is {}",
                            response.compact_revision
                        ),
                    ));
                }
                return Ok(());
            }
            let Some(next) = self.next else {
                return Err(self.violation(
                    "a watcher is created before it is served",
                    format!("at {at:?}: {response:?}"),
                ));
            };
            if response.events.is_empty() {
                self.progress(next, revision)?;
                continue;
            }
            self.fragments.extend(response.events.iter().cloned());
            if !response.fragment {
                let events = std::mem::take(&mut self.fragments);
                self.events(*at, next, &events)?;
            }
        }
        Ok(())
    }

    /// Everything up to the revision of a notice has been delivered.
    fn progress(&mut self, next: i64, revision: i64) -> Result<(), Violation> {
        if let Some((missing, event)) = self.wanted(next, revision).first() {
            return Err(self.violation(
                "a progress notice comes after all events before it (bookmarkable)",
                format!("notice of {revision}, but {missing} was not delivered: {event:?}"),
            ));
        }
        self.next = Some(next.max(revision + 1));
        Ok(())
    }

    /// One response: whole revisions, the next ones, nothing left out.
    fn events(&mut self, at: Duration, next: i64, events: &[Event]) -> Result<(), Violation> {
        let revision = |event: &Event| event.kv.as_ref().map_or(0, |kv| kv.mod_revision);
        let last = events.iter().map(revision).max().unwrap_or(0);
        if let Some(early) = events.iter().find(|event| revision(event) < next) {
            return Err(self.violation(
                "events come in order and once",
                format!("next is {next}, got {early:?}"),
            ));
        }
        let wanted = self.wanted(next, last);
        let matches = wanted.len() == events.len()
            && wanted
                .iter()
                .zip(events)
                .all(|((_, wanted), event)| self.same(at, wanted, event));
        if !matches {
            let place = wanted
                .iter()
                .zip(events)
                .position(|((_, wanted), event)| !self.same(at, wanted, event))
                .unwrap_or_else(|| wanted.len().min(events.len()));
            return Err(self.violation(
                "a watcher gets every event it asked for, whole revisions at a time",
                format!(
                    "of revisions {next} to {last} event {place} should be {:?}, is {:?}",
                    wanted.get(place).map(|(_, event)| event),
                    events.get(place)
                ),
            ));
        }
        self.next = Some(last + 1);
        Ok(())
    }

    /// What the watcher asked for of the revisions `from` to `to`, both inclusive.
    fn wanted(&self, from: i64, to: i64) -> Vec<(i64, Event)> {
        if from > to {
            return Vec::new();
        }
        let create = &self.session.create;
        let filters: Vec<FilterType> = create.filters().collect();
        let pages = self.chronicle.pages.range(from..=to);
        pages
            .flat_map(|(revision, page)| page.events.iter().map(|event| (*revision, event.clone())))
            .filter(|(_, event)| {
                let key = event.kv.as_ref().map(|kv| kv.key.clone()).unwrap_or_default();
                let filtered = match event.r#type() {
                    EventType::Put => filters.contains(&FilterType::Noput),
                    EventType::Delete => filters.contains(&FilterType::Nodelete),
                };
                !filtered && contains(&create.key, &create.range_end, &key)
            })
            .collect()
    }

    /// A previous value may be missing only when it was compacted away; it may never be another one, and
    /// never be there unasked.
    fn same(&self, at: Duration, wanted: &Event, event: &Event) -> bool {
        let previous = match (&event.prev_kv, self.session.create.prev_kv) {
            (Some(_), false) => false,
            (Some(_), true) => event.prev_kv == wanted.prev_kv,
            (None, true) => {
                let revision = event.kv.as_ref().map_or(0, |kv| kv.mod_revision);
                let compacted = |(called, to): &(Duration, i64)| *called <= at && *to >= revision;
                wanted.prev_kv.is_none() || self.compactions.iter().any(compacted)
            }
            (None, false) => true,
        };
        wanted.r#type == event.r#type && wanted.kv == event.kv && previous
    }

    fn violation(&self, promise: &str, what: String) -> Violation {
        let session = self.session;
        Violation::safety(
            promise,
            format!(
                "{} at {} since {:?} from {}: {what}",
                session.client, session.member, session.opened, session.create.start_revision
            ),
        )
    }
}
