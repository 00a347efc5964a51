//! The watch contract that API servers rely on.

use super::harness::{channel, put, put_soon, single};
use bytes::Bytes;
use proto::etcdserverpb::kv_client::KvClient;
use proto::etcdserverpb::watch_client::WatchClient;
use proto::etcdserverpb::watch_request::RequestUnion;
use proto::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, WatchCancelRequest, WatchCreateRequest, WatchProgressRequest,
    WatchRequest, WatchResponse,
};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

/// A client's watch stream.
pub struct Watching {
    requests: mpsc::Sender<WatchRequest>,
    responses: Streaming<WatchResponse>,
}

impl Watching {
    pub async fn open(address: &str) -> Self {
        let (requests, receiver) = mpsc::channel(16);
        let mut client = WatchClient::new(channel(address));
        let responses = client
            .watch(ReceiverStream::new(receiver))
            .await
            .unwrap()
            .into_inner();
        Self { requests, responses }
    }

    pub async fn ask(&self, request: RequestUnion) {
        let request = WatchRequest {
            request_union: Some(request),
        };
        self.requests.send(request).await.unwrap();
    }

    pub async fn create(&mut self, create: WatchCreateRequest) -> WatchResponse {
        self.ask(RequestUnion::CreateRequest(create)).await;
        self.next().await
    }

    pub async fn next(&mut self) -> WatchResponse {
        let next = tokio::time::timeout(Duration::from_secs(30), self.responses.message());
        next.await
            .expect("a response in time")
            .unwrap()
            .expect("the stream goes on")
    }
}

fn prefix(start_revision: i64) -> WatchCreateRequest {
    WatchCreateRequest {
        key: "a/".into(),
        range_end: "a0".into(),
        start_revision,
        prev_kv: true,
        ..WatchCreateRequest::default()
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

#[test]
fn a_watch_sees_past_and_present_events_with_what_was_before() {
    let node = single();
    runtime().block_on(async {
        let address = &node.address;
        let first = put_soon(address, "a/1", "one").await;
        put(address, "b/1", "other").await.unwrap();
        put(address, "a/1", "two").await.unwrap();
        let mut watch = Watching::open(address).await;
        let created = watch.create(prefix(first)).await;
        assert!(created.created && !created.canceled && created.watch_id == 0);
        assert_eq!(created.header.unwrap().revision, first + 2);
        let past = watch.next().await;
        let seen: Vec<_> = past
            .events
            .iter()
            .map(|event| {
                let kv = event.kv.clone().unwrap();
                (
                    kv.mod_revision,
                    kv.value,
                    event.prev_kv.clone().map(|kv| kv.value),
                )
            })
            .collect();
        assert_eq!(
            seen,
            [
                (first, Bytes::from("one"), None),
                (first + 2, Bytes::from("two"), Some(Bytes::from("one")))
            ]
        );
        let delete = DeleteRangeRequest {
            key: "a/1".into(),
            ..DeleteRangeRequest::default()
        };
        KvClient::new(channel(address))
            .delete_range(delete)
            .await
            .unwrap();
        let present = watch.next().await;
        assert_eq!(present.header.unwrap().revision, first + 3);
        let event = &present.events[0];
        assert_eq!(
            (event.r#type, event.prev_kv.clone().unwrap().value),
            (1, Bytes::from("two"))
        );
        assert_eq!(event.kv.clone().unwrap().mod_revision, first + 3);
        // Progress: everything up to the current revision has been sent.
        put(address, "b/2", "unseen").await.unwrap();
        watch
            .ask(RequestUnion::ProgressRequest(WatchProgressRequest {}))
            .await;
        let progress = watch.next().await;
        assert_eq!((progress.watch_id, progress.events.len()), (-1, 0));
        assert_eq!(progress.header.unwrap().revision, first + 4);
        // Cancel.
        watch
            .ask(RequestUnion::CancelRequest(WatchCancelRequest { watch_id: 0 }))
            .await;
        let canceled = watch.next().await;
        assert!(canceled.canceled && canceled.compact_revision == 0 && canceled.watch_id == 0);
    });
}

#[test]
fn bad_watches_are_refused_as_etcd_refuses_them() {
    let node = single();
    runtime().block_on(async {
        let address = &node.address;
        let revision = put_soon(address, "a/1", "one").await;
        put(address, "a/1", "two").await.unwrap();
        put(address, "a/1", "three").await.unwrap();
        let compaction = CompactionRequest {
            revision: revision + 2,
            physical: true,
        };
        KvClient::new(channel(address)).compact(compaction).await.unwrap();
        let mut watch = Watching::open(address).await;
        let negative = watch.create(prefix(-1)).await;
        assert!(negative.created && negative.canceled && negative.watch_id == -1);
        assert_eq!(
            negative.cancel_reason,
            "etcdserver: mvcc: required revision has been compacted"
        );
        let mut empty = prefix(0);
        empty.range_end = "a".into();
        assert_eq!(
            watch.create(empty).await.cancel_reason,
            "mvcc: watcher range is empty"
        );
        // Into the compacted past: created, then canceled with the revision to start again from.
        let created = watch.create(prefix(revision)).await;
        assert!(created.created && !created.canceled);
        let canceled = watch.next().await;
        assert!(canceled.canceled && canceled.cancel_reason.is_empty());
        assert_eq!(
            (canceled.compact_revision, canceled.header.unwrap().revision),
            (revision + 2, 0)
        );
        // At the compacted revision itself it works.
        let created = watch.create(prefix(revision + 2)).await;
        assert!(created.created && !created.canceled);
        let event = watch.next().await.events.remove(0);
        assert_eq!(
            (event.kv.unwrap().value, event.prev_kv),
            (Bytes::from("three"), None)
        );
        // The same id twice.
        let mut same = prefix(0);
        same.watch_id = created.watch_id;
        if created.watch_id == 0 {
            same.watch_id = 7;
            watch.create(same.clone()).await;
        }
        let duplicate = watch.create(same).await;
        assert!(duplicate.canceled && duplicate.cancel_reason.starts_with("mvcc: duplicate watch ID"));
    });
}

#[test]
fn a_slow_watcher_loses_nothing_and_holds_up_nobody() {
    let node = single();
    runtime().block_on(async {
        let address = &node.address;
        let first = put_soon(address, "a/0", "x").await;
        let mut slow = Watching::open(address).await;
        slow.create(prefix(first)).await;
        let value = "v".repeat(64 << 10);
        let count = 400;
        for number in 1..count {
            put(address, &format!("a/{number}"), &value).await.unwrap();
        }
        // Only now does the slow one read: 25 MB, more than all the queues on the way hold.
        let (mut next, mut last_response) = (first, 0);
        while next < first + count {
            let response = slow.next().await;
            for event in &response.events {
                assert_eq!(
                    event.kv.as_ref().unwrap().mod_revision,
                    next,
                    "in order, none twice, none missing"
                );
                next += 1;
            }
            let revision = response.header.unwrap().revision;
            assert!(revision >= last_response);
            last_response = revision;
        }
        slow.ask(RequestUnion::ProgressRequest(WatchProgressRequest {}))
            .await;
        assert_eq!(slow.next().await.header.unwrap().revision, first + count - 1);
    });
}

#[test]
fn a_progress_notice_never_speaks_for_a_watcher_that_came_after_it() {
    let node = single();
    runtime().block_on(async {
        let address = &node.address;
        let first = put_soon(address, "a/1", "one").await;
        for number in 0..20 {
            put(address, "a/1", &number.to_string()).await.unwrap();
        }
        let mut watch = Watching::open(address).await;
        watch.create(prefix(0)).await;
        for late in 1..=20 {
            // Both are there before the server looks at the first.
            watch
                .ask(RequestUnion::ProgressRequest(WatchProgressRequest {}))
                .await;
            watch.ask(RequestUnion::CreateRequest(prefix(first))).await;
            let (mut created, mut told, mut events) = (false, false, 0);
            while !(created && told && events == 21) {
                let response = watch.next().await;
                if response.watch_id == -1 {
                    // The client hands it to every watcher that it knows of.
                    assert!(!created || events == 21, "progress before the events of {late}");
                    told = true;
                } else {
                    assert_eq!(response.watch_id, late);
                    created |= response.created;
                    events += response.events.len();
                }
            }
        }
    });
}

#[test]
fn a_stream_without_watchers_has_no_progress_to_tell() {
    let node = single();
    runtime().block_on(async {
        put_soon(&node.address, "a/1", "one").await;
        let mut watch = Watching::open(&node.address).await;
        watch
            .ask(RequestUnion::ProgressRequest(WatchProgressRequest {}))
            .await;
        let next = watch.create(prefix(0)).await;
        assert!(next.created, "{next:?}");
    });
}

#[test]
fn a_cancel_does_not_leave_a_slow_watcher_behind() {
    let node = single();
    runtime().block_on(async {
        let address = &node.address;
        put_soon(address, "a/0", "x").await;
        let mut slow = Watching::open(address).await;
        slow.create(prefix(0)).await;
        let mut other = prefix(0);
        (other.key, other.range_end) = ("b".into(), Bytes::new());
        slow.create(other).await;
        let value = "v".repeat(64 << 10);
        let mut last = 0;
        for number in 0..400 {
            last = put(address, &format!("a/{number}"), &value).await.unwrap();
        }
        // The stream is stuck with its client now, its queue is full and the watcher of `a/` is behind.
        slow.ask(RequestUnion::CancelRequest(WatchCancelRequest { watch_id: 1 }))
            .await;
        loop {
            let response = slow.next().await;
            if (response.events.last()).is_some_and(|event| event.kv.as_ref().unwrap().mod_revision == last) {
                break;
            }
        }
    });
}

#[test]
fn the_id_of_a_compacted_watcher_is_taken_until_it_is_canceled() {
    let node = single();
    runtime().block_on(async {
        let address = &node.address;
        put_soon(address, "a/1", "one").await;
        let revision = put(address, "a/1", "two").await.unwrap();
        let compaction = CompactionRequest {
            revision,
            physical: true,
        };
        KvClient::new(channel(address)).compact(compaction).await.unwrap();
        let mut watch = Watching::open(address).await;
        let mut late = prefix(1);
        late.watch_id = 5;
        assert!(watch.create(late.clone()).await.created);
        assert_eq!(watch.next().await.compact_revision, revision);
        assert_eq!(watch.create(late.clone()).await.watch_id, -1);
        let canceled = {
            watch
                .ask(RequestUnion::CancelRequest(WatchCancelRequest { watch_id: 5 }))
                .await;
            watch.next().await
        };
        assert!(canceled.canceled && canceled.watch_id == 5 && canceled.compact_revision == 0);
        late.start_revision = 0;
        assert_eq!(watch.create(late).await.watch_id, 5);
        // Both faults at once: the revision is looked at first.
        let mut wrong = prefix(-1);
        wrong.range_end = "a".into();
        assert_eq!(
            watch.create(wrong).await.cancel_reason,
            "etcdserver: mvcc: required revision has been compacted"
        );
    });
}
