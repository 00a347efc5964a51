#![allow(clippy::unwrap_used)]

use super::{STREAM_QUEUE, WatchHub};
use crate::watch::event::{Behind, Interest, Message, Published, Subscription};
use kvstore_core::KeyRange;
use prost::Message as _;
use proto::etcdserverpb::WatchResponse;
use proto::mvccpb::{Event, KeyValue};

fn interest() -> Interest {
    Interest {
        range: KeyRange::new("a/".into(), "a0".into()),
        no_puts: false,
        no_deletes: false,
        previous: false,
    }
}

fn published(revision: i64, key: &str) -> Published {
    let kv = KeyValue {
        key: key.to_owned().into(),
        mod_revision: revision,
        ..KeyValue::default()
    };
    let event = Event {
        r#type: 0,
        kv: Some(kv),
        prev_kv: None,
    };
    Published::new(revision, vec![event])
}

/// Takes everything out of a stream's queue: the revisions of events, and progress notices.
fn drain(subscription: &mut Subscription) -> (Vec<i64>, Vec<i64>) {
    let (mut events, mut progress) = (Vec::new(), Vec::new());
    while let Ok(message) = subscription.queue.try_recv() {
        match message {
            Message::Events { events: new, .. } => {
                let response = WatchResponse::decode(new.whole()).unwrap();
                let revisions = response.events.iter();
                events.extend(revisions.map(|event| event.kv.as_ref().unwrap().mod_revision));
            }
            Message::Progress { revision, .. } => progress.push(revision),
        }
    }
    (events, progress)
}

#[test]
fn a_synced_watcher_is_given_matching_events_and_then_progress() {
    let hub = WatchHub::new(5);
    let mut stream = hub.subscribe();
    hub.watch(stream.id, 0, interest(), 0);
    hub.publish(vec![
        published(6, "a/x"),
        published(7, "b/x"),
        published(8, "a/y"),
    ]);
    hub.progress(stream.id, None);
    assert_eq!(drain(&mut stream), (vec![6, 8], vec![8]));
    hub.unwatch(stream.id, 0);
    hub.publish(vec![published(9, "a/x")]);
    assert_eq!(drain(&mut stream), (vec![], vec![]));
}

#[test]
fn a_watcher_of_the_future_hears_nothing_before_its_revision() {
    let hub = WatchHub::new(5);
    let mut stream = hub.subscribe();
    hub.watch(stream.id, 0, interest(), 8);
    hub.publish(vec![published(6, "a/x"), published(7, "a/x")]);
    hub.progress(stream.id, None);
    assert_eq!(drain(&mut stream), (vec![], vec![]));
    hub.publish(vec![published(8, "a/x")]);
    hub.progress(stream.id, None);
    assert_eq!(drain(&mut stream), (vec![8], vec![8]));
}

#[test]
fn a_watcher_with_a_full_queue_is_caught_up_only_after_what_is_queued() {
    let hub = WatchHub::new(1);
    let mut stream = hub.subscribe();
    hub.watch(stream.id, 0, interest(), 0);
    let queued = STREAM_QUEUE as i64;
    for revision in 2..queued + 12 {
        hub.publish(vec![published(revision, "a/x")]);
    }
    // Nobody is told of progress while someone is behind.
    hub.progress(stream.id, None);
    assert!(matches!(hub.catch_up(stream.id, -1, 0), Behind::AfterQueue));
    assert_eq!(drain(&mut stream), ((2..queued + 2).collect(), vec![]));
    let Behind::Now(work) = hub.catch_up(stream.id, -1, STREAM_QUEUE as u64) else {
        panic!("the watcher is behind");
    };
    assert_eq!((work.from, work.to), (queued + 2, queued + 11));
    let page = work.recent.unwrap();
    assert_eq!((page.events.len(), page.next_revision), (10, queued + 12));
    hub.caught_up(stream.id, 0, page.next_revision);
    assert!(matches!(
        hub.catch_up(stream.id, -1, STREAM_QUEUE as u64),
        Behind::Nobody
    ));
    hub.publish(vec![published(queued + 12, "a/x")]);
    hub.progress(stream.id, None);
    assert_eq!(drain(&mut stream), (vec![queued + 12], vec![queued + 12]));
}

#[test]
fn a_snapshot_sends_synced_watchers_to_the_disk() {
    let hub = WatchHub::new(1);
    let mut stream = hub.subscribe();
    hub.watch(stream.id, 0, interest(), 0);
    hub.jump(20);
    hub.progress(stream.id, None);
    assert_eq!(drain(&mut stream), (vec![], vec![]));
    let Behind::Now(work) = hub.catch_up(stream.id, -1, 0) else {
        panic!("the watcher is behind");
    };
    assert_eq!((work.from, work.to, work.recent.is_none()), (2, 20, true));
}
