//! Calls that a service makes to the others on behalf of its client.

use crate::local::Local;
use bytes::Bytes;
use futures::stream;
use proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use proto::etcdserverpb::kv_client::KvClient;
use proto::etcdserverpb::lease_client::LeaseClient;
use proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use proto::etcdserverpb::watch_client::WatchClient;
use proto::etcdserverpb::watch_request::RequestUnion;
use proto::etcdserverpb::{
    Compare, DeleteRangeRequest, DeleteRangeResponse, LeaseGrantRequest, LeaseKeepAliveRequest,
    LeaseRevokeRequest, RangeRequest, RangeResponse, RequestOp, TxnRequest, TxnResponse, WatchCreateRequest,
    WatchRequest, WatchResponse, request_op,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::{Extensions, Request, Status, Streaming};

/// What of a client's metadata counts for the calls made for it.
const CARRIED: [&str; 4] = ["token", "authorization", "hasleader", "client-api-version"];

/// The other services, as the client of a request reaches them: with its rights, no others.
#[derive(Clone)]
pub struct Caller {
    services: Local,
    metadata: MetadataMap,
    extensions: Extensions,
}

impl Caller {
    /// Takes a request apart.
    pub fn of<T>(services: &Local, request: Request<T>) -> (Self, T) {
        let (given, extensions, message) = request.into_parts();
        let mut metadata = MetadataMap::new();
        for key in CARRIED {
            if let Some(value) = given.get(key) {
                metadata.insert(key, value.clone());
            }
        }
        let caller = Self {
            services: services.clone(),
            metadata,
            extensions,
        };
        (caller, message)
    }

    fn request<T>(&self, message: T) -> Request<T> {
        Request::from_parts(self.metadata.clone(), self.extensions.clone(), message)
    }

    fn kv(&self) -> KvClient<Local> {
        KvClient::new(self.services.clone()).max_decoding_message_size(usize::MAX)
    }

    pub async fn range(&self, range: RangeRequest) -> Result<RangeResponse, Status> {
        let answer = self.kv().range(self.request(range)).await;
        Ok(answer.map_err(plain)?.into_inner())
    }

    /// Does `done` if `key` was created at `revision` (0: is not there), else `otherwise`.
    pub async fn if_created_at(
        &self,
        (key, revision): (Bytes, i64),
        done: Vec<request_op::Request>,
        otherwise: Vec<request_op::Request>,
    ) -> Result<TxnResponse, Status> {
        let ops = |ops: Vec<request_op::Request>| {
            let ops = ops.into_iter().map(|op| RequestOp { request: Some(op) });
            ops.collect()
        };
        let txn = TxnRequest {
            compare: vec![Compare {
                result: CompareResult::Equal as i32,
                target: CompareTarget::Create as i32,
                key,
                target_union: Some(TargetUnion::CreateRevision(revision)),
                ..Compare::default()
            }],
            success: ops(done),
            failure: ops(otherwise),
        };
        let answer = self.kv().txn(self.request(txn)).await;
        Ok(answer.map_err(plain)?.into_inner())
    }

    pub async fn delete(&self, key: Bytes) -> Result<DeleteRangeResponse, Status> {
        let delete = DeleteRangeRequest {
            key,
            ..DeleteRangeRequest::default()
        };
        let answer = self.kv().delete_range(self.request(delete)).await;
        Ok(answer.map_err(plain)?.into_inner())
    }

    /// A new lease of `ttl` seconds.
    pub async fn grant(&self, ttl: i64) -> Result<i64, Status> {
        let grant = LeaseGrantRequest { ttl, id: 0 };
        let mut leases = LeaseClient::new(self.services.clone());
        let granted = leases.lease_grant(self.request(grant)).await;
        Ok(granted.map_err(plain)?.into_inner().id)
    }

    pub async fn revoke(&self, id: i64) -> Result<(), Status> {
        let mut leases = LeaseClient::new(self.services.clone());
        let revoked = leases.lease_revoke(self.request(LeaseRevokeRequest { id })).await;
        revoked.map(|_| ()).map_err(plain)
    }

    pub async fn renew(&self, id: i64) -> Result<(), Status> {
        let mut leases = LeaseClient::new(self.services.clone());
        let renewal = self.request(stream::iter([LeaseKeepAliveRequest { id }]));
        let mut answers = leases.lease_keep_alive(renewal).await?.into_inner();
        answers.message().await.map(|_| ())
    }

    /// Watches the keys of all `ranges`, in one stream.
    pub async fn watch(&self, ranges: Vec<WatchCreateRequest>) -> Result<Events, Status> {
        let (requests, queue) = mpsc::channel(ranges.len().max(1));
        for range in ranges {
            let request = WatchRequest {
                request_union: Some(RequestUnion::CreateRequest(range)),
            };
            requests
                .try_send(request)
                .map_err(|error| Status::internal(error.to_string()))?;
        }
        let mut watches = WatchClient::new(self.services.clone()).max_decoding_message_size(usize::MAX);
        let responses = watches.watch(self.request(ReceiverStream::new(queue))).await;
        let responses = responses.map_err(plain)?;
        Ok(Events {
            responses: responses.into_inner(),
            _requests: requests,
        })
    }
}

/// What etcd's own client library makes of an error that it knows: the text alone, which comes out as
/// `Unknown` (etcd `client/v3/client.go`, `ContextError`).
fn plain(status: Status) -> Status {
    if status.message().starts_with("etcdserver: ") {
        return Status::unknown(status.message());
    }
    status
}

/// A stream of watches.
pub struct Events {
    responses: Streaming<WatchResponse>,
    /// Held open: it ends the stream.
    _requests: mpsc::Sender<WatchRequest>,
}

impl Events {
    /// The next response; `None`: a watch was cancelled because its start has been compacted.
    ///
    /// # Errors
    /// When the watch is refused or the stream ends.
    pub async fn next(&mut self) -> Result<Option<WatchResponse>, Status> {
        let Some(response) = self.responses.message().await.map_err(plain)? else {
            return Err(Status::unknown("lost watcher waiting for delete"));
        };
        if !response.canceled {
            return Ok(Some(response));
        }
        if response.cancel_reason.is_empty() {
            return Ok(None);
        }
        Err(Status::unknown(response.cancel_reason))
    }
}

/// The keys that begin with `prefix`, which ends with a `/`: the one created first.
pub fn first_created(prefix: &Bytes) -> RangeRequest {
    RangeRequest {
        key: prefix.clone(),
        range_end: prefix_end(prefix),
        limit: 1,
        sort_target: SortTarget::Create as i32,
        sort_order: SortOrder::Ascend as i32,
        ..RangeRequest::default()
    }
}

/// As [`first_created`], but of those created before `revision` the last.
pub fn last_created_before(prefix: &Bytes, revision: i64) -> RangeRequest {
    RangeRequest {
        sort_order: SortOrder::Descend as i32,
        max_create_revision: revision - 1,
        ..first_created(prefix)
    }
}

pub fn prefix_end(prefix: &Bytes) -> Bytes {
    let mut end = prefix.to_vec();
    if let Some(last) = end.last_mut() {
        // A `/` is followed by a `0`.
        *last += 1;
    }
    end.into()
}
