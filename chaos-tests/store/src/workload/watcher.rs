//! Watchers: the recorders, who see everything on one member, and others, who see a part and move about.

use super::{LEASED, OBJECTS, PLAIN, prefix_end, range};
use crate::client::Client;
use crate::history::{Answer, Outcome, Request};
use crate::stage::{Board, Stage};
use proto::etcdserverpb::watch_client::WatchClient;
use proto::etcdserverpb::watch_create_request::FilterType;
use proto::etcdserverpb::watch_request::RequestUnion;
use proto::etcdserverpb::{RangeRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;

/// A watcher that has heard nothing for so long asks how far the store is; twice as long and it looks elsewhere.
const SILENCE: Duration = Duration::from_millis(700);
const PAUSE: Duration = Duration::from_millis(100);

/// Watches everything on one member from the first revision on, until the world is done.
pub async fn recorder(mut client: Client, board: Board) {
    let member = client.member();
    while board.stage() < Stage::Done {
        let create = WatchCreateRequest {
            key: vec![0].into(),
            range_end: vec![0].into(),
            start_revision: board.recorded_of(member).max(1) + 1,
            prev_kv: true,
            ..WatchCreateRequest::default()
        };
        let next = create.start_revision;
        listen(&mut client, &board, create, next, true, None).await;
        client.give_up();
        tokio::time::sleep(PAUSE).await;
    }
}

/// Lists, watches on from there, and begins again on another member after a while, now and then further back.
pub async fn watcher(mut client: Client, board: Board) {
    let mut next = 0;
    let mut create = WatchCreateRequest::default();
    while board.stage() < Stage::Done {
        if next == 0 {
            let prefix = [PLAIN, OBJECTS, LEASED][usize::try_from(client.random.below(0..3)).unwrap_or(0)];
            let list = RangeRequest {
                range_end: prefix_end(prefix),
                ..range(prefix)
            };
            let Outcome::Answered {
                revision,
                answer: Answer::Range(_),
            } = client.ask(Request::Range(list)).await
            else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            next = revision + 1;
            create = WatchCreateRequest {
                key: prefix.into(),
                range_end: prefix_end(prefix),
                prev_kv: client.chance(50),
                progress_notify: client.chance(50),
                filters: match client.random.below(0..6) {
                    0 => vec![FilterType::Noput.into()],
                    1 => vec![FilterType::Nodelete.into()],
                    _ => Vec::new(),
                },
                ..WatchCreateRequest::default()
            };
        }
        create.start_revision = next;
        let long = Duration::from_millis(client.random.below(300..4_000));
        next = listen(&mut client, &board, create.clone(), next, false, Some(long)).await;
        if client.chance(30) {
            next = 0;
        } else if client.chance(20) {
            // As one who was away for long: what it asks for may have been compacted.
            let back = i64::try_from(client.random.below(1..400)).unwrap_or(1);
            next = (next - back).max(1);
        }
        client.give_up();
        tokio::time::sleep(PAUSE).await;
    }
}

/// One session: gives the next revision to watch from, 0 when that was compacted.
async fn listen(
    client: &mut Client,
    board: &Board,
    create: WatchCreateRequest,
    mut next: i64,
    recorder: bool,
    long: Option<Duration>,
) -> i64 {
    let history = client.history().clone();
    let member = client.member();
    let session = history.watching(&client.name, member, create.clone(), recorder);
    let (requests, receiver) = mpsc::channel(4);
    let create = RequestUnion::CreateRequest(create);
    // There is room, and the receiver is right here.
    let _ = requests
        .send(WatchRequest {
            request_union: Some(create),
        })
        .await;
    let mut watch = WatchClient::new(client.channel());
    let opening = timeout(SILENCE * 2, watch.watch(ReceiverStream::new(receiver))).await;
    let mut responses = match opening {
        Ok(Ok(response)) => response.into_inner(),
        Ok(Err(status)) => {
            history.ended(session, status.to_string());
            return next;
        }
        Err(_) => {
            history.ended(session, "could not be opened in time".to_owned());
            return next;
        }
    };
    let until = tokio::time::Instant::now() + long.unwrap_or(Duration::from_secs(3600));
    let mut asked = false;
    let why = loop {
        if board.stage() == Stage::Done || tokio::time::Instant::now() >= until {
            break "it was long enough".to_owned();
        }
        match timeout(SILENCE, responses.message()).await {
            Ok(Ok(Some(response))) => {
                asked = false;
                let at = response.header.as_ref().map_or(0, |header| header.revision);
                let newest = response.events.iter().filter_map(|event| event.kv.as_ref());
                let newest = newest.map(|kv| kv.mod_revision).max();
                let progress = response.events.is_empty() && !response.created && !response.canceled;
                match newest {
                    Some(newest) => next = next.max(newest + 1),
                    None if progress => next = next.max(at + 1),
                    None => {}
                }
                let (canceled, compacted) = (response.canceled, response.compact_revision);
                history.heard(session, response);
                if recorder {
                    board.recorded(member, next - 1);
                }
                if canceled {
                    if compacted > 0 {
                        next = 0;
                    }
                    break "cancelled".to_owned();
                }
            }
            Ok(Ok(None)) => break "the stream ended".to_owned(),
            Ok(Err(status)) => break status.to_string(),
            Err(_) if asked => break "silent for too long".to_owned(),
            Err(_) => {
                asked = true;
                let ask = RequestUnion::ProgressRequest(WatchProgressRequest {});
                // A full queue means that the connection is stuck; the next silence ends it.
                let _ = requests.try_send(WatchRequest {
                    request_union: Some(ask),
                });
            }
        }
    };
    history.ended(session, why);
    next
}
