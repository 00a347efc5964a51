//! A range in chunks: large answers without holding them whole (etcd 3.7 `RangeStream`).

use super::{Shared, kv};
use crate::auth::Caller;
use crate::status;
use kvstore_core::check_range;
use prost::Message as _;
use proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use proto::etcdserverpb::{RangeRequest, RangeResponse, RangeStreamResponse};
use proto::mvccpb::KeyValue;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

pub type RangeStream = ReceiverStream<Result<RangeStreamResponse, Status>>;

/// Chunks that wait for the client.
const QUEUE: usize = 2;
/// Keys in the first chunk; then as many as come near the request limit.
const FIRST_CHUNK: i64 = 10;

/// Refuses what can't be answered in chunks (etcd `server/etcdserver/api/v3rpc/key.go`,
/// `checkRangeStreamRequest`). With a target but no order each chunk is sorted for itself, as in etcd.
pub fn check(request: &RangeRequest) -> Result<(), Status> {
    check_range(request).map_err(status::refused)?;
    let in_order = match request.sort_order() {
        SortOrder::None => true,
        SortOrder::Ascend => request.sort_target() == SortTarget::Key,
        SortOrder::Descend => false,
    };
    if !in_order {
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
    let target = request.sort_target();
    let mut page = request;
    // Chunks follow each other by key; a target sorts what is in one.
    page.sort_target = SortTarget::Key as i32;
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
            sort(&mut chunk.kvs, target);
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

fn sort(kvs: &mut [KeyValue], target: SortTarget) {
    match target {
        SortTarget::Key => {}
        SortTarget::Version => kvs.sort_by_key(|kv| kv.version),
        SortTarget::Create => kvs.sort_by_key(|kv| kv.create_revision),
        SortTarget::Mod => kvs.sort_by_key(|kv| kv.mod_revision),
        SortTarget::Value => kvs.sort_by(|a, b| a.value.cmp(&b.value)),
    }
}

fn chunk_limit(wanted: i64, keys: i64) -> i64 {
    if wanted > 0 { wanted.min(keys) } else { keys }
}
