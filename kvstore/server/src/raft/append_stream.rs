//! Appends to one follower over one stream: each is sent without waiting for the answer to the one before.
//!
//! Invariants:
//! - Answers come in the order of the appends; the first that is no success ends the stream, and openraft opens
//!   another from where the follower stands.
//! - The source of appends is polled by whoever polls the answers, never by the connection's own task: when the
//!   stream is dropped, so is the source, at once.

use super::network::{APPEND_TIMEOUT, Connection, append_in};
use super::types::TypeConfig;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};
use openraft::alias::LogIdOf;
use openraft::errors::{NetworkError, RPCError, Unreachable};
use openraft::raft::{AppendEntriesRequest, StreamAppendResult};
use openraft::{OptionalSend, RPCTypes};
use proto::raftpb;
use std::collections::VecDeque;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

/// Appends that may be on their way: enough to keep a follower busy while its answers travel.
const IN_FLIGHT: usize = 16;

type Item = Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>>;
/// The answers to a stream of appends, if it could be opened.
pub type Opened<'s> = Result<BoxStream<'s, Item>, RPCError<TypeConfig>>;

/// An append whose answer is awaited.
struct Sent {
    previous: Option<LogIdOf<TypeConfig>>,
    last: Option<LogIdOf<TypeConfig>>,
    at: Instant,
}

/// The stream itself.
struct Link {
    requests: mpsc::Sender<raftpb::AppendRequest>,
    answers: Streaming<raftpb::AppendResponse>,
}

struct AppendStream<'s, S> {
    connection: &'s mut Connection,
    input: Option<S>,
    /// Made for the first append, not before: with it comes the pause after a failure.
    link: Option<Link>,
    sent: VecDeque<Sent>,
}

/// The answers to what `input` gives; it is sent as they are asked for.
pub fn open<S>(connection: &mut Connection, input: S) -> BoxStream<'_, Item>
where
    S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
{
    let stream = AppendStream {
        connection,
        input: Some(input),
        link: None,
        sent: VecDeque::new(),
    };
    futures::stream::unfold(Some(stream), |stream| async move {
        let mut stream = stream?;
        let item = stream.next().await?;
        if item.is_err() {
            stream.connection.failed();
        }
        let goes_on = matches!(&item, Ok(Ok(_)));
        Some((item, goes_on.then_some(stream)))
    })
    .boxed()
}

impl<S> AppendStream<'_, S>
where
    S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
{
    /// Sends what there is to send until the next answer comes; `None` when everything is sent and answered.
    async fn next(&mut self) -> Option<Item> {
        loop {
            if self.input.is_none() && self.sent.is_empty() {
                return None;
            }
            let deadline = self.sent.front().map(|sent| sent.at + APPEND_TIMEOUT);
            let sends = self.sent.len() < IN_FLIGHT;
            tokio::select! {
                biased;
                answer = answer_of(&mut self.link) => return Some(self.answered(answer)),
                request = next_of(&mut self.input), if sends && self.input.is_some() => match request {
                    Some(request) => {
                        if let Err(error) = self.send(&request).await {
                            return Some(Err(error));
                        }
                    }
                    None => self.input = None,
                },
                () = tokio::time::sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    let error = self.connection.timed_out(RPCTypes::AppendEntries, APPEND_TIMEOUT);
                    return Some(Err(error));
                }
            }
        }
    }

    async fn send(&mut self, request: &AppendEntriesRequest<TypeConfig>) -> Result<(), RPCError<TypeConfig>> {
        let message = self.connection.append_out(request);
        self.connection.sends(&message);
        let link = match &mut self.link {
            Some(link) => link,
            None => self.link.insert(connect(self.connection).await?),
        };
        // There is room for as many as may be on their way; so it fails only when the stream is gone.
        link.requests
            .try_send(message)
            .map_err(|_| gone(&Status::unavailable("the stream of appends has ended")))?;
        self.sent.push_back(Sent {
            previous: request.prev_log_id,
            last: request
                .entries
                .last()
                .map(|entry| entry.log_id)
                .or(request.prev_log_id),
            at: Instant::now(),
        });
        Ok(())
    }

    fn answered(&mut self, answer: Result<Option<raftpb::AppendResponse>, Status>) -> Item {
        let answer = match answer {
            Ok(Some(answer)) => answer,
            Ok(None) => return Err(gone(&Status::unavailable("the follower has ended the stream"))),
            Err(status) => return Err(gone(&status)),
        };
        self.connection.heard();
        // The one behind it has waited for this answer, not for its own.
        if let Some(next) = self.sent.get_mut(1) {
            next.at = Instant::now();
        }
        let Some(sent) = self.sent.pop_front() else {
            return Err(gone(&Status::internal("an answer to nothing")));
        };
        Ok(append_in(answer)?.into_stream_result(sent.previous, sent.last))
    }
}

async fn connect(connection: &mut Connection) -> Result<Link, RPCError<TypeConfig>> {
    let (requests, receiver) = mpsc::channel(IN_FLIGHT);
    let mut client = connection.client();
    let call = async move { client.append_stream(ReceiverStream::new(receiver)).await };
    let answers = connection
        .call(RPCTypes::AppendEntries, APPEND_TIMEOUT, call)
        .await?;
    Ok(Link { requests, answers })
}

/// The next answer; never, while there is no stream.
async fn answer_of(link: &mut Option<Link>) -> Result<Option<raftpb::AppendResponse>, Status> {
    match link {
        Some(link) => link.answers.message().await,
        None => std::future::pending().await,
    }
}

async fn next_of<S: Stream + Unpin>(input: &mut Option<S>) -> Option<S::Item> {
    match input {
        Some(input) => input.next().await,
        None => None,
    }
}

fn gone(status: &Status) -> RPCError<TypeConfig> {
    if status.code() == Code::Unavailable {
        Unreachable::new(status).into()
    } else {
        NetworkError::new(status).into()
    }
}
