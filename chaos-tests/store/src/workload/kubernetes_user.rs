//! A client that uses the store as a kube-apiserver does: optimistic transactions on `mod_revision`, lists in
//! pages of one revision (`staging/src/k8s.io/apiserver/pkg/storage/etcd3/store.go`).

use super::{OBJECTS, delete_op, mod_revision_is, prefix_end, put_op, range, range_op};
use crate::client::Client;
use crate::history::{Answer, Outcome, Request};
use crate::stage::Board;
use proto::etcdserverpb::{PutRequest, RangeRequest, RequestOp, TxnRequest};
use proto::mvccpb::KeyValue;
use std::time::Duration;

const OBJECTS_COUNT: u64 = 5;

/// Works until the world is quiet.
pub async fn kubernetes_user(mut client: Client, board: Board, pace: Duration) {
    let mut count = 0_u64;
    while board.working() {
        count += 1;
        let value = format!("{}-{count}", client.name);
        let key = format!("{OBJECTS}{}", client.random.below(0..OBJECTS_COUNT));
        if client.chance(15) {
            list(&mut client).await;
        } else if client.chance(10) {
            // A create without looking: it fails when the object is there.
            let create = write(&key, 0, value);
            client.ask(Request::Txn(create)).await;
        } else {
            let found = get(&mut client, &key).await;
            if let Some(found) = found {
                let request = match found {
                    None => write(&key, 0, value),
                    Some(kv) if client.chance(75) => write(&key, kv.mod_revision, value),
                    Some(kv) => guarded(&key, kv.mod_revision, delete_op(key.clone())),
                };
                client.think(pace / 4).await;
                client.ask(Request::Txn(request)).await;
            }
        }
        if client.chance(5) {
            client.roam();
        }
        client.think(pace).await;
    }
}

async fn get(client: &mut Client, key: &str) -> Option<Option<KeyValue>> {
    match client.ask(Request::Range(range(key.to_owned()))).await {
        Outcome::Answered {
            answer: Answer::Range(mut found),
            ..
        } => Some(found.kvs.pop()),
        _ => None,
    }
}

/// All objects in pages of two, the later ones at the revision of the first.
async fn list(client: &mut Client) {
    let mut page = RangeRequest {
        range_end: prefix_end(OBJECTS),
        limit: 2,
        ..range(OBJECTS)
    };
    loop {
        let outcome = client.ask(Request::Range(page.clone())).await;
        let Outcome::Answered {
            revision,
            answer: Answer::Range(found),
        } = outcome
        else {
            return;
        };
        let Some(last) = found.kvs.last().filter(|_| found.more) else {
            return;
        };
        page.key = [&last.key[..], &[0]].concat().into();
        if page.revision == 0 {
            page.revision = revision;
        }
    }
}

/// Create (`seen` is 0) or update.
fn write(key: &str, seen: i64, value: String) -> TxnRequest {
    let put = PutRequest {
        key: key.to_owned().into(),
        value: value.into(),
        ..PutRequest::default()
    };
    guarded(key, seen, put_op(put))
}

fn guarded(key: &str, seen: i64, op: RequestOp) -> TxnRequest {
    TxnRequest {
        compare: vec![mod_revision_is(key.to_owned(), seen)],
        success: vec![op],
        failure: vec![range_op(range(key.to_owned()))],
    }
}
