#![allow(clippy::unwrap_used)]

use super::{Committed, Store};
use crate::raft::ReceivedState;
use crate::watch::event::{Behind, Interest, Message, Subscription};
use kvstore_core::{Command, KeyRange, PageLimits, history_page};
use kvstore_storage::{MemoryDisk, StagedState, StorageError, each_state_chunk};
use prost::Message as _;
use proto::etcdserverpb::{PutRequest, WatchResponse};
use proto::raftpb;
use std::sync::Arc;
use std::time::Duration;
use support::Sabotage;

fn store() -> Store {
    let engine = Arc::new(MemoryDisk::new().open(Duration::ZERO));
    Store::open(engine, Duration::from_secs(300), Sabotage::NONE).unwrap()
}

/// Applies the entries up to `to` that are still missing; each is a write of one revision.
fn apply(store: &Store, to: u64) {
    for index in store.applied.get() + 1..=to {
        let put = PutRequest {
            key: "a/1".into(),
            value: index.to_string().into(),
            ..PutRequest::default()
        };
        let command = Command {
            put: Some(put),
            ..Command::default()
        };
        let entry = (
            raftpb::LogId { term: 1, index },
            Committed::Command(Box::new(command)),
        );
        store.apply(vec![entry]).unwrap();
    }
}

/// A snapshot.
fn give(from: &Store, to: &Store) {
    let mut staged = StagedState::begin(Arc::clone(to.engine())).unwrap();
    let digest = each_state_chunk::<StorageError>(&*from.view(), |records| staged.add(records)).unwrap();
    staged.check(digest).unwrap();
    to.install(ReceivedState::of(staged)).unwrap();
}

fn revisions(events: &[proto::mvccpb::Event]) -> Vec<i64> {
    let revisions = events.iter().map(|event| event.kv.as_ref().unwrap().mod_revision);
    revisions.collect()
}

/// What a stream with one watcher would send now: from its queue, then what is behind.
fn told(store: &Store, stream: &mut Subscription, delivered: &mut u64) -> Vec<i64> {
    let mut told = Vec::new();
    while let Ok(message) = stream.queue.try_recv() {
        *delivered += 1;
        if let Message::Events { events, .. } = message {
            told.extend(revisions(&WatchResponse::decode(events.whole()).unwrap().events));
        }
    }
    while let Behind::Now(work) = store.hub.catch_up(stream.id, -1, *delivered) {
        let limits = PageLimits {
            revisions: 4,
            bytes: 1 << 20,
        };
        let page = match work.recent {
            Some(page) => page,
            None => {
                let view = store.view();
                history_page(&*view, &work.interest.range, (work.from, work.to), false, limits).unwrap()
            }
        };
        told.extend(revisions(&page.events));
        store.hub.caught_up(stream.id, work.watch_id, page.next_revision);
    }
    told
}

/// etcd issues 15271 and 18055: a member that was away is given one snapshot, and then another one. Its watchers
/// go on where they were, through both, and again with the log.
#[test]
fn snapshots_neither_repeat_nor_skip_what_watchers_are_told() {
    let (leader, follower) = (store(), store());
    apply(&leader, 10);
    apply(&follower, 10);
    let mut stream = follower.hub.subscribe();
    let interest = Interest {
        range: KeyRange::new("a/".into(), "a0".into()),
        no_puts: false,
        no_deletes: false,
        previous: false,
    };
    assert_eq!(follower.hub.watch(stream.id, 0, interest, 0), 11);
    let mut delivered = 0;
    apply(&follower, 12);
    for to in [30, 31, 50] {
        apply(&leader, to);
        give(&leader, &follower);
        assert_eq!(follower.applied.get(), to);
        assert_eq!(follower.hub.revision(), to as i64 + 1);
    }
    apply(&follower, 52);
    assert_eq!(
        told(&follower, &mut stream, &mut delivered),
        (12..=53).collect::<Vec<i64>>()
    );
    apply(&follower, 54);
    assert_eq!(told(&follower, &mut stream, &mut delivered), [54, 55]);
}

#[test]
fn readers_of_the_newest_state_and_of_older_ones_are_counted() {
    let store = store();
    apply(&store, 2);
    assert_eq!(store.open_views(), 0);
    let (first, second) = (store.view(), store.view());
    apply(&store, 4);
    let third = store.view();
    assert_eq!(store.open_views(), 3);
    drop((first, third));
    assert_eq!(store.open_views(), 1);
    drop(second);
    assert_eq!(store.open_views(), 0);
}
