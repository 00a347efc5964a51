//! Requests as calls, and their answers.

use crate::Api;
use crate::kinds::{Kind, discovery};
use crate::objects::{Deletion, Failure, Place, Subresource};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use kube::client::Body;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use std::convert::Infallible;
use tower::BoxError;

pub(crate) type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// What a request asks for.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub method: Method,
    pub path: String,
    pub namespace: String,
    pub name: String,
    pub subresource: String,
    pub kind: Option<&'static Kind>,
    pub watch: bool,
    pub resource_version: u64,
    /// Pairs of a field's path and its value.
    pub fields: Vec<(String, String)>,
    pub strategic: bool,
    pub body: Value,
}

impl Call {
    /// Whether it changes something that matters: leases and events come all the time.
    pub fn writes(&self) -> bool {
        let quiet = self
            .kind
            .is_some_and(|kind| matches!(kind.plural, "leases" | "events"));
        self.method != Method::GET && !quiet
    }

    pub fn selects(&self, object: &Value) -> bool {
        self.fields.iter().all(|(path, wanted)| {
            let found = path.split('.').fold(object, |object, field| &object[field]);
            found.as_str().unwrap_or_default() == wanted
        })
    }
}

pub(crate) async fn read(request: Request<Body>) -> Result<Call, BoxError> {
    let (parts, body) = request.into_parts();
    let body = body.collect_bytes().await?;
    let path = parts.uri.path().to_owned();
    let strategic = parts
        .headers
        .get(http::header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/strategic-merge-patch"));
    let mut call = Call {
        method: parts.method,
        path: path.clone(),
        namespace: String::new(),
        name: String::new(),
        subresource: String::new(),
        kind: None,
        watch: false,
        resource_version: 0,
        fields: Vec::new(),
        strategic,
        body: if body.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&body)?
        },
    };
    for pair in parts.uri.query().unwrap_or_default().split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = percent_decode_str(value).decode_utf8()?.into_owned();
        match key {
            "watch" => call.watch = value == "true",
            "resourceVersion" => call.resource_version = value.parse().unwrap_or(0),
            "fieldSelector" => {
                let pairs = value.split(',').filter_map(|pair| pair.split_once('='));
                call.fields = pairs
                    .map(|(path, wanted)| (path.to_owned(), wanted.to_owned()))
                    .collect();
            }
            _ => {}
        }
    }
    place(&mut call, &path);
    Ok(call)
}

fn place(call: &mut Call, path: &str) {
    let mut parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    // api/v1 or apis/<group>/<version>
    let root = if parts.first() == Some(&"api") { 2 } else { 3 };
    parts.drain(..root.min(parts.len()));
    if let ["namespaces", namespace, resource, ..] = parts.as_slice()
        && *resource != "finalize"
        && *resource != "status"
    {
        call.namespace = (*namespace).to_owned();
        parts.drain(..2);
    }
    let at = |index: usize| parts.get(index).copied().unwrap_or_default().to_owned();
    call.kind = Kind::named(&at(0));
    call.name = at(1);
    call.subresource = at(2);
}

pub(crate) fn answer(api: &Api, by: &str, call: &Call) -> Answer {
    if matches!(call.path.trim_end_matches('/'), "/api" | "/apis") {
        let core = call.path.trim_end_matches('/') == "/api";
        return respond(StatusCode::OK, &discovery(core, api.discovered()));
    }
    let Some(kind) = call.kind else {
        return refuse(&Failure::not_found("the server doesn't have this resource"));
    };
    let done = match call.name.is_empty() {
        true => collection(api, by, call, kind),
        false => single(api, by, call, kind),
    };
    match done {
        Ok((code, body)) => respond(code, &body),
        Err(failure) => refuse(&failure),
    }
}

fn collection(api: &Api, by: &str, call: &Call, kind: &'static Kind) -> Result<(StatusCode, Value), Failure> {
    match call.method {
        Method::GET => {
            let (items, revision) = api.listed(kind, call);
            Ok((
                StatusCode::OK,
                json!({"kind": "List", "apiVersion": "v1",
                    "metadata": {"resourceVersion": revision.to_string()}, "items": items}),
            ))
        }
        Method::POST => {
            let made = api.make(by, kind, &call.namespace, call.body.clone())?;
            Ok((StatusCode::CREATED, made))
        }
        Method::DELETE => {
            api.remove_all(by, kind, &call.namespace);
            Ok((StatusCode::OK, success()))
        }
        _ => Err(Failure::bad("not for a collection")),
    }
}

fn single(api: &Api, by: &str, call: &Call, kind: &'static Kind) -> Result<(StatusCode, Value), Failure> {
    let place = Place {
        plural: kind.plural,
        namespace: call.namespace.clone(),
        name: call.name.clone(),
    };
    let subresource = match call.subresource.as_str() {
        "status" => Subresource::Status,
        "finalize" => Subresource::Finalize,
        _ => Subresource::None,
    };
    let object = match call.method {
        Method::GET => api.find(&place)?,
        Method::PUT => api.replace(by, &place, &call.body, subresource)?,
        Method::PATCH => api.patch(by, &place, &call.body, subresource, call.strategic)?,
        Method::POST if call.subresource == "binding" => {
            api.bind(by, &place, &call.body)?;
            return Ok((StatusCode::CREATED, success()));
        }
        Method::DELETE => {
            api.remove(by, &place, &Deletion::read(&call.body))?;
            success()
        }
        _ => return Err(Failure::bad("not for one object")),
    };
    Ok((StatusCode::OK, object))
}

fn success() -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 200})
}

fn respond(code: StatusCode, body: &Value) -> Answer {
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())).boxed_unsync());
    *response.status_mut() = code;
    response
}

fn refuse(failure: &Failure) -> Answer {
    let causes: Vec<Value> = failure
        .cause
        .iter()
        .map(|reason| json!({"reason": reason}))
        .collect();
    let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": failure.message, "reason": failure.reason, "code": failure.code, "details": {"causes": causes}});
    respond(
        StatusCode::from_u16(failure.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        &body,
    )
}
