//! A client that uses etcd plainly: single keys, ranges, transactions over a few keys.

use super::{PLAIN, delete_op, prefix_end, put_op, range, range_op};
use crate::client::Client;
use crate::history::Request;
use crate::stage::Board;
use proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use proto::etcdserverpb::{Compare, DeleteRangeRequest, PutRequest, RangeRequest, TxnRequest};
use std::time::Duration;

/// Few keys, so that clients meet on them.
const KEYS: u64 = 6;

/// Works until the world is quiet.
pub async fn etcd_user(mut client: Client, board: Board, pace: Duration) {
    let mut count = 0_u64;
    while board.working() {
        count += 1;
        let value = format!("{}-{count}", client.name);
        let request = any_request(&client, &value);
        client.ask(request).await;
        if client.chance(10) {
            client.roam();
        }
        client.think(pace).await;
    }
}

fn any_key(client: &Client) -> String {
    format!("{PLAIN}{}", client.random.below(0..KEYS))
}

fn any_request(client: &Client, value: &str) -> Request {
    let put = |client: &Client, value: String| PutRequest {
        key: any_key(client).into(),
        value: value.into(),
        prev_kv: client.chance(30),
        ..PutRequest::default()
    };
    match client.random.below(0..100) {
        0..30 => Request::Put(put(client, value.to_owned())),
        30..55 => Request::Range(RangeRequest {
            serializable: client.chance(15),
            ..range(any_key(client))
        }),
        55..65 => Request::Range(RangeRequest {
            range_end: prefix_end(PLAIN),
            limit: i64::try_from(client.random.below(0..4)).unwrap_or(0),
            ..range(PLAIN)
        }),
        65..75 => Request::Delete(DeleteRangeRequest {
            key: any_key(client).into(),
            prev_kv: client.chance(50),
            ..DeleteRangeRequest::default()
        }),
        75..78 => Request::Delete(DeleteRangeRequest {
            key: PLAIN.into(),
            range_end: prefix_end(PLAIN),
            prev_kv: client.chance(50),
        }),
        _ => Request::Txn(any_txn(client, value)),
    }
}

/// A condition on one key, then writes to some and reads of others.
fn any_txn(client: &Client, value: &str) -> TxnRequest {
    let key = any_key(client);
    let compare = if client.chance(50) {
        Compare {
            result: CompareResult::Greater.into(),
            target: CompareTarget::Version.into(),
            key: key.clone().into(),
            target_union: Some(TargetUnion::Version(
                i64::try_from(client.random.below(0..3)).unwrap_or(0),
            )),
            ..Compare::default()
        }
    } else {
        Compare {
            result: CompareResult::NotEqual.into(),
            target: CompareTarget::Value.into(),
            key: key.clone().into(),
            target_union: Some(TargetUnion::Value(value.to_owned().into())),
            ..Compare::default()
        }
    };
    let put = |place: &str, key: String| {
        put_op(PutRequest {
            key: key.into(),
            value: format!("{value}{place}").into(),
            ..PutRequest::default()
        })
    };
    let first = client.random.below(0..KEYS);
    let (a, b) = (
        format!("{PLAIN}{first}"),
        format!("{PLAIN}{}", (first + 1) % KEYS),
    );
    let success = match client.random.below(0..3) {
        // Two keys in one revision: a watcher must see both or neither.
        0 => vec![put("a", a), put("b", b)],
        1 => vec![put("a", a), delete_op(b)],
        _ => vec![put("a", a.clone()), range_op(range(a))],
    };
    TxnRequest {
        compare: vec![compare],
        success,
        failure: vec![range_op(range(key))],
    }
}
