//! One watch on a key prefix, as a stream of batches that never goes back in time.

use super::endpoints::Chosen;
use super::{StoreClient, StoreError, Stored};
use bytes::Bytes;
use proto::etcdserverpb::watch_client::WatchClient;
use proto::etcdserverpb::watch_request::RequestUnion;
use proto::etcdserverpb::{WatchCreateRequest, WatchProgressRequest, WatchRequest};
use proto::mvccpb::event::EventType;
use tokio::sync::mpsc;
use tonic::Streaming;
use tonic::metadata::MetadataValue;

/// Requests from us to the store: one create, then at most one waiting progress request.
const REQUEST_QUEUE: usize = 8;

/// What happened to one key.
#[derive(Debug)]
pub(crate) enum StoreEvent {
    Put { stored: Stored },
    Delete { key: Bytes, revision: i64 },
}

#[derive(Debug)]
pub(crate) enum WatchMessage {
    /// All events of one or more whole revisions; afterwards everything up to `revision` has been seen.
    Events { events: Vec<StoreEvent>, revision: i64 },
    /// Nothing new up to `revision`.
    Progress { revision: i64 },
}

/// An open watch. Dropping it closes the stream.
pub(crate) struct StoreWatch {
    requests: mpsc::Sender<WatchRequest>,
    responses: Streaming<proto::etcdserverpb::WatchResponse>,
    endpoint: Chosen,
}

impl StoreWatch {
    /// Watches `[start, end)` from `start_revision` on.
    pub(crate) async fn open(
        store: &StoreClient,
        start: &[u8],
        end: &[u8],
        start_revision: i64,
    ) -> Result<Self, StoreError> {
        let (endpoint, channel) = store.endpoints.channel();
        let (requests, queue) = mpsc::channel(REQUEST_QUEUE);
        let create = WatchCreateRequest {
            key: Bytes::copy_from_slice(start),
            range_end: Bytes::copy_from_slice(end),
            start_revision,
            progress_notify: true,
            ..Default::default()
        };
        let create = WatchRequest {
            request_union: Some(RequestUnion::CreateRequest(create)),
        };
        // The queue is empty and its other end is in our hands.
        let _ = requests.try_send(create);
        let mut request = tonic::Request::new(tokio_stream::wrappers::ReceiverStream::new(queue));
        // A member cut off from its leader ends the stream instead of standing still.
        request
            .metadata_mut()
            .insert("hasleader", MetadataValue::from_static("true"));
        let mut client = WatchClient::new(channel).max_decoding_message_size(1 << 30);
        match client.watch(request).await {
            Ok(response) => Ok(Self {
                requests,
                responses: response.into_inner(),
                endpoint,
            }),
            Err(status) => {
                store.endpoints.reconsider(endpoint).await;
                Err(status.into())
            }
        }
    }

    /// Asks the store to say how far this stream is; the answer arrives as [`WatchMessage::Progress`].
    pub(crate) fn request_progress(&self) {
        let request = WatchRequest {
            request_union: Some(RequestUnion::ProgressRequest(WatchProgressRequest {})),
        };
        // A full queue means that earlier requests still wait: their answer serves as well.
        let _ = self.requests.try_send(request);
    }

    /// Lets the next watch go to another member.
    pub(crate) async fn abandon(&self, store: &StoreClient) {
        store.endpoints.leave(self.endpoint).await;
    }

    /// The next message. Safe to cancel.
    pub(crate) async fn next(&mut self, store: &StoreClient) -> Result<WatchMessage, StoreError> {
        loop {
            let response = match self.responses.message().await {
                Ok(Some(response)) => response,
                Ok(None) => {
                    store.endpoints.reconsider(self.endpoint).await;
                    return Err(StoreError::Unavailable("the watch stream ended".to_owned()));
                }
                Err(status) => {
                    store.endpoints.reconsider(self.endpoint).await;
                    return Err(status.into());
                }
            };
            if response.canceled {
                return Err(match response.compact_revision {
                    0 => StoreError::Unavailable(format!("watch cancelled: {}", response.cancel_reason)),
                    _ => StoreError::Compacted,
                });
            }
            let revision = response.header.map_or(0, |header| header.revision);
            if response.events.is_empty() {
                if response.created {
                    continue;
                }
                return Ok(WatchMessage::Progress { revision });
            }
            let mut events = Vec::with_capacity(response.events.len());
            let mut newest = 0;
            for event in response.events {
                let Some(kv) = event.kv else { continue };
                newest = newest.max(kv.mod_revision);
                events.push(if event.r#type == EventType::Delete as i32 {
                    StoreEvent::Delete {
                        revision: kv.mod_revision,
                        key: kv.key,
                    }
                } else {
                    StoreEvent::Put {
                        stored: store.codec.open(kv)?,
                    }
                });
            }
            // Not the header's revision: a catching-up watch has events between the two still to come.
            return Ok(WatchMessage::Events {
                events,
                revision: newest,
            });
        }
    }
}
