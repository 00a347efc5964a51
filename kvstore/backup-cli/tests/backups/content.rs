//! What is in a store, as its clients see it: to fill one, and to compare two.

use super::stores::channel;
use proto::etcdserverpb::kv_client::KvClient;
use proto::etcdserverpb::lease_client::LeaseClient;
use proto::etcdserverpb::request_op::Request as Op;
use proto::etcdserverpb::watch_client::WatchClient;
use proto::etcdserverpb::watch_request::RequestUnion;
use proto::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, LeaseGrantRequest, LeaseLeasesRequest, LeaseTimeToLiveRequest,
    PutRequest, RangeRequest, RangeResponse, RequestOp, TxnRequest, WatchCreateRequest, WatchRequest,
};
use proto::mvccpb::{Event, KeyValue};
use std::collections::BTreeMap;

/// Keys of every kind: overwritten, deleted, deleted and made again, several in one revision, empty and
/// large values, binary keys, with leases. The history is compacted in its middle unless `whole`.
pub async fn fill(address: &str, whole: bool) {
    let mut kv = KvClient::new(channel(address));
    let mut lease = LeaseClient::new(channel(address));
    for (id, ttl) in [(7, 1_000), (0x1234_5678_9abc, 4_000), (9, 500)] {
        lease.lease_grant(LeaseGrantRequest { id, ttl }).await.unwrap();
    }
    for round in 0..4_i64 {
        for key in 0..60_i64 {
            let lease = if key % 5 == 0 { 7 } else { 0 };
            put(
                &mut kv,
                format!("key/{key:03}"),
                vec![round as u8; (key * round) as usize],
                lease,
            )
            .await;
        }
        delete(
            &mut kv,
            format!("key/{:03}", 10 + round * 10),
            format!("key/{:03}", 15 + round * 10),
        )
        .await;
        let both = TxnRequest {
            success: ["txn/a", "txn/b", "txn/c"]
                .map(|key| RequestOp {
                    request: Some(Op::RequestPut(put_request(
                        key,
                        vec![round as u8],
                        0x1234_5678_9abc,
                    ))),
                })
                .to_vec(),
            ..TxnRequest::default()
        };
        kv.txn(both).await.unwrap();
        if round == 2 && !whole {
            let revision = revision(address).await - 20;
            kv.compact(CompactionRequest {
                revision,
                physical: true,
            })
            .await
            .unwrap();
        }
    }
    put(&mut kv, vec![0, 1, 0xff], vec![], 0).await;
    put(&mut kv, vec![0xff; 300], vec![0xaa; 900_000], 0).await;
    put(&mut kv, "moved", "with the lease 9", 9).await;
    put(&mut kv, "moved", "without", 0).await;
    put(&mut kv, "last", "", 0).await;
    delete(&mut kv, "last", "").await;
}

fn put_request(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>, lease: i64) -> PutRequest {
    PutRequest {
        key: key.into().into(),
        value: value.into().into(),
        lease,
        ..PutRequest::default()
    }
}

async fn put(
    kv: &mut KvClient<tonic::transport::Channel>,
    key: impl Into<Vec<u8>>,
    value: impl Into<Vec<u8>>,
    lease: i64,
) {
    kv.put(put_request(key, value, lease)).await.unwrap();
}

async fn delete(
    kv: &mut KvClient<tonic::transport::Channel>,
    key: impl Into<Vec<u8>>,
    end: impl Into<Vec<u8>>,
) {
    let request = DeleteRangeRequest {
        key: key.into().into(),
        range_end: end.into().into(),
        ..DeleteRangeRequest::default()
    };
    kv.delete_range(request).await.unwrap();
}

pub async fn write(address: &str, key: &str, value: &str) -> i64 {
    let answer = KvClient::new(channel(address))
        .put(put_request(key, value, 0))
        .await;
    answer.unwrap().into_inner().header.unwrap().revision
}

pub async fn all(address: &str, revision: i64) -> RangeResponse {
    let request = RangeRequest {
        key: vec![0].into(),
        range_end: vec![0].into(),
        revision,
        ..RangeRequest::default()
    };
    let mut kv = KvClient::new(channel(address)).max_decoding_message_size(64 << 20);
    kv.range(request).await.unwrap().into_inner()
}

pub async fn revision(address: &str) -> i64 {
    all(address, 0).await.header.unwrap().revision
}

/// Everything that a client can ask of a store about its content.
#[derive(Debug, PartialEq)]
pub struct Content {
    pub revision: i64,
    pub keys: Vec<KeyValue>,
    pub count: i64,
    /// By revision asked for.
    pub past: BTreeMap<i64, Vec<KeyValue>>,
    /// All events from a revision on.
    pub events: Vec<Event>,
    /// By id: the time to live as granted, and the keys.
    pub leases: BTreeMap<i64, (i64, Vec<Vec<u8>>)>,
    /// What a read just before the oldest revision says.
    pub compacted: String,
}

/// Reads it, watching from revision `oldest`.
pub async fn content(address: &str, oldest: i64) -> Content {
    let now = all(address, 0).await;
    let revision = now.header.unwrap().revision;
    let mut past = BTreeMap::new();
    for revision in (oldest..revision).step_by(7) {
        past.insert(revision, all(address, revision).await.kvs);
    }
    let request = RangeRequest {
        key: "key/000".into(),
        revision: oldest - 1,
        ..RangeRequest::default()
    };
    let compacted = match KvClient::new(channel(address)).range(request).await {
        Ok(answer) => format!("{:?}", answer.into_inner().kvs),
        Err(status) => format!("{:?}: {}", status.code(), status.message()),
    };
    Content {
        revision,
        keys: now.kvs,
        count: now.count,
        past,
        events: events(address, oldest, revision).await,
        leases: leases(address).await,
        compacted,
    }
}

/// All events from `from` to `to`, both included, with previous values.
pub async fn events(address: &str, from: i64, to: i64) -> Vec<Event> {
    let (create, requests) = tokio::sync::mpsc::channel(1);
    let watch = WatchCreateRequest {
        key: vec![0].into(),
        range_end: vec![0].into(),
        start_revision: from,
        prev_kv: true,
        ..WatchCreateRequest::default()
    };
    create
        .send(WatchRequest {
            request_union: Some(RequestUnion::CreateRequest(watch)),
        })
        .await
        .unwrap();
    let stream = tokio_stream::wrappers::ReceiverStream::new(requests);
    let mut client = WatchClient::new(channel(address)).max_decoding_message_size(64 << 20);
    let mut answers = client.watch(stream).await.unwrap().into_inner();
    let mut events: Vec<Event> = Vec::new();
    let reached = |events: &Vec<Event>| {
        let last = events.last().and_then(|event| event.kv.as_ref());
        last.is_some_and(|kv| kv.mod_revision >= to)
    };
    while !reached(&events) {
        let answer = answers.message().await.unwrap().unwrap();
        assert!(!answer.canceled, "{answer:?}");
        events.extend(answer.events);
    }
    events
}

async fn leases(address: &str) -> BTreeMap<i64, (i64, Vec<Vec<u8>>)> {
    let mut client = LeaseClient::new(channel(address));
    let all = client
        .lease_leases(LeaseLeasesRequest {})
        .await
        .unwrap()
        .into_inner();
    let mut found = BTreeMap::new();
    for lease in all.leases {
        let request = LeaseTimeToLiveRequest {
            id: lease.id,
            keys: true,
        };
        let answer = client.lease_time_to_live(request).await.unwrap().into_inner();
        let mut keys: Vec<Vec<u8>> = answer.keys.iter().map(|key| key.to_vec()).collect();
        keys.sort_unstable();
        found.insert(lease.id, (answer.granted_ttl, keys));
    }
    found
}
