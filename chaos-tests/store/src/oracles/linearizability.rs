//! Linearizability by revision.
//!
//! Source: etcd's promise that all requests but serializable ranges are linearizable
//! (<https://etcd.io/docs/v3.6/learning/api_guarantees/>).
//!
//! A store that numbers its writes tells its own order, so nothing has to be searched: an answered write that
//! changed something stands at its header's revision, a read right after its header's revision. What is left to
//! check is
//! - that each answer is what the model gives at that place, and each revision's events are that write's;
//! - that the order agrees with real time: who was called after another returned stands after it;
//! - that every revision was made by somebody: by an answered write, by one whose outcome is unknown, or by the
//!   end of a lease; and that none was made twice by the same request.

use crate::chronicle::Chronicle;
use crate::history::{Answer, Operation, Outcome, Request};
use crate::model::{State, without_headers};
use crate::outcome::Violation;
use bytes::Bytes;
use proto::mvccpb::Event;
use proto::mvccpb::event::EventType;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Who made a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maker {
    /// The operation of this number.
    Operation(usize),
    /// The end of this lease.
    LeaseEnd(i64),
}

/// The maker of each revision.
pub type Makers = BTreeMap<i64, Maker>;

const ORDER: &str = "who is called after another returned comes after it";
const ANSWER: &str = "every answer is that of one store, one request after the other";
const MAKER: &str = "every revision was asked for by somebody, once";

/// # Errors
/// The first contradiction.
pub fn check(operations: &[Operation], chronicle: &Chronicle) -> Result<Makers, Violation> {
    let makers = place(operations, chronicle)?;
    in_real_time(operations, chronicle, &makers)?;
    Ok(makers)
}

fn describe(number: usize, operation: &Operation) -> String {
    format!(
        "operation {number} of {} at {} ({:?} to {:?}) {:?} -> {:?}",
        operation.client,
        operation.member,
        operation.called,
        operation.returned,
        operation.request,
        operation.outcome
    )
}

/// Whether the request is about keys, so that the model can judge its answer.
fn is_about_keys(request: &Request) -> bool {
    matches!(
        request,
        Request::Put(_) | Request::Delete(_) | Request::Txn(_) | Request::Range(_)
    )
}

/// Whether the answer says that something was changed.
fn changed(answer: &Answer) -> bool {
    use proto::etcdserverpb::response_op::Response;
    match answer {
        Answer::Put(_) => true,
        Answer::Delete(delete) => delete.deleted > 0,
        Answer::Txn(txn) => txn.responses.iter().any(|op| match &op.response {
            Some(Response::ResponsePut(_)) => true,
            Some(Response::ResponseDeleteRange(delete)) => delete.deleted > 0,
            _ => false,
        }),
        _ => false,
    }
}

/// Walks through the revisions and finds who made each; judges every answer on the way.
fn place(operations: &[Operation], chronicle: &Chronicle) -> Result<Makers, Violation> {
    let mut writes: BTreeMap<i64, usize> = BTreeMap::new();
    let mut reads: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
    let mut unknown: BTreeSet<usize> = BTreeSet::new();
    for (number, operation) in operations.iter().enumerate() {
        match &operation.outcome {
            Outcome::Answered { revision, answer } if is_about_keys(&operation.request) => {
                if changed(answer) {
                    if let Some(other) = writes.insert(*revision, number) {
                        return Err(Violation::safety(
                            "no revision is given twice",
                            format!(
                                "{}; {}",
                                describe(other, &operations[other]),
                                describe(number, operation)
                            ),
                        ));
                    }
                } else {
                    let at = match &operation.request {
                        Request::Range(range) if range.revision > 0 => range.revision,
                        _ => *revision,
                    };
                    reads.entry(at).or_default().push(number);
                }
            }
            Outcome::Unknown(_) => {
                unknown.insert(number);
            }
            _ => {}
        }
    }
    let last = chronicle.last();
    for (revision, number) in writes.iter().chain(
        reads
            .iter()
            .filter_map(|(revision, numbers)| Some((revision, numbers.first()?))),
    ) {
        if *revision > last {
            return Err(Violation::safety(
                "what was acknowledged is there at the end",
                format!(
                    "the last revision is {last}; {}",
                    describe(*number, &operations[*number])
                ),
            ));
        }
    }
    let mut makers = Makers::new();
    let mut state = State::default();
    judge_reads(operations, &reads, &state)?;
    for (revision, page) in &chronicle.pages {
        let maker = match writes.get(revision) {
            Some(number) => {
                judge(*number, &operations[*number], &state, &page.events)?;
                Maker::Operation(*number)
            }
            None => {
                silent_maker(operations, &mut unknown, &state, page.seen, &page.events).ok_or_else(|| {
                    let doubles = operations.iter().enumerate().filter(|(_, operation)| {
                        state
                            .evaluate(&operation.request)
                            .is_some_and(|effect| same_events(&effect.events, &page.events))
                    });
                    let doubles: Vec<String> = doubles
                        .map(|(number, operation)| describe(number, operation))
                        .collect();
                    Violation::safety(
                        MAKER,
                        format!(
                            "revision {revision}, {:?}; the same is done by {}",
                            page.events,
                            if doubles.is_empty() {
                                "nobody".to_owned()
                            } else {
                                doubles.join("; ")
                            }
                        ),
                    )
                })?
            }
        };
        makers.insert(*revision, maker);
        state.advance(*revision, &page.events);
        judge_reads(operations, &reads, &state)?;
    }
    Ok(makers)
}

fn judge_reads(
    operations: &[Operation],
    reads: &BTreeMap<i64, Vec<usize>>,
    state: &State,
) -> Result<(), Violation> {
    for number in reads.get(&state.revision).into_iter().flatten() {
        judge(*number, &operations[*number], state, &[])?;
    }
    Ok(())
}

/// Compares an answer, and the events of its revision, with the model's.
fn judge(number: usize, operation: &Operation, state: &State, events: &[Event]) -> Result<(), Violation> {
    let Some(effect) = state.evaluate(&operation.request) else {
        return Ok(());
    };
    let Outcome::Answered { answer, .. } = &operation.outcome else {
        return Ok(());
    };
    if effect.answer != without_headers(answer) || !same_events(&effect.events, events) {
        return Err(Violation::safety(
            ANSWER,
            format!(
                "at revision {} the model answers {:?} with events {:?}, the store's events are {events:?}; {}",
                state.revision,
                effect.answer,
                effect.events,
                describe(number, operation)
            ),
        ));
    }
    Ok(())
}

fn same_events(a: &[Event], b: &[Event]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.r#type == b.r#type && a.kv == b.kv)
}

/// Who made a revision that nobody was told of.
fn silent_maker(
    operations: &[Operation],
    unknown: &mut BTreeSet<usize>,
    state: &State,
    seen: Duration,
    events: &[Event],
) -> Option<Maker> {
    // Equal requests are interchangeable, except that the one called first fits wherever another does.
    let mut candidates: Vec<usize> = unknown
        .iter()
        .copied()
        .filter(|number| operations[*number].called <= seen)
        .filter(|number| {
            state
                .evaluate(&operations[*number].request)
                .is_some_and(|effect| same_events(&effect.events, events))
        })
        .collect();
    candidates.sort_by_key(|number| operations[*number].called);
    if let Some(number) = candidates.first() {
        unknown.remove(number);
        return Some(Maker::Operation(*number));
    }
    ended_lease(state, events).map(Maker::LeaseEnd)
}

/// The lease whose keys are exactly those that `events` delete.
fn ended_lease(state: &State, events: &[Event]) -> Option<i64> {
    let key = |event: &Event| event.kv.as_ref().map(|kv| kv.key.clone());
    if events.iter().any(|event| event.r#type() != EventType::Delete) {
        return None;
    }
    let lease = state.keys.get(&key(events.first()?)?)?.lease;
    if lease == 0 {
        return None;
    }
    let attached: BTreeSet<Bytes> = state
        .keys
        .values()
        .filter(|kv| kv.lease == lease)
        .map(|kv| kv.key.clone())
        .collect();
    let deleted: BTreeSet<Bytes> = events.iter().filter_map(key).collect();
    (attached == deleted).then_some(lease)
}

/// Who is at which revision, and when.
struct Placed {
    number: usize,
    revision: i64,
    /// Changed something: it made that revision.
    made: bool,
    /// May be answered from the past.
    stale: bool,
}

/// Sweeps through time with the newest revision that anybody has been told of.
fn in_real_time(operations: &[Operation], chronicle: &Chronicle, makers: &Makers) -> Result<(), Violation> {
    let mut placed: BTreeMap<usize, Placed> = BTreeMap::new();
    for (revision, maker) in makers {
        if let Maker::Operation(number) = maker {
            placed.insert(
                *number,
                Placed {
                    number: *number,
                    revision: *revision,
                    made: true,
                    stale: false,
                },
            );
        }
    }
    for (number, operation) in operations.iter().enumerate() {
        if let Outcome::Answered { revision, answer } = &operation.outcome
            && is_about_keys(&operation.request)
            && !changed(answer)
        {
            let stale = matches!(&operation.request, Request::Range(range) if range.serializable);
            placed.insert(
                number,
                Placed {
                    number,
                    revision: *revision,
                    made: false,
                    stale,
                },
            );
        }
    }
    // At equal times calls come before returns: then the two overlap.
    let mut calls: Vec<(Duration, &Placed)> = Vec::new();
    let mut news: Vec<(Duration, i64, String)> = Vec::new();
    for place in placed.values() {
        let operation = &operations[place.number];
        calls.push((operation.called, place));
        if let Some(returned) = operation.returned
            && matches!(operation.outcome, Outcome::Answered { .. })
        {
            news.push((returned, place.revision, describe(place.number, operation)));
        }
    }
    for (revision, page) in &chronicle.pages {
        news.push((
            page.seen,
            *revision,
            format!("a watcher was told of {revision} at {:?}", page.seen),
        ));
    }
    calls.sort_by_key(|(at, place)| (*at, place.number));
    news.sort_by_key(|(at, revision, _)| (*at, *revision));
    let mut news = news.into_iter().peekable();
    let mut newest = (1, "the beginning".to_owned());
    for (at, place) in calls {
        while let Some((_, revision, who)) = news.next_if(|(told, _, _)| *told < at) {
            if revision > newest.0 {
                newest = (revision, who);
            }
        }
        let behind = if place.made {
            place.revision <= newest.0
        } else {
            place.revision < newest.0
        };
        if behind && !place.stale {
            return Err(Violation::safety(
                ORDER,
                format!(
                    "before: {}; after, but at revision {}: {}",
                    newest.1,
                    place.revision,
                    describe(place.number, &operations[place.number])
                ),
            ));
        }
    }
    Ok(())
}
