//! Watch streams with every option, on both stores: what each watcher is told must be the same.
//!
//! A script is made up while it is played on our store, then played again on etcd. The order between watchers is
//! nobody's promise, so the record is kept for each of them.

use super::requests::{Generator, KEYS, Step};
use super::stores::{Etcd, Store};
use crate::harness::{runtime, single};
use bytes::Bytes;
use proto::etcdserverpb::watch_request::RequestUnion;
use proto::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, PutRequest, WatchCancelRequest, WatchCreateRequest, WatchRequest,
    WatchResponse,
};
use std::collections::BTreeMap;
use std::time::Duration;
use support::Random;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

const SEEDS: std::ops::Range<u64> = 0..30;
const ACTS: u64 = 30;
const STREAMS: u64 = 2;
/// The watcher of nothing.
const NOTHING: i64 = 900;

#[derive(Debug)]
enum Act {
    Write(Step),
    Create(usize, WatchCreateRequest),
    /// Cancels a watcher after it has been told everything.
    Cancel(usize, i64),
    /// Compacts after all watchers have been told everything: a value before may be gone after.
    Compact(i64),
}

/// What is known of a watcher that lives.
#[derive(Debug, Clone)]
struct Live {
    create: WatchCreateRequest,
    /// It starts with the present or later, so that each revision is a message of its own.
    exact: bool,
}

struct Stream {
    requests: mpsc::Sender<WatchRequest>,
    responses: Streaming<WatchResponse>,
    live: BTreeMap<i64, Live>,
    told: BTreeMap<i64, Vec<String>>,
}

impl Stream {
    /// Opens the stream with a watcher of nothing: etcd says nothing at all before it's asked something.
    async fn open(store: &mut Store) -> Self {
        let (requests, receiver) = mpsc::channel(16);
        let first = WatchRequest {
            request_union: Some(RequestUnion::CreateRequest(WatchCreateRequest {
                key: "nothing".into(),
                watch_id: NOTHING,
                ..WatchCreateRequest::default()
            })),
        };
        requests.send(first).await.unwrap();
        let responses = store.watch.watch(ReceiverStream::new(receiver)).await.unwrap();
        let mut stream = Self {
            requests,
            responses: responses.into_inner(),
            live: BTreeMap::new(),
            told: BTreeMap::new(),
        };
        stream.until(|response| response.created).await;
        stream
    }

    async fn ask(&self, request: RequestUnion) {
        let request = WatchRequest {
            request_union: Some(request),
        };
        self.requests.send(request).await.unwrap();
    }

    /// Takes down messages until one is `awaited`.
    async fn until(&mut self, awaited: impl Fn(&WatchResponse) -> bool) -> WatchResponse {
        loop {
            let next = tokio::time::timeout(Duration::from_secs(30), self.responses.message()).await;
            let next = next.unwrap_or_else(|_| panic!("nothing comes; told so far: {:#?}", self.told));
            let response = next.unwrap().expect("the stream goes on");
            self.take_down(&response);
            if awaited(&response) {
                return response;
            }
        }
    }

    fn take_down(&mut self, response: &WatchResponse) {
        let told = self.told.entry(response.watch_id).or_default();
        let revision = response.header.as_ref().map_or(0, |header| header.revision);
        if response.canceled {
            // By compaction, too, while something else is waited for.
            self.live.remove(&response.watch_id);
        }
        if response.created || response.canceled {
            told.push(format!(
                "created {} canceled {} reason {:?} compacted {} at {revision}",
                response.created, response.canceled, response.cancel_reason, response.compact_revision
            ));
        }
        if response.events.is_empty() {
            return;
        }
        if self.live.get(&response.watch_id).is_some_and(|live| live.exact) {
            told.push(format!("at {revision}:"));
        }
        told.extend(response.events.iter().map(|event| format!("{event:?}")));
    }
}

/// One store while a script is played.
struct Player<'a> {
    store: &'a mut Store,
    streams: Vec<Stream>,
    revision: i64,
    compacted: i64,
}

impl<'a> Player<'a> {
    async fn new(store: &'a mut Store, (revision, compacted): (i64, i64)) -> Self {
        let mut streams = Vec::new();
        for _ in 0..STREAMS {
            streams.push(Stream::open(store).await);
        }
        Self {
            store,
            streams,
            revision,
            compacted,
        }
    }

    async fn write(&mut self, step: &Step) {
        let (_, revision) = self.store.run(step).await;
        self.revision = self.revision.max(revision);
    }

    async fn play(&mut self, act: &Act) {
        match act {
            Act::Write(step) => self.write(step).await,
            Act::Create(stream, create) => {
                let exact = create.start_revision == 0 || create.start_revision > self.revision;
                let stream = &mut self.streams[*stream];
                stream.ask(RequestUnion::CreateRequest(create.clone())).await;
                let created = stream.until(|response| response.created).await;
                if created.canceled {
                    return;
                }
                if (1..self.compacted).contains(&create.start_revision) {
                    let id = created.watch_id;
                    stream
                        .until(|response| response.canceled && response.watch_id == id)
                        .await;
                    return;
                }
                let create = create.clone();
                stream.live.insert(created.watch_id, Live { create, exact });
            }
            Act::Cancel(stream, id) => {
                self.witness(*stream, *id).await;
                let stream = &mut self.streams[*stream];
                let cancel = WatchCancelRequest { watch_id: *id };
                stream.ask(RequestUnion::CancelRequest(cancel)).await;
                // An unknown one is not answered.
                if stream.live.remove(id).is_some() {
                    stream
                        .until(|response| response.canceled && response.watch_id == *id)
                        .await;
                }
            }
            Act::Compact(revision) => {
                self.witness_all().await;
                let compact = Step::Compact(CompactionRequest {
                    revision: *revision,
                    physical: true,
                });
                self.write(&compact).await;
                // One that goes back is refused.
                self.compacted = self.compacted.max(*revision);
            }
        }
    }

    async fn witness_all(&mut self) {
        for stream in 0..self.streams.len() {
            let ids: Vec<i64> = self.streams[stream].live.keys().copied().collect();
            for id in ids {
                self.witness(stream, id).await;
            }
        }
    }

    /// Writes something that the watcher sees, and waits until it has.
    async fn witness(&mut self, stream: usize, id: i64) {
        let Some(live) = self.streams[stream].live.get(&id).cloned() else {
            return;
        };
        let key = if live.create.key.is_empty() {
            Bytes::from_static(&[0])
        } else {
            live.create.key.clone()
        };
        let before = self.revision;
        self.write(&Step::Put(PutRequest {
            key: key.clone(),
            ..PutRequest::default()
        }))
        .await;
        self.write(&Step::Delete(DeleteRangeRequest {
            key,
            ..DeleteRangeRequest::default()
        }))
        .await;
        let seen = match (live.create.filters.contains(&0), live.create.filters.contains(&1)) {
            (_, false) => before + 2,
            (false, true) => before + 1,
            (true, true) => return,
        };
        if live.create.start_revision > seen {
            return;
        }
        let last = self.streams[stream]
            .until(|response| {
                let events = &mut response.events.iter();
                let end =
                    response.canceled || events.any(|event| event.kv.as_ref().unwrap().mod_revision == seen);
                response.watch_id == id && end
            })
            .await;
        if last.canceled {
            self.streams[stream].live.remove(&id);
        }
    }

    fn told(self) -> Vec<BTreeMap<i64, Vec<String>>> {
        self.streams.into_iter().map(|stream| stream.told).collect()
    }
}

impl Generator {
    fn act(&self, player: &Player<'_>, compacted: i64) -> Act {
        let stream = self.below(STREAMS) as usize;
        match self.below(20) {
            0..9 => loop {
                let step = self.step();
                if matches!(step, Step::Put(_) | Step::Delete(_) | Step::Txn(_)) {
                    return Act::Write(step);
                }
            },
            9..17 => Act::Create(stream, self.create(player.revision, compacted)),
            17..19 => {
                let live: Vec<i64> = player.streams[stream].live.keys().copied().collect();
                if live.is_empty() || self.one_in(4) {
                    return Act::Cancel(stream, 77);
                }
                Act::Cancel(stream, live[self.below(live.len() as u64) as usize])
            }
            _ => Act::Compact((player.revision - self.below(10) as i64).max(1)),
        }
    }

    fn create(&self, now: i64, compacted: i64) -> WatchCreateRequest {
        // None before the first: older etcd lets such a watcher be and cancels it later, etcd from 3.6 on and ours
        // refuse it at once.
        let start_revision = match self.below(7) {
            0..3 => 0,
            3..6 => (now - self.below(25) as i64).max(1),
            _ => now + 1 + self.below(6) as i64,
        };
        WatchCreateRequest {
            key: if self.one_in(20) {
                Bytes::new()
            } else {
                Bytes::from_static(KEYS[self.below(KEYS.len() as u64) as usize])
            },
            range_end: self.end(),
            // Older etcd loses tombstones at the compacted revision itself (etcd issue 19179).
            start_revision: if start_revision == compacted {
                compacted + 1
            } else {
                start_revision
            },
            progress_notify: self.one_in(2),
            // 9 names nothing.
            filters: [0, 1, 9].into_iter().filter(|_| self.one_in(5)).collect(),
            prev_kv: self.one_in(2),
            watch_id: if self.one_in(3) {
                1 + self.below(5) as i64
            } else {
                0
            },
            fragment: self.one_in(3),
        }
    }
}

#[test]
fn watchers_are_told_what_etcds_are_told() {
    let etcd = Etcd::start();
    let node = single();
    runtime().block_on(async {
        let mut theirs = Store::at(&etcd.address);
        let mut ours = Store::at(&node.address);
        theirs.ready().await;
        ours.ready().await;
        let (mut revision, mut compacted) = (1, -1);
        for seed in SEEDS {
            let mut generator = Generator {
                random: Random::seeded(seed),
                revision,
            };
            let begin = (revision, compacted);
            let mut player = Player::new(&mut ours, begin).await;
            let mut acts = Vec::new();
            for _ in 0..ACTS {
                let act = generator.act(&player, compacted);
                player.play(&act).await;
                generator.revision = player.revision;
                if let Act::Compact(at) = &act {
                    compacted = compacted.max(*at);
                }
                acts.push(act);
            }
            player.witness_all().await;
            let told = (player.revision, player.told());
            let mut player = Player::new(&mut theirs, begin).await;
            for act in &acts {
                player.play(act).await;
            }
            player.witness_all().await;
            revision = told.0;
            let expected = (player.revision, player.told());
            assert_eq!(told.0, expected.0, "seed {seed}: {acts:#?}");
            for (got, expected) in told.1.iter().zip(&expected.1) {
                assert!(got.keys().eq(expected.keys()), "seed {seed}: {acts:#?}");
                for (id, expected) in expected {
                    // Each has been told everything up to its own witness. What the witnesses of others gave it
                    // after that may not have come when the record ends.
                    for (at, (got, expected)) in got[id].iter().zip(expected).enumerate() {
                        assert_eq!(got, expected, "seed {seed}, watcher {id}, {at}: {acts:#?}");
                    }
                }
            }
        }
    });
}

#[test]
fn fragments_are_cut_where_etcd_cuts_them() {
    let etcd = Etcd::start();
    let node = single();
    runtime().block_on(async {
        let mut told = Vec::new();
        for address in [&etcd.address, &node.address] {
            let mut store = Store::at(address);
            store.ready().await;
            let mut stream = Stream::open(&mut store).await;
            for fragment in [true, false] {
                let create = WatchCreateRequest {
                    key: "f/".into(),
                    range_end: "f0".into(),
                    prev_kv: true,
                    fragment,
                    ..WatchCreateRequest::default()
                };
                stream.ask(RequestUnion::CreateRequest(create)).await;
                stream.until(|response| response.created).await;
            }
            // The second one carries the values of both.
            let mut shape = Vec::new();
            for byte in [b'x', b'y'] {
                let put = |number| {
                    let put = PutRequest {
                        key: format!("f/{number:02}").into(),
                        value: vec![byte; 100_000].into(),
                        ..PutRequest::default()
                    };
                    proto::etcdserverpb::RequestOp {
                        request: Some(proto::etcdserverpb::request_op::Request::RequestPut(put)),
                    }
                };
                let write = Step::Txn(proto::etcdserverpb::TxnRequest {
                    success: (0..14).map(put).collect(),
                    ..proto::etcdserverpb::TxnRequest::default()
                });
                let (_, revision) = store.run(&write).await;
                let mut whole = [0, 0];
                while whole != [14, 14] {
                    let response = stream.until(|_| true).await;
                    assert_eq!(response.header.unwrap().revision, revision);
                    let id = response.watch_id as usize;
                    whole[id] += response.events.len();
                    // Only the last part says that it is the last.
                    assert_eq!(response.fragment, whole[id] < 14);
                    shape.push((id, response.events.len()));
                }
            }
            shape.sort_unstable();
            told.push((shape, stream.told));
        }
        assert_eq!(told[1], told[0]);
    });
}
