//! The hub against the plain list of all events: watchers that come, go, fall behind and catch up at random.
#![allow(clippy::unwrap_used)]

use super::WatchHub;
use crate::watch::event::{Behind, Interest, Message, Published, Subscription};
use kvstore_core::KeyRange;
use prost::Message as _;
use proto::etcdserverpb::WatchResponse;
use proto::mvccpb::{Event, KeyValue};
use std::collections::BTreeMap;
use support::Random;

const SEEDS: u64 = 80;
const STEPS: usize = 150;

/// What a watcher must still be told.
struct Expecting {
    interest: Interest,
    /// The first revision that it hasn't been told all about.
    from: i64,
}

impl Expecting {
    fn next(&self, history: &[Published]) -> Option<Event> {
        let later = history.iter().filter(|published| published.revision >= self.from);
        later
            .flat_map(|published| published.events.iter())
            .find_map(|event| self.interest.pick(event))
    }
}

/// A client's stream: what it has been told is checked as it comes.
struct Client {
    subscription: Subscription,
    delivered: u64,
    last: i64,
    watchers: BTreeMap<i64, Expecting>,
}

impl Client {
    fn new(hub: &WatchHub) -> Self {
        Self {
            subscription: hub.subscribe(),
            delivered: 0,
            last: -1,
            watchers: BTreeMap::new(),
        }
    }

    fn deliver(&mut self, count: usize, history: &[Published]) {
        for _ in 0..count {
            let Ok(message) = self.subscription.queue.try_recv() else {
                return;
            };
            self.delivered += 1;
            match message {
                Message::Events {
                    watch_id,
                    revision,
                    events,
                } => {
                    let response = WatchResponse::decode(events.whole()).unwrap();
                    self.told(watch_id, revision, &response.events, history);
                }
                Message::Progress { watch_id, revision } => {
                    for (id, watcher) in &self.watchers {
                        if watch_id == -1 || watch_id == *id {
                            let owed = watcher.next(history).and_then(|event| event.kv);
                            assert!(
                                owed.is_none_or(|kv| kv.mod_revision > revision),
                                "progress {revision} of {id}"
                            );
                        }
                    }
                }
            }
        }
    }

    /// All events of whole revisions, in order, up to `revision` at most.
    fn told(&mut self, id: i64, revision: i64, events: &[Event], history: &[Published]) {
        let Some(watcher) = self.watchers.get_mut(&id) else {
            return;
        };
        assert!(!events.is_empty(), "a message without events");
        let newest = events.last().unwrap().kv.as_ref().unwrap().mod_revision;
        assert!(newest <= revision);
        let due = history
            .iter()
            .filter(|p| (watcher.from..=newest).contains(&p.revision));
        let due = due.flat_map(|published| published.events.iter());
        let due: Vec<Event> = due.filter_map(|event| watcher.interest.pick(event)).collect();
        assert_eq!(events, due, "watcher {id} from {}", watcher.from);
        watcher.from = newest + 1;
    }

    /// One page for the next who is behind; says whether there was one.
    fn catch_up(&mut self, hub: &WatchHub, history: &[Published], random: &Random) -> bool {
        let Behind::Now(work) = hub.catch_up(self.subscription.id, self.last, self.delivered) else {
            return false;
        };
        self.last = work.watch_id;
        let (events, next) = match work.recent {
            Some(page) => (page.events, page.next_revision),
            // As from disk: some revisions of it.
            None => {
                let next = (work.from + 1 + random.below(0..40) as i64).min(work.to + 1);
                let page = history.iter().filter(|p| (work.from..next).contains(&p.revision));
                let page = page.flat_map(|published| published.events.iter());
                (page.filter_map(|event| work.interest.pick(event)).collect(), next)
            }
        };
        if !events.is_empty() {
            self.told(work.watch_id, work.to, &events, history);
        }
        hub.caught_up(self.subscription.id, work.watch_id, next);
        true
    }
}

struct World {
    hub: WatchHub,
    history: Vec<Published>,
    clients: Vec<Client>,
    random: Random,
}

impl World {
    fn revision(&self) -> i64 {
        self.history.last().map_or(1, |published| published.revision)
    }

    fn below(&self, end: u64) -> u64 {
        self.random.below(0..end)
    }

    /// The next revision: some puts and deletes.
    fn write(&mut self) -> Published {
        let revision = self.revision() + 1;
        let events = (0..=self.below(3)).map(|number| {
            let kv = KeyValue {
                key: vec![b'a' + self.below(4) as u8, b'/', b'0' + number as u8].into(),
                mod_revision: revision,
                ..KeyValue::default()
            };
            Event {
                r#type: i32::from(self.below(3) == 0),
                prev_kv: (self.below(2) == 0).then(|| kv.clone()),
                kv: Some(kv),
            }
        });
        let mut published = Published::new(revision, events.collect());
        if self.below(4) == 0 {
            // Large, so that the ring forgets the oldest and messages are cut.
            published.bytes = 700 << 10;
        }
        self.history.push(published.clone());
        published
    }

    fn interest(&self) -> Interest {
        let key = |number: u64| bytes::Bytes::from(vec![b'a' + number as u8, b'/']);
        let (from, to) = (self.below(4), self.below(5));
        let range = match self.below(4) {
            0 => KeyRange::new(vec![b'a' + from as u8, b'/', b'0'].into(), bytes::Bytes::new()),
            1 => KeyRange::new(key(from), key(to.max(from + 1))),
            2 => KeyRange::new(key(from), vec![0].into()),
            _ => KeyRange::new(key(from), vec![b'a' + from as u8, b'0'].into()),
        };
        Interest {
            range,
            no_puts: self.below(6) == 0,
            no_deletes: self.below(6) == 0,
            previous: self.below(2) == 0,
        }
    }

    fn step(&mut self) {
        let at = self.below(self.clients.len() as u64) as usize;
        match self.below(16) {
            0..5 => {
                let count = if self.below(12) == 0 {
                    200
                } else {
                    1 + self.below(4)
                };
                let batch: Vec<Published> = (0..count).map(|_| self.write()).collect();
                if self.below(3) == 0 {
                    self.hub.publish(batch);
                } else {
                    batch
                        .into_iter()
                        .for_each(|published| self.hub.publish(vec![published]));
                }
            }
            5..8 => self.join(at),
            8 => {
                let ids: Vec<i64> = self.clients[at].watchers.keys().copied().collect();
                if !ids.is_empty() {
                    let id = ids[self.below(ids.len() as u64) as usize];
                    assert!(self.hub.unwatch(self.clients[at].subscription.id, id));
                    self.clients[at].watchers.remove(&id);
                    // What is queued for it must not be taken for a later one of this id.
                    self.clients[at].deliver(usize::MAX, &self.history);
                }
            }
            9 => {
                let id = self.below(4) as i64;
                let one = (self.below(2) == 0 && self.clients[at].watchers.contains_key(&id)).then_some(id);
                self.hub.progress(self.clients[at].subscription.id, one);
                self.clients[at].deliver(usize::MAX, &self.history);
            }
            10..13 => {
                let count = self.below(60) as usize;
                self.clients[at].deliver(count, &self.history);
            }
            13..15 => {
                let random = self.random.clone();
                self.clients[at].catch_up(&self.hub, &self.history, &random);
            }
            _ if self.below(10) == 0 => {
                // A snapshot: revisions that nobody has published.
                for _ in 0..self.below(20) {
                    self.write();
                }
                self.hub.jump(self.revision());
            }
            _ if self.below(10) == 0 => {
                self.hub.unsubscribe(self.clients[at].subscription.id);
                self.clients[at] = Client::new(&self.hub);
            }
            _ => {}
        }
    }

    fn join(&mut self, at: usize) {
        let id = self.below(6) as i64;
        if self.clients[at].watchers.contains_key(&id) {
            return;
        }
        let start = match self.below(4) {
            0 => 0,
            1 => 1 + self.below(self.revision() as u64) as i64,
            2 => (self.revision() - self.below(6) as i64).max(1),
            _ => self.revision() + self.below(8) as i64,
        };
        let interest = self.interest();
        let stream = self.clients[at].subscription.id;
        let now = self.hub.watch(stream, id, interest.clone(), start);
        assert_eq!(now, self.revision());
        let from = if start == 0 { now + 1 } else { start };
        self.clients[at].watchers.insert(id, Expecting { interest, from });
    }

    /// Everyone reads to the end: then nothing is owed to anyone.
    fn finish(&mut self) {
        let random = self.random.clone();
        for client in &mut self.clients {
            loop {
                client.deliver(usize::MAX, &self.history);
                if !client.catch_up(&self.hub, &self.history, &random) {
                    break;
                }
            }
            for (id, watcher) in &client.watchers {
                let owed = watcher.next(&self.history);
                assert!(owed.is_none(), "{owed:?} is owed to {id} from {}", watcher.from);
            }
        }
    }
}

#[test]
fn every_watcher_is_told_every_event_once_and_in_order() {
    for seed in 0..SEEDS {
        let hub = WatchHub::new(1);
        let mut world = World {
            clients: (0..3).map(|_| Client::new(&hub)).collect(),
            hub,
            history: Vec::new(),
            random: Random::seeded(seed),
        };
        for _ in 0..STEPS {
            world.step();
        }
        world.finish();
    }
}
