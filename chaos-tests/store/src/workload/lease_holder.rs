//! A client that holds a lease for a while, keeps a key on it, and lets it go in one way or another.

use super::LEASED;
use crate::client::Client;
use crate::history::{Answer, Outcome, Request};
use crate::stage::Board;
use proto::etcdserverpb::{LeaseGrantRequest, PutRequest};
use std::time::Duration;

/// Works until the world is quiet.
pub async fn lease_holder(mut client: Client, board: Board, pace: Duration) {
    let mut count = 0_i64;
    while board.working() {
        count += 1;
        // Drawn, not counted: ids of two holders must not meet.
        let id = (client.random.u64() >> 2).cast_signed() + 1;
        hold(&mut client, &board, id, count, pace).await;
        client.think(pace * 4).await;
    }
}

async fn hold(client: &mut Client, board: &Board, id: i64, count: i64, pace: Duration) {
    let ttl = i64::try_from(client.random.below(1..4)).unwrap_or(1);
    let granted = client.ask(Request::Grant(LeaseGrantRequest { ttl, id })).await;
    let Outcome::Answered {
        answer: Answer::Granted(ttl),
        ..
    } = granted
    else {
        return;
    };
    for place in 0..1 + client.random.below(0..2) {
        let put = PutRequest {
            key: format!("{LEASED}{}/{place}", client.name).into(),
            value: format!("{}-{count}-{place}", client.name).into(),
            lease: id,
            ..PutRequest::default()
        };
        client.ask(Request::Put(put)).await;
    }
    let renewals = client.random.below(0..6);
    for _ in 0..renewals {
        if !board.working() {
            return;
        }
        // Sometimes well in time, sometimes at the last moment, sometimes too late.
        let wait = client.random.below(0..u64::try_from(ttl).unwrap_or(1) * 1_100);
        tokio::time::sleep(Duration::from_millis(wait)).await;
        let renewed = client.ask(Request::KeepAlive(id)).await;
        if matches!(
            renewed,
            Outcome::Answered {
                answer: Answer::Renewed(0),
                ..
            }
        ) {
            return;
        }
        client.think(pace).await;
    }
    if client.chance(30) {
        client.ask(Request::Revoke(id)).await;
    }
}
