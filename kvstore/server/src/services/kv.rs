//! KV: ranges, writes, transactions, compaction.

use super::reply::expect_response;
use super::{Shared, kv_stream};
use crate::status;
use kvstore_core::{
    Command, check_delete, check_put, check_range, check_txn, is_read_only, put_cost, range, read_only_txn,
    txn_cost,
};
use proto::etcdserverpb::{
    CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse,
    RangeRequest, RangeResponse, RequestOp, ResponseHeader, TxnRequest, TxnResponse, kv_server, request_op,
};
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

/// What comes before the answer to a client's range: the checks, and the barrier unless it may be stale.
pub(super) async fn admit_range(shared: &Shared, request: &Request<RangeRequest>) -> Result<(), Status> {
    shared.check_leader(request)?;
    shared.store.metrics.state.ranges.inc();
    let request = request.get_ref();
    check_range(request).map_err(status::refused)?;
    if !request.serializable {
        shared.check_voter()?;
        shared.barrier.wait().await?;
    }
    Ok(())
}

/// Answers a range that was admitted from this member's state.
pub(super) fn answer_range(shared: &Shared, request: &RangeRequest) -> Result<RangeResponse, Status> {
    range(&*shared.store.view(), request).map_err(|error| status::failed(&error))
}

/// Whether a read-only transaction may be stale: only if each of its ranges may.
fn is_serializable(ops: &[RequestOp]) -> bool {
    ops.iter().all(|op| match &op.request {
        Some(request_op::Request::RequestRange(range)) => range.serializable,
        _ => false,
    })
}

#[tonic::async_trait]
impl kv_server::Kv for KvService {
    async fn range(&self, request: Request<RangeRequest>) -> Result<Response<RangeResponse>, Status> {
        admit_range(&self.shared, &request).await?;
        let mut response = answer_range(&self.shared, request.get_ref())?;
        self.header(&mut response.header);
        Ok(Response::new(response))
    }

    type RangeStreamStream = kv_stream::RangeStream;

    async fn range_stream(
        &self,
        request: Request<RangeRequest>,
    ) -> Result<Response<Self::RangeStreamStream>, Status> {
        kv_stream::check(request.get_ref())?;
        admit_range(&self.shared, &request).await?;
        kv_stream::start(self.shared.clone(), request.into_inner()).map(Response::new)
    }

    async fn put(&self, request: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        self.shared.check_leader(&request)?;
        let request = request.into_inner();
        self.shared.quota.admit(put_cost(&request)).await?;
        check_put(&request).map_err(status::refused)?;
        self.shared.check_size(&request)?;
        let command = Command {
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
        let request = request.into_inner();
        check_delete(&request).map_err(status::refused)?;
        self.shared.check_size(&request)?;
        let command = Command {
            delete_range: Some(request),
            ..Command::default()
        };
        let mut response = expect_response!(self.shared.consensus.propose(&command).await?, DeleteRange);
        self.header(&mut response.header);
        Ok(Response::new(response))
    }

    async fn txn(&self, request: Request<TxnRequest>) -> Result<Response<TxnResponse>, Status> {
        self.shared.check_leader(&request)?;
        let request = request.into_inner();
        self.shared.quota.admit(txn_cost(&request)).await?;
        check_txn(&request, self.shared.max_txn_ops).map_err(status::refused)?;
        self.shared.check_size(&request)?;
        let mut response = if is_read_only(&request) {
            if !is_serializable(&request.success) || !is_serializable(&request.failure) {
                self.shared.barrier.wait().await?;
            }
            read_only_txn(&*self.shared.store.view(), &request).map_err(|error| status::failed(&error))?
        } else {
            let command = Command {
                txn: Some(request),
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
