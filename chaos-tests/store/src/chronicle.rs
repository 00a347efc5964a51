//! The history of the store by revision, put together from what the recorders heard.
//!
//! Recorders watch everything on every member from the first revision on. No member may tell another history
//! than the others, and no revision may be missing: both are violations by themselves.

use crate::history::WatchSession;
use crate::model::State;
use crate::outcome::Violation;
use proto::mvccpb::Event;
use std::collections::BTreeMap;
use std::time::Duration;

/// One revision.
#[derive(Debug, Clone)]
pub struct Page {
    pub events: Vec<Event>,
    /// When the first recorder heard of it.
    pub seen: Duration,
}

/// Every revision from 2 on.
#[derive(Debug, Default)]
pub struct Chronicle {
    pub pages: BTreeMap<i64, Page>,
}

impl Chronicle {
    /// Source: etcd's guarantees for watches and the promise that a revision is never reused.
    ///
    /// # Errors
    /// When members disagree about a revision, a revision is missing, or an event contradicts those before.
    pub fn of(sessions: &[WatchSession]) -> Result<Self, Violation> {
        let mut chronicle = Self::default();
        let mut told_by: BTreeMap<i64, &'static str> = BTreeMap::new();
        for session in sessions.iter().filter(|session| session.recorder) {
            let mut events: BTreeMap<i64, (Duration, Vec<Event>)> = BTreeMap::new();
            for (at, response) in &session.responses {
                for event in &response.events {
                    let revision = event.kv.as_ref().map_or(0, |kv| kv.mod_revision);
                    let entry = events.entry(revision).or_insert_with(|| (*at, Vec::new()));
                    // What was before the compacted revision may be withheld, on some members earlier than
                    // on others: the model knows it better.
                    entry.1.push(Event {
                        prev_kv: None,
                        ..event.clone()
                    });
                }
            }
            for (revision, (seen, events)) in events {
                let page = chronicle.pages.entry(revision).or_insert_with(|| {
                    told_by.insert(revision, session.member);
                    Page {
                        events: events.clone(),
                        seen,
                    }
                });
                page.seen = page.seen.min(seen);
                if page.events != events {
                    return Err(Violation::safety(
                        "members agree on every revision",
                        format!(
                            "revision {revision}: {} says {:?}, {} says {:?}",
                            told_by[&revision], page.events, session.member, events
                        ),
                    ));
                }
            }
        }
        chronicle.check()?;
        Ok(chronicle)
    }

    pub fn last(&self) -> i64 {
        self.pages.last_key_value().map_or(1, |(revision, _)| *revision)
    }

    /// Revisions without a gap; each event as the state before allows it. Fills in the previous values.
    fn check(&mut self) -> Result<(), Violation> {
        let mut state = State::default();
        for (revision, page) in &mut self.pages {
            if *revision != state.revision + 1 {
                return Err(Violation::safety(
                    "no revision is missing",
                    format!(
                        "no recorder was told of revision {}, one was of {revision}",
                        state.revision + 1
                    ),
                ));
            }
            for event in &mut page.events {
                let kv = event.kv.clone().unwrap_or_default();
                event.prev_kv = state.keys.get(&kv.key).cloned();
                let wrong = match (event.r#type(), &event.prev_kv) {
                    (proto::mvccpb::event::EventType::Delete, None) => Some("deletes what is not there"),
                    (proto::mvccpb::event::EventType::Delete, Some(_)) => None,
                    (_, None) if kv.version != 1 || kv.create_revision != *revision => {
                        Some("creates a key that is not new")
                    }
                    (_, Some(old))
                        if kv.version != old.version + 1 || kv.create_revision != old.create_revision =>
                    {
                        Some("does not follow the version before")
                    }
                    _ => None,
                };
                if let Some(wrong) = wrong {
                    return Err(Violation::safety(
                        "every event follows from the state before",
                        format!("revision {revision} {wrong}: {event:?}"),
                    ));
                }
            }
            let events = page.events.clone();
            state.advance(*revision, &events);
        }
        Ok(())
    }
}
