//! A little API server: any resource, with optimistic locking, merge patches, bindings and watches.

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

/// A collection: plural resource name and namespace (empty for all, or none).
type Event = (u64, String, String, Bytes);

#[derive(Clone)]
pub struct FakeApi {
    state: Arc<Mutex<State>>,
    events: broadcast::Sender<Event>,
}

#[derive(Default)]
struct State {
    revision: u64,
    /// By resource, namespace, name.
    objects: BTreeMap<(String, String, String), Value>,
    history: Vec<Event>,
    bindings: Vec<(String, String)>,
    /// Bindings left that are carried out and then answered with a failure.
    lying_bindings: usize,
}

pub struct Server {
    pub address: String,
    _task: AbortOnDropHandle<()>,
}

struct Target {
    resource: String,
    namespace: String,
    name: String,
    subresource: String,
}

impl FakeApi {
    pub fn new() -> Self {
        Self {
            state: Arc::default(),
            events: broadcast::Sender::new(1 << 16),
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

    pub fn create(&self, resource: &str, mut object: Value) {
        let mut state = self.state.lock().expect("not poisoned");
        let namespace = text(&object["metadata"]["namespace"]);
        let name = text(&object["metadata"]["name"]);
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = json!(format!("uid-{resource}-{namespace}-{name}"));
        }
        self.store(&mut state, resource, &namespace, &name, object);
    }

    pub fn lie_about_bindings(&self, count: usize) {
        self.state.lock().expect("not poisoned").lying_bindings = count;
    }

    pub fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        let state = self.state.lock().expect("not poisoned");
        let key = (resource.to_owned(), namespace.to_owned(), name.to_owned());
        state.objects.get(&key).cloned()
    }

    pub fn list(&self, resource: &str) -> Vec<Value> {
        let state = self.state.lock().expect("not poisoned");
        let mine = state.objects.iter().filter(|((kind, ..), _)| kind == resource);
        mine.map(|(_, object)| object.clone()).collect()
    }

    /// Pod and node of every binding, in order.
    pub fn bindings(&self) -> Vec<(String, String)> {
        self.state.lock().expect("not poisoned").bindings.clone()
    }

    fn store(&self, state: &mut State, resource: &str, namespace: &str, name: &str, object: Value) -> Value {
        let key = (resource.to_owned(), namespace.to_owned(), name.to_owned());
        let kind = if state.objects.contains_key(&key) {
            "MODIFIED"
        } else {
            "ADDED"
        };
        let object = self.publish(state, kind, resource, namespace, object);
        state.objects.insert(key, object.clone());
        object
    }

    fn remove(&self, state: &mut State, resource: &str, namespace: &str, name: &str) {
        let key = (resource.to_owned(), namespace.to_owned(), name.to_owned());
        if let Some(object) = state.objects.remove(&key) {
            self.publish(state, "DELETED", resource, namespace, object);
        }
    }

    fn publish(
        &self,
        state: &mut State,
        kind: &str,
        resource: &str,
        namespace: &str,
        mut object: Value,
    ) -> Value {
        state.revision += 1;
        object["metadata"]["resourceVersion"] = json!(state.revision.to_string());
        let line = Bytes::from(format!("{}\n", json!({"type": kind, "object": object})));
        let event = (state.revision, resource.to_owned(), namespace.to_owned(), line);
        state.history.push(event.clone());
        let _ = self.events.send(event);
        object
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map(|b| b.to_bytes()).unwrap_or_default();
        let sent: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let Some(target) = target(parts.uri.path()) else {
            return failure(StatusCode::NOT_FOUND, "NotFound");
        };
        let mut state = self.state.lock().expect("not poisoned");
        if parts.method == Method::GET && target.name.is_empty() {
            return if query.contains("watch=true") {
                self.watch(&state, &target, &query)
            } else {
                list(&state, &target)
            };
        }
        let key = (
            target.resource.clone(),
            target.namespace.clone(),
            target.name.clone(),
        );
        let current = state.objects.get(&key).cloned();
        match (parts.method, current) {
            (Method::POST, Some(pod)) if target.subresource == "binding" => {
                self.bind(&mut state, &target, pod, &sent)
            }
            (Method::POST, None) if target.name.is_empty() => {
                let name = text(&sent["metadata"]["name"]);
                if state.objects.contains_key(&(
                    target.resource.clone(),
                    target.namespace.clone(),
                    name.clone(),
                )) {
                    return failure(StatusCode::CONFLICT, "AlreadyExists");
                }
                let stored = self.store(&mut state, &target.resource, &target.namespace, &name, sent);
                answer(StatusCode::CREATED, &stored)
            }
            (_, None) => failure(StatusCode::NOT_FOUND, "NotFound"),
            (Method::GET, Some(object)) => answer(StatusCode::OK, &object),
            (Method::PUT, Some(object)) => {
                if object["metadata"]["resourceVersion"] != sent["metadata"]["resourceVersion"] {
                    return failure(StatusCode::CONFLICT, "Conflict");
                }
                let stored = self.store(
                    &mut state,
                    &target.resource,
                    &target.namespace,
                    &target.name,
                    sent,
                );
                answer(StatusCode::OK, &stored)
            }
            (Method::PATCH, Some(mut object)) => {
                // Lists are replaced whole: enough for the one condition that a scheduler writes.
                merge(&mut object, sent);
                let stored = self.store(
                    &mut state,
                    &target.resource,
                    &target.namespace,
                    &target.name,
                    object,
                );
                answer(StatusCode::OK, &stored)
            }
            (Method::DELETE, Some(object)) => {
                self.remove(&mut state, &target.resource, &target.namespace, &target.name);
                answer(StatusCode::OK, &object)
            }
            _ => failure(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
        }
    }

    fn bind(&self, state: &mut State, target: &Target, mut pod: Value, sent: &Value) -> Response<Body> {
        if !pod["spec"]["nodeName"].is_null() || pod["metadata"]["uid"] != sent["metadata"]["uid"] {
            return failure(StatusCode::CONFLICT, "Conflict");
        }
        let node = text(&sent["target"]["name"]);
        pod["spec"]["nodeName"] = json!(node);
        self.store(state, &target.resource, &target.namespace, &target.name, pod);
        state.bindings.push((target.name.clone(), node));
        if state.lying_bindings > 0 {
            state.lying_bindings -= 1;
            return failure(StatusCode::INTERNAL_SERVER_ERROR, "InternalError");
        }
        answer(
            StatusCode::CREATED,
            &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}),
        )
    }

    fn watch(&self, state: &State, target: &Target, query: &str) -> Response<Body> {
        let from = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("resourceVersion="))
            .and_then(|revision| revision.parse::<u64>().ok())
            .unwrap_or(0);
        let (resource, namespace) = (target.resource.clone(), target.namespace.clone());
        let wanted =
            move |event: &Event| event.1 == resource && (namespace.is_empty() || event.2 == namespace);
        let past: Vec<Bytes> = state
            .history
            .iter()
            .filter(|event| event.0 > from && wanted(event))
            .map(|event| event.3.clone())
            .collect();
        let live = futures::stream::unfold(
            (self.events.subscribe(), wanted),
            |(mut events, wanted)| async move {
                loop {
                    let event = events.recv().await.ok()?;
                    if wanted(&event) {
                        return Some((event.3, (events, wanted)));
                    }
                }
            },
        );
        let lines = futures::StreamExt::chain(futures::stream::iter(past), live);
        let frames = futures::StreamExt::map(lines, |line| Ok(Frame::data(line)));
        Response::new(StreamBody::new(frames).boxed())
    }
}

fn list(state: &State, target: &Target) -> Response<Body> {
    let items: Vec<&Value> = state
        .objects
        .iter()
        .filter(|((resource, namespace, _), _)| {
            *resource == target.resource && (target.namespace.is_empty() || *namespace == target.namespace)
        })
        .map(|(_, object)| object)
        .collect();
    let list = json!({"kind": "List", "apiVersion": "v1",
        "metadata": {"resourceVersion": state.revision.to_string()}, "items": items});
    answer(StatusCode::OK, &list)
}

fn target(path: &str) -> Option<Target> {
    let mut parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    // api/v1 or apis/<group>/<version>
    parts.drain(..if parts.first() == Some(&"api") { 2 } else { 3 }.min(parts.len()));
    let mut namespace = String::new();
    if let ["namespaces", name, _, ..] = parts.as_slice() {
        namespace = (*name).to_owned();
        parts.drain(..2);
    }
    let at = |index: usize| parts.get(index).map(|&part| part.to_owned());
    Some(Target {
        resource: at(0)?,
        namespace,
        name: at(1).unwrap_or_default(),
        subresource: at(2).unwrap_or_default(),
    })
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                if value.is_null() {
                    into.remove(&key);
                } else {
                    merge(into.entry(key).or_insert(Value::Null), value);
                }
            }
        }
        (into, from) => *into = from,
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
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
