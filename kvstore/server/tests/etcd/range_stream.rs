//! `KV.RangeStream`, as etcd's own tests ask it (etcd `tests/common/kv_test.go`, `TestKVGetStream`).

use super::harness::{kv, put_soon, runtime, single};
use proto::etcdserverpb::RangeRequest;
use proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use proto::mvccpb::KeyValue;
use tonic::Status;

/// The keys of all chunks.
async fn stream(address: &str, request: RangeRequest) -> Result<Vec<Vec<KeyValue>>, Status> {
    let mut chunks = kv(address).range_stream(request).await?.into_inner();
    let mut read = Vec::new();
    while let Some(chunk) = chunks.message().await? {
        read.push(chunk.range_response.unwrap().kvs);
    }
    Ok(read)
}

fn everything(target: SortTarget, order: SortOrder) -> RangeRequest {
    RangeRequest {
        key: vec![0].into(),
        range_end: vec![0].into(),
        sort_target: target as i32,
        sort_order: order as i32,
        ..RangeRequest::default()
    }
}

#[test]
fn a_target_without_an_order_sorts_each_chunk_and_loses_none() {
    let node = single();
    let at = &node.address;
    runtime().block_on(async {
        // The values go down while the keys go up.
        for number in 0..40 {
            put_soon(at, &format!("k{number:02}"), &format!("v{:02}", 99 - number)).await;
        }
        let by_value = everything(SortTarget::Value, SortOrder::None);
        let chunks = stream(at, by_value).await.unwrap();
        assert!(chunks.len() > 1);
        for chunk in &chunks {
            assert!(chunk.is_sorted_by(|a, b| a.value <= b.value), "{chunk:?}");
        }
        let mut keys: Vec<_> = chunks.iter().flatten().map(|kv| kv.key.clone()).collect();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 40);
    });
}

#[test]
fn orders_that_need_the_whole_range_are_refused() {
    let node = single();
    let at = &node.address;
    runtime().block_on(async {
        put_soon(at, "k", "v").await;
        for (target, order) in [
            (SortTarget::Key, SortOrder::Descend),
            (SortTarget::Mod, SortOrder::Ascend),
        ] {
            let refused = stream(at, everything(target, order)).await.unwrap_err();
            assert_eq!(
                refused.message(),
                "RangeStream does not support custom sort orders"
            );
        }
        let keyless = stream(at, RangeRequest::default()).await.unwrap_err();
        assert_eq!(keyless.message(), "etcdserver: key is not provided");
    });
}
