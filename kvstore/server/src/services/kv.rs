//! KV: ranges, writes, transactions, compaction.

use super::reply::expect_response;
use super::{Shared, kv_stream};
use crate::auth::Caller;
use crate::status;
use kvstore_core::{
    Command, check_delete, check_put, check_range, check_txn, is_read_only, put_cost, range, read_only_txn,
    txn_cost,
};
use proto::etcdserverpb::{
    CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse,
    RangeRequest, RangeResponse, RequestOp, ResponseHeader, TxnRequest, TxnResponse, kv_server, request_op,
};
use tokio::time::Instant;
use tonic::{Request, Response, Status};

/// etcd's KV service.
#[derive(Clone)]
pub struct KvService {
    shared: Shared,
}

impl KvService {
    pub fn new(shared: Shared) -> Self {
        Self { shared }
    }

    /// Fills in what the state machine doesn't know.
    fn header(&self, header: &mut Option<ResponseHeader>) {
        let revision = header.as_ref().map_or(0, |header| header.revision);
        *header = Some(self.shared.consensus.header(revision));
    }
}

/// What comes before the answer to a client's range: the checks, and the barrier unless it may be stale. Gives
/// who asks.
pub(super) async fn admit_range(
    shared: &Shared,
    request: &Request<RangeRequest>,
) -> Result<Option<Caller>, Status> {
    shared.check_leader(request)?;
    shared.store.metrics.state.ranges.inc();
    let message = request.get_ref();
    check_range(message).map_err(status::refused)?;
    if !message.serializable {
        shared.check_voter()?;
        shared.barrier.wait().await?;
    }
    shared.access.caller_of(request).await
}

/// Answers a range that was admitted from this member's state.
pub(super) fn answer_range(
    shared: &Shared,
    caller: Option<&Caller>,
    request: &RangeRequest,
) -> Result<RangeResponse, Status> {
    let view = shared.store.view();
    shared.access.check_range(&*view, caller, request)?;
    let begun = Instant::now();
    let found = range(&*view, request);
    shared.store.metrics.state.range(found.is_ok(), begun.elapsed());
    found.map_err(|error| status::failed(&error))
}

/// Whether a read-only transaction may be stale: only if each of its ranges may.
fn is_serializable(ops: &[RequestOp]) -> bool {
    ops.iter().all(|op| match &op.request {
        Some(request_op::Request::RequestRange(range)) => range.serializable,
        _ => false,
    })
}

/// Answers a transaction that only reads from this member's state, after the barrier unless it may be stale.
async fn answer_txn(shared: &Shared, request: &Request<TxnRequest>) -> Result<TxnResponse, Status> {
    let message = request.get_ref();
    if !is_serializable(&message.success) || !is_serializable(&message.failure) {
        shared.barrier.wait().await?;
    }
    let caller = shared.access.caller_of(request).await?;
    let view = shared.store.view();
    if let Some(judge) = shared.access.judge(&*view, caller.as_ref())? {
        judge
            .txn(&*view, message)
            .map_err(|error| status::failed(&error))?;
    }
    read_only_txn(&*view, message).map_err(|error| status::failed(&error))
}

#[tonic::async_trait]
impl kv_server::Kv for KvService {
    async fn range(&self, request: Request<RangeRequest>) -> Result<Response<RangeResponse>, Status> {
        let caller = admit_range(&self.shared, &request).await?;
        let mut response = answer_range(&self.shared, caller.as_ref(), request.get_ref())?;
        self.header(&mut response.header);
        Ok(Response::new(response))
    }

    type RangeStreamStream = kv_stream::RangeStream;

    async fn range_stream(
        &self,
        request: Request<RangeRequest>,
    ) -> Result<Response<Self::RangeStreamStream>, Status> {
        kv_stream::check(request.get_ref())?;
        let caller = admit_range(&self.shared, &request).await?;
        kv_stream::start(self.shared.clone(), caller, request.into_inner()).map(Response::new)
    }

    async fn put(&self, request: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        self.shared.check_leader(&request)?;
        self.shared.quota.admit(put_cost(request.get_ref())).await?;
        check_put(request.get_ref()).map_err(status::refused)?;
        let header = self.shared.access.header(&request).await?;
        let request = request.into_inner();
        self.shared.check_size(&request)?;
        let command = Command {
            header,
            put: Some(request),
            ..Command::default()
        };
        let mut response = expect_response!(self.shared.consensus.propose(&command).await?, Put);
        self.header(&mut response.header);
        Ok(Response::new(response))
    }

    async fn delete_range(
        &self,
        request: Request<DeleteRangeRequest>,
    ) -> Result<Response<DeleteRangeResponse>, Status> {
        self.shared.check_leader(&request)?;
        check_delete(request.get_ref()).map_err(status::refused)?;
        let header = self.shared.access.header(&request).await?;
        let request = request.into_inner();
        self.shared.check_size(&request)?;
        let command = Command {
            header,
            delete_range: Some(request),
            ..Command::default()
        };
        let mut response = expect_response!(self.shared.consensus.propose(&command).await?, DeleteRange);
        self.header(&mut response.header);
        Ok(Response::new(response))
    }

    async fn txn(&self, request: Request<TxnRequest>) -> Result<Response<TxnResponse>, Status> {
        self.shared.check_leader(&request)?;
        let message = request.get_ref();
        self.shared.quota.admit(txn_cost(message)).await?;
        check_txn(message, self.shared.max_txn_ops).map_err(status::refused)?;
        self.shared.check_size(message)?;
        let mut response = if is_read_only(message) {
            answer_txn(&self.shared, &request).await?
        } else {
            let command = Command {
                header: self.shared.access.header(&request).await?,
                txn: Some(request.into_inner()),
                ..Command::default()
            };
            expect_response!(self.shared.consensus.propose(&command).await?, Txn)
        };
        self.header(&mut response.header);
        Ok(Response::new(response))
    }

    /// The versions go from disk in the background. With `physical` the answer waits until they are gone
    /// from this member's.
    async fn compact(
        &self,
        request: Request<CompactionRequest>,
    ) -> Result<Response<CompactionResponse>, Status> {
        self.shared.check_leader(&request)?;
        self.shared.access.require_admin(&request).await?;
        let request = request.into_inner();
        let command = Command {
            compaction: Some(request),
            ..Command::default()
        };
        let mut response = expect_response!(self.shared.consensus.propose(&command).await?, Compaction);
        if request.physical {
            let mut compacted = self.shared.store.upkeep.compacted();
            let done = compacted.wait_for(|done| *done >= request.revision).await;
            done.map_err(|_| status::stopped())?;
        }
        self.header(&mut response.header);
        Ok(Response::new(response))
    }
}
