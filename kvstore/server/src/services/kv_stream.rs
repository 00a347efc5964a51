//! A range in chunks: large answers without holding them whole (etcd 3.7 `RangeStream`).

use super::{Shared, kv};
use crate::auth::Caller;
use prost::Message as _;
use proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use proto::etcdserverpb::{RangeRequest, RangeResponse, RangeStreamResponse};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

pub type RangeStream = ReceiverStream<Result<RangeStreamResponse, Status>>;

/// Chunks that wait for the client.
const QUEUE: usize = 2;
/// Keys in the first chunk; then as many as come near the request limit.
const FIRST_CHUNK: i64 = 10;

/// Refuses what can't be answered in chunks.
pub fn check(request: &RangeRequest) -> Result<(), Status> {
    let by_key = request.sort_target() == SortTarget::Key && request.sort_order() != SortOrder::Descend;
    if !by_key {
        return Err(Status::unimplemented(
            "RangeStream does not support custom sort orders",
        ));
    }
    let bounds = [
        request.min_mod_revision,
        request.max_mod_revision,
        request.min_create_revision,
        request.max_create_revision,
    ];
    if bounds.iter().any(|bound| *bound != 0) {
        return Err(Status::unimplemented(
            "RangeStream does not support revision filters",
        ));
    }
    Ok(())
}

/// Starts answering `request`, which was admitted; the revision is pinned by the first chunk.
pub fn start(shared: Shared, caller: Option<Caller>, request: RangeRequest) -> Result<RangeStream, Status> {
    let limit = request.limit;
    let mut page = request.clone();
    page.limit = chunk_limit(limit, FIRST_CHUNK);
    let first = kv::answer_range(&shared, caller.as_ref(), &page)?;
    let (sender, receiver) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        let mut chunk = first;
        let total = chunk.count;
        let revision = chunk.header.as_ref().map_or(0, |header| header.revision);
        let mut keys = FIRST_CHUNK;
        let mut sent = 0;
        if page.revision <= 0 {
            page.revision = revision;
        }
        loop {
            sent += i64::try_from(chunk.kvs.len()).unwrap_or(i64::MAX);
            let finished = !chunk.more || (limit > 0 && sent >= limit);
            let last_key = chunk.kvs.last().map(|kv| kv.key.clone());
            let bytes = chunk.encoded_len();
            let message = if finished {
                RangeResponse {
                    header: Some(shared.consensus.header(revision)),
                    kvs: chunk.kvs,
                    more: chunk.more,
                    count: total,
                }
            } else {
                RangeResponse {
                    kvs: chunk.kvs,
                    ..RangeResponse::default()
                }
            };
            let message = RangeStreamResponse {
                range_response: Some(message),
            };
            let (Ok(()), false, Some(last_key)) = (sender.send(Ok(message)).await, finished, last_key) else {
                return;
            };
            keys = if bytes * 2 <= shared.max_request_bytes {
                keys * 2
            } else {
                (keys / 2).max(1)
            };
            page.key = [&last_key[..], &[0]].concat().into();
            page.limit = chunk_limit(if limit > 0 { limit - sent } else { 0 }, keys);
            chunk = match kv::answer_range(&shared, caller.as_ref(), &page) {
                Ok(chunk) => chunk,
                Err(status) => {
                    // The client is gone, or learns why the stream ends.
                    let _ = sender.send(Err(status)).await;
                    return;
                }
            };
        }
    });
    Ok(ReceiverStream::new(receiver))
}

fn chunk_limit(wanted: i64, keys: i64) -> i64 {
    if wanted > 0 { wanted.min(keys) } else { keys }
}
