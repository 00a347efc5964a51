//! Who watches what, and the newest events.
//!
//! A watcher is *synced* while it has been given every event up to the published revision; its events are
//! then pushed into its stream's queue as they are published. When that queue is full the watcher falls
//! *behind*: its stream catches it up from the ring or from disk, at the pace of its client, and the
//! others notice nothing.
//!
//! Invariants:
//! - Publishing, registering and catching up happen under one lock, so between them no event is lost and
//!   none is seen twice.
//! - What is in a stream's queue is in the order of revisions. So a progress notice put into it says truly
//!   that everything before has been sent (etcd issue 15220).

use super::event::{Behind, CatchUp, EncodedEvents, Interest, Message, Published, Subscription};
use kvstore_core::{HistoryPage, WatchIndex};
use proto::mvccpb::Event;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use support::Sabotage;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc};

/// Bytes of keys and values kept in the ring for watchers that fall a little behind.
const RING_BYTES: usize = 8 << 20;
/// Bytes of events put into one message; a single revision may exceed it.
const MESSAGE_BYTES: usize = 1 << 20;
/// Messages a stream may lag before its watchers are caught up instead (etcd: 128).
const STREAM_QUEUE: usize = 128;

/// How far a watcher is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Synced,
    Behind {
        /// The next revision to look at.
        next: i64,
        /// Messages of the stream that must be delivered first: there are older events among them.
        after: u64,
    },
}

struct Watcher {
    interest: Interest,
    place: Place,
    /// No event before this one is wanted; matters only for a start in the future.
    first: i64,
    /// As the client gave it; 0: from now on.
    start_revision: i64,
}

/// Stream and watcher.
type WatcherKey = (u64, i64);

/// The synced watchers that want the same; with the first revision that each wants.
#[derive(Default)]
struct Group {
    members: BTreeMap<WatcherKey, i64>,
}

/// The synced watchers, grouped, so that an event is matched and encoded once for all that want the same.
#[derive(Default)]
struct Synced {
    groups: BTreeMap<u64, (Interest, Group)>,
    by_interest: BTreeMap<Interest, u64>,
    index: WatchIndex<u64>,
    next: u64,
}

impl Synced {
    fn insert(&mut self, interest: &Interest, watcher: WatcherKey, first: i64) {
        let id = match self.by_interest.get(interest) {
            Some(id) => *id,
            None => {
                let id = self.next;
                self.next += 1;
                self.by_interest.insert(interest.clone(), id);
                self.index.insert(&interest.range, id);
                self.groups.insert(id, (interest.clone(), Group::default()));
                id
            }
        };
        if let Some((_, group)) = self.groups.get_mut(&id) {
            group.members.insert(watcher, first);
        }
    }

    fn remove(&mut self, interest: &Interest, watcher: WatcherKey) {
        let Some(id) = self.by_interest.get(interest).copied() else {
            return;
        };
        let Some((_, group)) = self.groups.get_mut(&id) else {
            return;
        };
        group.members.remove(&watcher);
        if group.members.is_empty() {
            self.groups.remove(&id);
            self.by_interest.remove(interest);
            self.index.remove(&interest.range, &id);
        }
    }
}

struct Stream {
    queue: mpsc::Sender<Message>,
    behind: Arc<Notify>,
    /// Messages put into the queue so far.
    queued: u64,
    watchers: BTreeMap<i64, Watcher>,
}

#[derive(Default)]
struct State {
    /// Everything up to here is published.
    revision: i64,
    ring: VecDeque<Published>,
    ring_bytes: usize,
    synced: Synced,
    streams: BTreeMap<u64, Stream>,
    next_stream: u64,
}

impl State {
    /// The events of the ring from `from` on that `interest` picks, as many as one message holds.
    fn recent(&self, interest: &Interest, from: i64) -> HistoryPage {
        let start = self.ring.partition_point(|published| published.revision < from);
        let mut page = HistoryPage {
            events: Vec::new(),
            next_revision: self.revision + 1,
        };
        let mut bytes = 0;
        for published in self.ring.range(start..) {
            if bytes >= MESSAGE_BYTES {
                page.next_revision = published.revision;
                break;
            }
            let before = page.events.len();
            page.events
                .extend(published.events.iter().filter_map(|event| interest.pick(event)));
            if page.events.len() > before {
                bytes += published.bytes;
            }
        }
        page
    }

    /// Hands the events of a batch to the watchers that are synced, one message to each.
    fn publish(&mut self, batch: Vec<Published>) {
        let Some(last) = batch.last().map(|published| published.revision) else {
            return;
        };
        let state = self;
        // What each group is given of the whole batch: one message to each of its members.
        let mut hits: BTreeMap<u64, Vec<(i64, &Event)>> = BTreeMap::new();
        for published in &batch {
            for event in published.events.iter() {
                let Some(kv) = &event.kv else { continue };
                state.synced.index.matching(&kv.key, |group| {
                    let found = state.synced.groups.get(group);
                    if found.is_some_and(|(interest, _)| interest.wants(event)) {
                        hits.entry(*group).or_default().push((published.revision, event));
                    }
                });
            }
        }
        let mut fallen: Vec<WatcherKey> = Vec::new();
        for (group, events) in hits {
            let Some((interest, group)) = state.synced.groups.get(&group) else {
                continue;
            };
            let since = |first: i64| events.iter().filter(move |(revision, _)| *revision >= first);
            let encode = |first| EncodedEvents::new(since(first).map(|(_, event)| *event), interest.previous);
            let begin = events.first().map_or(last, |(revision, _)| *revision);
            let shared = encode(begin);
            for (watcher, first) in &group.members {
                let (begin, events) = if *first <= begin {
                    (begin, shared.clone())
                } else {
                    (*first, encode(*first))
                };
                if events.is_empty() {
                    continue;
                }
                let Some(stream) = state.streams.get_mut(&watcher.0) else {
                    continue;
                };
                let message = Message::Events {
                    watch_id: watcher.1,
                    revision: last,
                    events,
                };
                match stream.queue.try_send(message) {
                    Ok(()) => stream.queued += 1,
                    // A stream about to unsubscribe.
                    Err(TrySendError::Closed(_)) => {}
                    Err(TrySendError::Full(_)) => {
                        if let Some(found) = stream.watchers.get_mut(&watcher.1) {
                            found.place = Place::Behind {
                                next: begin,
                                after: stream.queued,
                            };
                            fallen.push(*watcher);
                        }
                        stream.behind.notify_one();
                    }
                }
            }
        }
        for watcher in fallen {
            let found = state
                .streams
                .get(&watcher.0)
                .and_then(|stream| stream.watchers.get(&watcher.1));
            if let Some(found) = found {
                state.synced.remove(&found.interest, watcher);
            }
        }
        state.revision = last;
        for published in batch {
            state.ring_bytes += published.bytes;
            state.ring.push_back(published);
        }
        while state.ring_bytes > RING_BYTES && state.ring.len() > 1 {
            if let Some(old) = state.ring.pop_front() {
                state.ring_bytes -= old.bytes;
            }
        }
    }
}

/// How much there is to do.
#[derive(Debug, Clone, Copy, Default)]
pub struct HubSizes {
    pub watchers: u64,
    pub streams: u64,
    /// Watchers that are not synced.
    pub behind: u64,
    /// Messages that wait in the streams' queues.
    pub pending: u64,
}

/// The hub of a member.
pub struct WatchHub {
    state: Mutex<State>,
    sabotage: Sabotage,
}

impl WatchHub {
    pub fn new(revision: i64) -> Self {
        Self {
            state: Mutex::new(State {
                revision,
                ..State::default()
            }),
            sabotage: Sabotage::NONE,
        }
    }

    /// With a known bug, in a simulation.
    pub fn with_sabotage(mut self, sabotage: Sabotage) -> Self {
        self.sabotage = sabotage;
        self
    }

    pub fn revision(&self) -> i64 {
        self.lock().revision
    }

    pub fn sizes(&self) -> HubSizes {
        let state = self.lock();
        let mut sizes = HubSizes {
            streams: state.streams.len() as u64,
            ..HubSizes::default()
        };
        for stream in state.streams.values() {
            sizes.watchers += stream.watchers.len() as u64;
            sizes.pending += (stream.queue.max_capacity() - stream.queue.capacity()) as u64;
            let behind = stream
                .watchers
                .values()
                .filter(|watcher| watcher.place != Place::Synced);
            sizes.behind += behind.count() as u64;
        }
        sizes
    }

    pub fn subscribe(&self) -> Subscription {
        let mut state = self.lock();
        let (sender, queue) = mpsc::channel(STREAM_QUEUE);
        let behind = Arc::new(Notify::new());
        let id = state.next_stream;
        state.next_stream += 1;
        state.streams.insert(
            id,
            Stream {
                queue: sender,
                behind: Arc::clone(&behind),
                queued: 0,
                watchers: BTreeMap::new(),
            },
        );
        Subscription { id, queue, behind }
    }

    pub fn unsubscribe(&self, stream: u64) {
        let mut state = self.lock();
        if let Some(gone) = state.streams.remove(&stream) {
            for (watch_id, watcher) in gone.watchers {
                state.synced.remove(&watcher.interest, (stream, watch_id));
            }
        }
    }

    /// Adds a watcher that wants every event from `start_revision` on; 0: every one after now. Gives the
    /// revision published by now.
    pub fn watch(&self, stream: u64, watch_id: i64, interest: Interest, start_revision: i64) -> i64 {
        let mut state = self.lock();
        let first = if start_revision == 0 {
            state.revision + 1
        } else {
            start_revision
        };
        let place = if first > state.revision || self.sabotage.is("watch-gap-at-resumption") {
            Place::Synced
        } else {
            Place::Behind {
                next: first,
                after: 0,
            }
        };
        if place == Place::Synced {
            state.synced.insert(&interest, (stream, watch_id), first);
        }
        if let Some(stream) = state.streams.get_mut(&stream) {
            stream.watchers.insert(
                watch_id,
                Watcher {
                    interest,
                    place,
                    first,
                    start_revision,
                },
            );
            if place != Place::Synced {
                stream.behind.notify_one();
            }
        }
        state.revision
    }

    /// Takes a watcher out; says whether there was one.
    pub fn unwatch(&self, stream: u64, watch_id: i64) -> bool {
        let mut state = self.lock();
        let gone = state
            .streams
            .get_mut(&stream)
            .and_then(|stream| stream.watchers.remove(&watch_id));
        if let Some(watcher) = &gone {
            state.synced.remove(&watcher.interest, (stream, watch_id));
        }
        gone.is_some()
    }

    /// Hands new events to the watchers that are synced.
    pub fn publish(&self, batch: Vec<Published>) {
        let mut state = self.lock();
        let (mut part, mut bytes) = (Vec::new(), 0);
        for published in batch {
            if bytes > 0 && bytes + published.bytes > MESSAGE_BYTES {
                state.publish(std::mem::take(&mut part));
                bytes = 0;
            }
            bytes += published.bytes;
            part.push(published);
        }
        state.publish(part);
    }

    /// The state was replaced by a snapshot: every watcher has to read on from disk.
    pub fn jump(&self, revision: i64) {
        let mut state = self.lock();
        let state = &mut *state;
        let next = state.revision + 1;
        state.revision = revision;
        state.ring.clear();
        state.ring_bytes = 0;
        if self.sabotage.is("watch-gap-at-snapshot") {
            return;
        }
        for (stream_id, stream) in &mut state.streams {
            for (watch_id, watcher) in &mut stream.watchers {
                if watcher.place == Place::Synced && watcher.first <= revision {
                    watcher.place = Place::Behind {
                        next: next.max(watcher.first),
                        after: stream.queued,
                    };
                    state.synced.remove(&watcher.interest, (*stream_id, *watch_id));
                }
            }
            stream.behind.notify_one();
        }
    }

    /// The next watcher of `stream` after `last` that is behind, round and round. `delivered` is how many
    /// messages of the queue the stream has passed on.
    pub fn catch_up(&self, stream: u64, last: i64, delivered: u64) -> Behind {
        let state = self.lock();
        let Some(stream) = state.streams.get(&stream) else {
            return Behind::Nobody;
        };
        let mut waiting = false;
        let mut behind = |(id, watcher): (&i64, &Watcher)| match watcher.place {
            Place::Behind { next, after } if after <= delivered => {
                Some((*id, next, watcher.interest.clone()))
            }
            Place::Behind { .. } => {
                waiting = true;
                None
            }
            Place::Synced => None,
        };
        let found = stream
            .watchers
            .range(last.saturating_add(1)..)
            .find_map(&mut behind)
            .or_else(|| stream.watchers.iter().find_map(&mut behind));
        let Some((watch_id, from, interest)) = found else {
            return if waiting {
                Behind::AfterQueue
            } else {
                Behind::Nobody
            };
        };
        let recent = match state.ring.front() {
            Some(oldest) if oldest.revision <= from => Some(state.recent(&interest, from)),
            _ => None,
        };
        Behind::Now(CatchUp {
            watch_id,
            interest,
            from,
            to: state.revision,
            recent,
        })
    }

    /// A watcher has been given everything before `next`: synced, if nothing came since.
    pub fn caught_up(&self, stream: u64, watch_id: i64, next: i64) {
        let mut state = self.lock();
        let synced = next > state.revision;
        let state = &mut *state;
        let Some(watcher) = state
            .streams
            .get_mut(&stream)
            .and_then(|stream| stream.watchers.get_mut(&watch_id))
        else {
            return;
        };
        if synced {
            watcher.place = Place::Synced;
            state
                .synced
                .insert(&watcher.interest, (stream, watch_id), watcher.first);
        } else {
            watcher.place = Place::Behind { next, after: 0 };
        }
    }

    /// Puts a progress notice of one watcher, or of all (`None`), into the stream's queue: if there are any, all
    /// are synced and have reached the revision they started at. Otherwise nothing happens, as in etcd
    /// (`server/storage/mvcc/watchable_store.go`, `progressIfSync`).
    pub fn progress(&self, stream: u64, watch_id: Option<i64>) {
        let mut state = self.lock();
        let state = &mut *state;
        let Some(stream) = state.streams.get_mut(&stream) else {
            return;
        };
        let ready = |watcher: &Watcher| {
            if self.sabotage.is("early-progress") {
                return true;
            }
            watcher.place == Place::Synced && watcher.start_revision <= state.revision
        };
        let ready = match watch_id {
            Some(id) => stream.watchers.get(&id).is_some_and(ready),
            None => !stream.watchers.is_empty() && stream.watchers.values().all(ready),
        };
        if ready {
            let notice = Message::Progress {
                watch_id: watch_id.unwrap_or(-1),
                revision: state.revision,
            };
            // A full queue means events: the client will learn of the revision from them.
            if stream.queue.try_send(notice).is_ok() {
                stream.queued += 1;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;
