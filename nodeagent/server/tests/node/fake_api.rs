//! An API server in memory, as much of one as an agent needs: objects are JSON, stored by path, with lists,
//! watches, and replaces under a version. Whatever is not a path of a collection is an object.

use http_body_util::{BodyExt, StreamBody, combinators::BoxBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use tokio::sync::broadcast;

type Body = BoxBody<Bytes, Infallible>;

#[derive(Clone)]
pub struct FakeApi {
    state: Arc<Mutex<State>>,
    events: broadcast::Sender<(u64, String, Value)>,
}

#[derive(Default)]
struct State {
    version: u64,
    /// By path: `/api/v1/namespaces/d/pods/p`.
    objects: BTreeMap<String, Value>,
    history: Vec<(u64, String, Value)>,
}

impl FakeApi {
    /// Serves on a free loopback port; the address is the second value.
    pub async fn start() -> (Self, String) {
        let api = Self {
            state: Arc::default(),
            events: broadcast::channel(4096).0,
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let served = api.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let api = served.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let api = api.clone();
                        async move { Ok::<_, Infallible>(api.answer(request).await) }
                    });
                    let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        (api, address)
    }

    pub fn get(&self, path: &str) -> Option<Value> {
        self.state.lock().expect("state").objects.get(path).cloned()
    }

    /// All objects whose path starts so.
    pub fn list(&self, prefix: &str) -> Vec<Value> {
        let state = self.state.lock().expect("state");
        let found = state.objects.iter().filter(|(p, _)| p.starts_with(prefix));
        found.map(|(_, v)| v.clone()).collect()
    }

    /// Stores an object and tells watchers.
    pub fn put(&self, path: &str, mut object: Value) -> Value {
        let mut state = self.state.lock().expect("state");
        state.version += 1;
        let version = state.version;
        let known = state.objects.contains_key(path);
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = json!(format!("00000000-0000-0000-0000-{version:012}"));
            object["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        let kind = if known { "MODIFIED" } else { "ADDED" };
        state.objects.insert(path.to_owned(), object.clone());
        self.tell(&mut state, path, kind, &object);
        object
    }

    pub fn delete(&self, path: &str) {
        let mut state = self.state.lock().expect("state");
        let Some(mut object) = state.objects.remove(path) else {
            return;
        };
        state.version += 1;
        object["metadata"]["resourceVersion"] = json!(state.version.to_string());
        self.tell(&mut state, path, "DELETED", &object);
    }

    fn tell(&self, state: &mut State, path: &str, kind: &str, object: &Value) {
        let event = json!({"type": kind, "object": object});
        state
            .history
            .push((state.version, path.to_owned(), event.clone()));
        let _ = self.events.send((state.version, path.to_owned(), event));
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let query = request.uri().query().unwrap_or_default().to_owned();
        let method = request.method().clone();
        let body = request.into_body().collect().await.expect("a body").to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        if method == Method::GET && query.contains("watch=") {
            return self.watch(&path, &query);
        }
        match method {
            Method::GET if is_collection(&path) => self.list_answer(&path),
            Method::GET => self
                .get(&path)
                .map_or_else(|| not_found(&path), |o| reply(200, &o)),
            Method::POST if path.ends_with("/token") => reply(
                201,
                &json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": {},
                    "spec": {"audiences": []},
                    "status": {"token": "a-token", "expirationTimestamp": "2036-01-01T00:00:00Z"}}),
            ),
            Method::POST => {
                let name = body["metadata"]["name"]
                    .as_str()
                    .unwrap_or("generated")
                    .to_owned();
                reply(201, &self.put(&format!("{path}/{name}"), body))
            }
            Method::PUT => self.replace(&path, body),
            Method::PATCH => self.get(&path).map_or_else(
                || not_found(&path),
                |mut object| {
                    merge(&mut object, &body);
                    reply(200, &self.put(&path, object))
                },
            ),
            Method::DELETE => self.delete_answer(&path, &body),
            _ => status(405, "MethodNotAllowed", &path),
        }
    }

    fn replace(&self, path: &str, mut body: Value) -> Response<Body> {
        let subresource = path.strip_suffix("/status");
        let path = subresource.unwrap_or(path);
        let Some(old) = self.get(path) else {
            return not_found(path);
        };
        if body["metadata"]["resourceVersion"] != old["metadata"]["resourceVersion"] {
            return status(409, "Conflict", path);
        }
        if subresource.is_some() {
            let mut object = old;
            object["status"] = body["status"].take();
            body = object;
        }
        reply(200, &self.put(path, body))
    }

    /// Pods go gracefully, as the API server has it: first a time stamp, then, by grace 0, for real.
    fn delete_answer(&self, path: &str, body: &Value) -> Response<Body> {
        let Some(mut object) = self.get(path) else {
            return not_found(path);
        };
        let grace = body["gracePeriodSeconds"].as_i64().unwrap_or(0);
        if path.contains("/pods/") && grace > 0 {
            object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            object["metadata"]["deletionGracePeriodSeconds"] = json!(grace);
            return reply(200, &self.put(path, object));
        }
        self.delete(path);
        reply(200, &object)
    }

    /// What `kubectl delete pod --grace-period` does.
    pub fn delete_pod(&self, path: &str, grace_seconds: i64) {
        let _ = self.delete_answer(path, &json!({"gracePeriodSeconds": grace_seconds}));
    }

    fn list_answer(&self, path: &str) -> Response<Body> {
        let state = self.state.lock().expect("state");
        let items: Vec<Value> = state
            .objects
            .iter()
            .filter(|(p, _)| selects(path, p))
            .map(|(_, o)| o.clone())
            .collect();
        let version = state.version.to_string();
        reply(
            200,
            &json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": version}, "items": items}),
        )
    }

    fn watch(&self, path: &str, query: &str) -> Response<Body> {
        let from: u64 = query
            .split('&')
            .find_map(|p| p.strip_prefix("resourceVersion="))
            .and_then(|v| v.parse().ok())
            .unwrap_or(0);
        let mut receiver = self.events.subscribe();
        let past = self.state.lock().expect("state").history.clone();
        let path = path.to_owned();
        let (sender, frames) = tokio::sync::mpsc::channel::<Result<Frame<Bytes>, Infallible>>(64);
        tokio::spawn(async move {
            let mut last = from;
            let mut past = past.into_iter();
            loop {
                let (version, at, event) = match past.next() {
                    Some(event) => event,
                    None => match receiver.recv().await {
                        Ok(event) => event,
                        Err(_) => return,
                    },
                };
                if version <= last || !selects(&path, &at) {
                    continue;
                }
                last = version;
                let line = format!("{event}\n");
                if sender.send(Ok(Frame::data(Bytes::from(line)))).await.is_err() {
                    return;
                }
            }
        });
        let stream = tokio_stream::wrappers::ReceiverStream::new(frames);
        Response::builder()
            .header("content-type", "application/json")
            .body(BodyExt::boxed(StreamBody::new(stream)))
            .expect("a response")
    }
}

/// `/api/v1/pods` selects pods of all namespaces.
fn selects(collection: &str, object: &str) -> bool {
    let Some((parent, _)) = object.rsplit_once('/') else {
        return false;
    };
    if parent == collection {
        return true;
    }
    let (Some((group, resource)), Some((prefix, kind))) =
        (collection.rsplit_once('/'), parent.rsplit_once('/'))
    else {
        return false;
    };
    resource == kind && prefix.starts_with(&format!("{group}/namespaces/"))
}

fn is_collection(path: &str) -> bool {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let rest = if parts[0] == "api" {
        &parts[2..]
    } else {
        &parts[3..]
    };
    match rest {
        ["namespaces", _, rest @ ..] => rest.len() == 1,
        rest => rest.len() == 1,
    }
}

fn merge(object: &mut Value, patch: &Value) {
    match (object, patch) {
        (Value::Object(object), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(object.entry(key).or_insert(Value::Null), value);
            }
        }
        (object, patch) => *object = patch.clone(),
    }
}

fn not_found(path: &str) -> Response<Body> {
    status(404, "NotFound", path)
}

fn status(code: u16, reason: &str, message: &str) -> Response<Body> {
    reply(
        code,
        &json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "reason": reason,
            "message": message, "metadata": {}}),
    )
}

fn reply(code: u16, value: &Value) -> Response<Body> {
    let body = http_body_util::Full::new(Bytes::from(value.to_string()));
    Response::builder()
        .status(StatusCode::from_u16(code).expect("a status"))
        .header("content-type", "application/json")
        .body(body.boxed())
        .expect("a response")
}
