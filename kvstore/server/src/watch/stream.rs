//! One client's watch stream (etcd `server/etcdserver/api/v3rpc/watch.go`).

use super::event::{Behind, CatchUp, EncodedEvents, Interest, Message, Subscription};
use crate::auth::{Access, Origin};
use crate::consensus::Consensus;
use crate::services::Encoded;
use crate::status;
use crate::store::Store;
use bytes::Bytes;
use kvstore_core::{KeyRange, Meta, PageLimits, Refusal, history_page};
use prost::Message as _;
use proto::etcdserverpb::watch_create_request::FilterType;
use proto::etcdserverpb::watch_request::RequestUnion;
use proto::etcdserverpb::{ResponseHeader, WatchCreateRequest, WatchRequest, WatchResponse};
use proto::mvccpb::Event;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use support::Random;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

/// What one catch-up message may hold (etcd: 1000 revisions).
const PAGE: PageLimits = PageLimits {
    revisions: 1000,
    bytes: 1 << 20,
};
/// The id in notices that speak for all watchers of the stream, and in answers to watches that never were.
const ALL: i64 = -1;
/// Messages passed on before anything else is looked at.
const AT_ONCE: usize = 64;
/// How often a stream that requires a leader looks for one.
const LEADER_CHECK: Duration = Duration::from_millis(500);

/// What a stream is served with.
pub struct StreamOptions {
    pub store: Arc<Store>,
    pub consensus: Consensus,
    pub access: Access,
    /// Who watches.
    pub origin: Origin,
    pub random: Random,
    /// How often idle watchers that asked for it hear of the revision.
    pub progress_interval: Duration,
    /// A fragmented response holds at most this many bytes of events.
    pub fragment_bytes: usize,
    /// Without a leader for this long the stream ends; `None`: it may be served by a member without one.
    pub leader_patience: Option<Duration>,
}

/// The client is gone.
struct Gone;

/// Serves the stream until its client ends it, or `cancel`.
pub async fn serve(
    options: StreamOptions,
    mut requests: Streaming<WatchRequest>,
    responses: mpsc::Sender<Result<Encoded, Status>>,
    cancel: CancellationToken,
) {
    let subscription = options.store.hub.subscribe();
    let id = subscription.id;
    let store = Arc::clone(&options.store);
    let mut stream = WatchStream {
        options,
        subscription,
        responses,
        watchers: BTreeMap::new(),
        next_id: 0,
        last_caught_up: -1,
        delivered: 0,
        busy: BTreeSet::new(),
        behind: true,
        behind_queue: false,
    };
    // Gone or not, what remains to do is the same.
    let _ = stream.run(&mut requests, &cancel).await;
    store.hub.unsubscribe(id);
}

/// What the stream itself remembers of a watcher.
#[derive(Default)]
struct Known {
    fragment: bool,
    progress_notify: bool,
}

struct WatchStream {
    options: StreamOptions,
    subscription: Subscription,
    responses: mpsc::Sender<Result<Encoded, Status>>,
    watchers: BTreeMap<i64, Known>,
    next_id: i64,
    last_caught_up: i64,
    /// Messages of the queue that were passed on.
    delivered: u64,
    /// Watchers that were given events since the last progress notice: they need none.
    busy: BTreeSet<i64>,
    /// Someone may be behind.
    behind: bool,
    /// Someone is behind whose older events are still in the queue.
    behind_queue: bool,
}

impl WatchStream {
    async fn run(
        &mut self,
        requests: &mut Streaming<WatchRequest>,
        cancel: &CancellationToken,
    ) -> Result<(), Gone> {
        let mut progress_at = self.next_progress();
        let mut leader_seen = Instant::now();
        let mut leader_check = Instant::now() + LEADER_CHECK;
        let mut asking = true;
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => {
                    return self.fail(status::stopped()).await;
                }
                () = self.responses.closed() => return Err(Gone),
                request = requests.message(), if asking => match request {
                    Ok(Some(request)) => self.request(request).await?,
                    // The client asks for no more, but it still listens.
                    Ok(None) => asking = false,
                    Err(_) => return Ok(()),
                },
                message = self.subscription.queue.recv() => match message {
                    Some(message) => {
                        let (mut message, mut passed) = (message, 0);
                        loop {
                            self.deliver(message).await?;
                            self.delivered += 1;
                            passed += 1;
                            // What else is there, up to a bound: the other branches must have their turn.
                            if passed == AT_ONCE {
                                break;
                            }
                            match self.subscription.queue.try_recv() {
                                Ok(next) => message = next,
                                Err(_) => break,
                            }
                        }
                        // A busy queue must not starve the watchers that are behind.
                        if self.behind || self.behind_queue {
                            self.behind = self.catch_up().await?;
                        }
                    }
                    None => return Ok(()),
                },
                () = std::future::ready(()), if self.behind => self.behind = self.catch_up().await?,
                () = self.subscription.behind.notified() => self.behind = true,
                () = tokio::time::sleep_until(progress_at) => {
                    let begun = Instant::now();
                    for (id, known) in &self.watchers {
                        if known.progress_notify && !self.busy.contains(id) {
                            self.options.store.hub.progress(self.subscription.id, Some(*id));
                        }
                    }
                    self.options.store.metrics.watching.noticed(begun.elapsed());
                    self.busy.clear();
                    progress_at = self.next_progress();
                }
                () = tokio::time::sleep_until(leader_check), if self.options.leader_patience.is_some() => {
                    let now = Instant::now();
                    leader_check = now + LEADER_CHECK;
                    if self.options.consensus.leader_in_touch().is_some() {
                        leader_seen = now;
                    } else if self.options.leader_patience.is_some_and(|patience| now - leader_seen > patience) {
                        return self.fail(status::no_leader()).await;
                    }
                }
            }
        }
    }

    fn next_progress(&self) -> Instant {
        Instant::now() + self.options.random.jitter(self.options.progress_interval, 0.1)
    }

    async fn request(&mut self, request: WatchRequest) -> Result<(), Gone> {
        match request.request_union {
            Some(RequestUnion::CreateRequest(create)) => self.create(create).await,
            Some(RequestUnion::CancelRequest(cancel)) => {
                if self.watchers.remove(&cancel.watch_id).is_none() {
                    return Ok(());
                }
                self.options
                    .store
                    .hub
                    .unwatch(self.subscription.id, cancel.watch_id);
                self.drain().await?;
                let revision = self.options.store.hub.revision();
                let response = WatchResponse {
                    watch_id: cancel.watch_id,
                    canceled: true,
                    ..self.response(revision)
                };
                self.answer(response).await
            }
            Some(RequestUnion::ProgressRequest(_)) => {
                self.options.store.hub.progress(self.subscription.id, None);
                // The notice speaks for the watchers of now: it must be out before there is another one.
                self.drain().await
            }
            None => Ok(()),
        }
    }

    /// Sends what is queued by now; what is for a watcher that is no more goes nowhere.
    async fn drain(&mut self) -> Result<(), Gone> {
        for _ in 0..self.subscription.queue.len() {
            let Ok(message) = self.subscription.queue.try_recv() else {
                break;
            };
            self.deliver(message).await?;
            self.delivered += 1;
        }
        // Who waited for the queue may be the next.
        self.behind |= self.behind_queue;
        Ok(())
    }

    async fn create(&mut self, create: WatchCreateRequest) -> Result<(), Gone> {
        let revision = self.options.store.hub.revision();
        let filters: Vec<FilterType> = create.filters().collect();
        // As in etcd: an empty key means the first of all, and then an empty end means only that.
        let key = if create.key.is_empty() {
            Bytes::from_static(&[0])
        } else {
            create.key
        };
        if create.start_revision < 0 {
            return self.refuse(revision, Refusal::Compacted.to_string()).await;
        }
        if let Err(denied) = self.permitted(&key, &create.range_end).await {
            return self.refuse(revision, status::in_one_line(&denied)).await;
        }
        let range = KeyRange::new(key, create.range_end);
        if range.is_empty() {
            return self
                .refuse(revision, "mvcc: watcher range is empty".to_owned())
                .await;
        }
        let watch_id = if create.watch_id == 0 {
            while self.watchers.contains_key(&self.next_id) {
                self.next_id += 1;
            }
            self.next_id += 1;
            self.next_id - 1
        } else if self.watchers.contains_key(&create.watch_id) {
            let reason = "mvcc: duplicate watch ID provided on the WatchStream";
            return self.refuse(revision, reason.to_owned()).await;
        } else {
            create.watch_id
        };
        self.watchers.insert(
            watch_id,
            Known {
                fragment: create.fragment,
                progress_notify: create.progress_notify,
            },
        );
        let interest = Interest {
            range,
            no_puts: filters.contains(&FilterType::Noput),
            no_deletes: filters.contains(&FilterType::Nodelete),
            previous: create.prev_kv && !self.options.consensus.sabotage.is("previous-value-missing"),
        };
        let hub = &self.options.store.hub;
        let revision = hub.watch(self.subscription.id, watch_id, interest, create.start_revision);
        // Its events come through this task, so after this.
        let response = WatchResponse {
            watch_id,
            created: true,
            ..self.response(revision)
        };
        self.answer(response).await
    }

    /// Whether a range may be watched; asked once, as in etcd.
    async fn permitted(&self, key: &Bytes, range_end: &Bytes) -> Result<(), Status> {
        let caller = self.options.access.caller(&self.options.origin).await?;
        let view = self.options.store.view();
        match self.options.access.judge(&*view, caller.as_ref())? {
            Some(judge) => judge.read(key, range_end).map_err(status::refused),
            None => Ok(()),
        }
    }

    /// A watch that never was: created and canceled in one message.
    async fn refuse(&self, revision: i64, reason: String) -> Result<(), Gone> {
        self.answer(WatchResponse {
            watch_id: -1,
            created: true,
            canceled: true,
            cancel_reason: reason,
            ..self.response(revision)
        })
        .await
    }

    async fn deliver(&mut self, message: Message) -> Result<(), Gone> {
        match message {
            Message::Progress { watch_id, revision } => {
                if watch_id != ALL && !self.watchers.contains_key(&watch_id) {
                    return Ok(());
                }
                let response = WatchResponse {
                    watch_id,
                    ..self.response(revision)
                };
                self.send(response).await
            }
            Message::Events {
                watch_id,
                revision,
                events,
            } => self.send_events(watch_id, revision, events).await,
        }
    }

    async fn send_events(&mut self, watch_id: i64, revision: i64, events: EncodedEvents) -> Result<(), Gone> {
        let Some(known) = self.watchers.get(&watch_id) else {
            // Cancelled while this was queued.
            return Ok(());
        };
        self.options
            .store
            .metrics
            .state
            .events_sent
            .inc_by(events.len() as u64);
        self.busy.insert(watch_id);
        let mut parts = if known.fragment {
            events.parts(self.options.fragment_bytes)
        } else {
            vec![events.whole()]
        };
        if self.options.consensus.sabotage.is("split-revision") {
            parts = events.parts(1);
        }
        let (begun, count) = (Instant::now(), events.len());
        let last = parts.pop().unwrap_or_default();
        for events in parts {
            let response = WatchResponse {
                watch_id,
                fragment: known.fragment,
                ..self.response(revision)
            };
            self.send_with(response, events).await?;
        }
        let response = WatchResponse {
            watch_id,
            ..self.response(revision)
        };
        self.send_with(response, last).await?;
        self.options.store.metrics.watching.sent(count, begun.elapsed());
        Ok(())
    }

    /// Gives one watcher that is behind one page of events; says whether more may be behind.
    async fn catch_up(&mut self) -> Result<bool, Gone> {
        let hub = &self.options.store.hub;
        let found = hub.catch_up(self.subscription.id, self.last_caught_up, self.delivered);
        self.behind_queue = matches!(found, Behind::AfterQueue);
        let Behind::Now(work) = found else {
            return Ok(false);
        };
        self.last_caught_up = work.watch_id;
        let (watch_id, to) = (work.watch_id, work.to);
        match self.page(work) {
            Ok(Page::Events { events, next }) => {
                if !events.is_empty() {
                    self.send_events(watch_id, to, EncodedEvents::new(&events, true))
                        .await?;
                }
                self.options
                    .store
                    .hub
                    .caught_up(self.subscription.id, watch_id, next);
                Ok(true)
            }
            Ok(Page::Compacted(compact_revision)) => {
                self.options.store.hub.unwatch(self.subscription.id, watch_id);
                // As in etcd, the id stays taken until its client cancels it. Header revision 0 and no reason, as etcd sends it.
                let response = WatchResponse {
                    watch_id,
                    canceled: true,
                    compact_revision,
                    ..self.response(0)
                };
                self.send(response).await?;
                Ok(true)
            }
            Err(status) => {
                self.fail(status).await?;
                Err(Gone)
            }
        }
    }

    fn page(&self, work: CatchUp) -> Result<Page, Status> {
        let view = self.options.store.view();
        let meta = Meta::read(&*view).map_err(|error| status::unreadable(&error))?;
        let hides_gaps = self.options.consensus.sabotage.is("compaction-hides-gap");
        if work.from < meta.compacted && !hides_gaps {
            return Ok(Page::Compacted(meta.compacted));
        }
        if let Some(mut page) = work.recent {
            for event in &mut page.events {
                // What was before the compacted revision is no longer to be had, here as on disk.
                if event
                    .kv
                    .as_ref()
                    .is_some_and(|kv| kv.mod_revision <= meta.compacted)
                {
                    event.prev_kv = None;
                }
            }
            return Ok(Page::Events {
                events: page.events,
                next: page.next_revision,
            });
        }
        let page = history_page(
            &*view,
            &work.interest.range,
            (work.from, work.to),
            work.interest.previous,
            PAGE,
        )
        .map_err(|error| status::unreadable(&error))?;
        let events = page.events.iter().filter_map(|event| work.interest.pick(event));
        Ok(Page::Events {
            events: events.collect(),
            next: page.next_revision,
        })
    }

    fn response(&self, revision: i64) -> WatchResponse {
        WatchResponse {
            header: Some(ResponseHeader {
                revision,
                ..self.options.consensus.header(revision)
            }),
            ..WatchResponse::default()
        }
    }

    /// Answers a request.
    async fn answer(&self, response: WatchResponse) -> Result<(), Gone> {
        let begun = Instant::now();
        self.send(response).await?;
        self.options.store.metrics.watching.answered(begun.elapsed());
        Ok(())
    }

    async fn send(&self, response: WatchResponse) -> Result<(), Gone> {
        self.send_with(response, Bytes::new()).await
    }

    /// Sends a response whose events are encoded already: they stand at its end.
    async fn send_with(&self, response: WatchResponse, events: Bytes) -> Result<(), Gone> {
        let response = Encoded([response.encode_to_vec().into(), events, Bytes::new()]);
        self.responses.send(Ok(response)).await.map_err(|_| Gone)
    }

    async fn fail(&self, status: Status) -> Result<(), Gone> {
        self.responses.send(Err(status)).await.map_err(|_| Gone)
    }
}

enum Page {
    Events { events: Vec<Event>, next: i64 },
    Compacted(i64),
}
