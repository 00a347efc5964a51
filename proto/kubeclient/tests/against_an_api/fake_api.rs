//! A little API server: leases of one namespace, with optimistic locking and watches.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use support::{Env, Listener};
use tokio::sync::broadcast;
use tokio_util::task::AbortOnDropHandle;

type Body = BoxBody<Bytes, Infallible>;

/// What all servers of one fake cluster share.
#[derive(Clone)]
pub struct FakeApi {
    state: Arc<Mutex<State>>,
    events: broadcast::Sender<(u64, Bytes)>,
}

#[derive(Default)]
struct State {
    revision: u64,
    leases: BTreeMap<String, Value>,
    history: Vec<(u64, Bytes)>,
}

/// One running server; dropping it closes its connections and its port.
pub struct Server {
    pub address: String,
    _task: AbortOnDropHandle<()>,
}

impl FakeApi {
    pub fn new() -> Self {
        Self {
            state: Arc::default(),
            events: broadcast::Sender::new(1024),
        }
    }

    pub async fn serve(&self, env: &Env) -> Server {
        let listener = env.net.listen("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        Server {
            address,
            _task: AbortOnDropHandle::new(tokio::spawn(self.clone().accept(listener))),
        }
    }

    async fn accept(self, listener: Box<dyn Listener>) {
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let api = self.clone();
            connections.spawn(async move {
                let service = service_fn(move |request| {
                    let api = api.clone();
                    async move { Ok::<_, Infallible>(api.answer(request).await) }
                });
                let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    }

    /// Writes as another client would, without any precondition.
    pub fn put(&self, name: &str, object: Value) {
        let mut state = self.state.lock().expect("not poisoned");
        let kind = if state.leases.contains_key(name) {
            "MODIFIED"
        } else {
            "ADDED"
        };
        self.store(&mut state, kind, name, object);
    }

    pub fn delete(&self, name: &str) {
        let mut state = self.state.lock().expect("not poisoned");
        if let Some(object) = state.leases.remove(name) {
            self.publish(&mut state, "DELETED", object);
        }
    }

    fn store(&self, state: &mut State, kind: &str, name: &str, mut object: Value) -> Value {
        object["metadata"]["resourceVersion"] = json!((state.revision + 1).to_string());
        object["metadata"]["name"] = json!(name);
        object["metadata"]["namespace"] = json!("kube-system");
        state.leases.insert(name.to_owned(), object.clone());
        self.publish(state, kind, object.clone());
        object
    }

    fn publish(&self, state: &mut State, kind: &str, mut object: Value) {
        state.revision += 1;
        object["metadata"]["resourceVersion"] = json!(state.revision.to_string());
        let line = Bytes::from(format!("{}\n", json!({"type": kind, "object": object})));
        state.history.push((state.revision, line.clone()));
        let _ = self.events.send((state.revision, line));
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map(|b| b.to_bytes()).unwrap_or_default();
        let name = parts
            .uri
            .path()
            .strip_prefix("/apis/coordination.k8s.io/v1/namespaces/kube-system/leases")
            .unwrap_or_default()
            .trim_start_matches('/')
            .to_owned();
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let mut state = self.state.lock().expect("not poisoned");
        let sent: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        match parts.method {
            Method::GET if query.contains("watch=true") => {
                let from = query
                    .split('&')
                    .find_map(|pair| pair.strip_prefix("resourceVersion="))
                    .and_then(|revision| revision.parse::<u64>().ok())
                    .unwrap_or(0);
                self.watch(&state, from)
            }
            Method::GET if name.is_empty() => {
                let items: Vec<&Value> = state.leases.values().collect();
                let version = state.revision.to_string();
                let list = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "LeaseList",
                    "metadata": {"resourceVersion": version}, "items": items});
                answer(StatusCode::OK, &list)
            }
            Method::GET => match state.leases.get(&name) {
                Some(lease) => answer(StatusCode::OK, lease),
                None => failure(StatusCode::NOT_FOUND, "NotFound"),
            },
            Method::POST => {
                let name = sent["metadata"]["name"].as_str().unwrap_or_default().to_owned();
                if state.leases.contains_key(&name) {
                    return failure(StatusCode::CONFLICT, "AlreadyExists");
                }
                let stored = self.store(&mut state, "ADDED", &name, sent);
                answer(StatusCode::CREATED, &stored)
            }
            Method::PUT => match state.leases.get(&name) {
                None => failure(StatusCode::NOT_FOUND, "NotFound"),
                Some(current)
                    if current["metadata"]["resourceVersion"] != sent["metadata"]["resourceVersion"] =>
                {
                    failure(StatusCode::CONFLICT, "Conflict")
                }
                Some(_) => {
                    let stored = self.store(&mut state, "MODIFIED", &name, sent);
                    answer(StatusCode::OK, &stored)
                }
            },
            _ => failure(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
        }
    }

    fn watch(&self, state: &State, from: u64) -> Response<Body> {
        let past: Vec<Bytes> = state
            .history
            .iter()
            .filter(|(revision, _)| *revision > from)
            .map(|(_, line)| line.clone())
            .collect();
        // Subscribed under the state's lock: nothing falls between the past and the future.
        let live = futures::stream::unfold(self.events.subscribe(), |mut events| async move {
            let (_, line) = events.recv().await.ok()?;
            Some((line, events))
        });
        let lines = futures::StreamExt::chain(futures::stream::iter(past), live);
        let frames = futures::StreamExt::map(lines, |line| Ok(Frame::data(line)));
        let mut response = Response::new(StreamBody::new(frames).boxed());
        *response.status_mut() = StatusCode::OK;
        response
    }
}

fn answer(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())).boxed());
    *response.status_mut() = status;
    response
}

fn failure(status: StatusCode, reason: &str) -> Response<Body> {
    answer(
        status,
        &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": reason, "reason": reason, "code": status.as_u16()}),
    )
}
