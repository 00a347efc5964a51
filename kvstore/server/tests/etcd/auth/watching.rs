//! A watch is allowed or refused when it is created.

use super::client::{BAD_TOKEN, Client, DENIED, NOBODY, guarded};
use proto::authpb::permission::Type;
use proto::etcdserverpb::watch_client::WatchClient;
use proto::etcdserverpb::watch_request::RequestUnion;
use proto::etcdserverpb::{WatchCreateRequest, WatchRequest, WatchResponse};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};

fn create(key: &str, end: &str) -> WatchRequest {
    let create = WatchCreateRequest {
        key: key.to_owned().into(),
        range_end: end.to_owned().into(),
        start_revision: 1,
        ..WatchCreateRequest::default()
    };
    WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(create)),
    }
}

struct Stream {
    requests: mpsc::Sender<WatchRequest>,
    responses: Streaming<WatchResponse>,
}

impl Stream {
    async fn open(client: &Client) -> Self {
        let (requests, receiver) = mpsc::channel(4);
        let request = client.say(ReceiverStream::new(receiver));
        let responses = WatchClient::new(client.channel.clone()).watch(request).await;
        Self {
            requests,
            responses: responses.unwrap().into_inner(),
        }
    }

    async fn watch(&mut self, key: &str, end: &str) -> WatchResponse {
        self.requests.send(create(key, end)).await.unwrap();
        self.responses.message().await.unwrap().unwrap()
    }

    async fn refused(&mut self, key: &str, end: &str, (code, text): (Code, &str)) {
        // As Go prints an error of gRPC: etcd's 3.4 client compares it to know that its token has run out.
        let reason = format!("rpc error: code = {code:?} desc = {text}");
        let answer = self.watch(key, end).await;
        assert_eq!(
            (
                answer.watch_id,
                answer.created,
                answer.canceled,
                &*answer.cancel_reason
            ),
            (-1, true, true, &*reason),
            "{key} {end}"
        );
        assert!(answer.header.is_some_and(|header| header.revision > 0));
    }
}

#[test]
fn a_watch_needs_permission_to_read_all_of_its_range() {
    guarded(async |store| {
        let mut alice = Stream::open(&store.alice).await;
        alice.refused("bar", "", DENIED).await;
        alice.refused("foo", "fop", DENIED).await;
        // Open-ended, or all: more than was granted.
        alice.refused("foo", "\0", DENIED).await;
        alice.refused("", "\0", DENIED).await;
        let created = alice.watch("foo", "").await;
        assert!(created.created && !created.canceled && created.watch_id == 0);
        let events = alice.responses.message().await.unwrap().unwrap().events;
        assert_eq!(events[0].kv.as_ref().unwrap().value, "bar");
        // The stream's client is judged anew for each watch.
        store.root.allow("role", Type::Read, "a", "\0").await.unwrap();
        assert!(!alice.watch("foo", "\0").await.canceled);
    });
}

#[test]
fn a_watch_without_a_good_token_is_refused() {
    guarded(async |store| {
        Stream::open(&store.nobody).await.refused("foo", "", NOBODY).await;
        let forged = store.nobody.with_token("forged.1");
        Stream::open(&forged).await.refused("foo", "", BAD_TOKEN).await;
        let mut alice = Stream::open(&store.alice).await;
        assert!(!alice.watch("foo", "").await.canceled);
        store.root.delete_user("alice").await.unwrap();
        // What was created stays, as in etcd; nothing new comes of a token that is gone.
        while alice
            .responses
            .message()
            .await
            .unwrap()
            .unwrap()
            .events
            .is_empty()
        {}
        alice.refused("foo", "", BAD_TOKEN).await;
        store.root.put("foo", "later").await.unwrap();
        let events = alice.responses.message().await.unwrap().unwrap().events;
        assert_eq!(events[0].kv.as_ref().unwrap().value, "later");
    });
}
