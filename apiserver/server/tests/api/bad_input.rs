//! Wrong requests get upstream's code, reason and words, and change nothing.

use crate::cluster::Cluster;
use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};

const CONFIGMAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test(flavor = "multi_thread")]
async fn wrong_requests_are_refused_and_change_nothing() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    let post = async |content_type: &'static str, body: &'static str, query: &str| {
        let path = format!("{CONFIGMAPS}?{query}");
        let (status, _, body) = client
            .send(
                Method::POST,
                &path,
                &[("content-type", content_type)],
                Bytes::from(body),
            )
            .await;
        let value: Value = serde_json::from_slice(&body).expect("a Status");
        (
            status.as_u16(),
            value["reason"].as_str().unwrap_or_default().to_owned(),
            value,
        )
    };
    let (code, reason, status) = post("application/json", "{\"metadata\":", "").await;
    assert_eq!((code, reason.as_str()), (400, "BadRequest"), "{status}");
    let unknown = r#"{"metadata":{"name":"x"},"dta":{"a":"b"}}"#;
    let (code, reason, status) = post("application/json", unknown, "fieldValidation=Strict").await;
    assert_eq!((code, reason.as_str()), (400, "BadRequest"));
    assert!(
        status["message"]
            .as_str()
            .is_some_and(|text| text.contains("strict decoding error: unknown field \"dta\"")),
        "{status}"
    );
    let (code, reason, _) = post(
        "application/json",
        r#"{"metadata":{"name":"x"},"data":{"a":1}}"#,
        "",
    )
    .await;
    assert_eq!((code, reason.as_str()), (400, "BadRequest"));
    let (code, reason, _) = post("text/html", "x", "").await;
    assert_eq!((code, reason.as_str()), (415, "UnsupportedMediaType"));
    let (code, reason, status) = post("application/json", r#"{"metadata":{"name":"Bad_Name"}}"#, "").await;
    assert_eq!((code, reason.as_str()), (422, "Invalid"));
    assert_eq!(status["details"]["causes"][0]["field"], "metadata.name");
    let (code, reason, _) = post("application/vnd.kubernetes.protobuf", "k8s", "").await;
    assert_eq!((code, reason.as_str()), (400, "BadRequest"));
    let large = Bytes::from(vec![b' '; (3 << 20) + 1]);
    let (status, ..) = client.send(Method::POST, CONFIGMAPS, &[], large).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    let (status, _, text) = client
        .send(Method::GET, CONFIGMAPS, &[("accept", "text/html")], Bytes::new())
        .await;
    assert_eq!(status, StatusCode::NOT_ACCEPTABLE, "{text:?}");
    assert_eq!(client.get("/api/v1/namespaces/default/nonsense").await.0, 404);
    assert_eq!(
        client.get("/api/v1/namespaces/default/configmaps/a%2Fb").await.0,
        400
    );
    let (code, status) = client.get("/api/v1/namespaces/default/configmaps/absent").await;
    assert_eq!(
        (code, &status["message"]),
        (404, &json!("configmaps \"absent\" not found"))
    );
    assert_eq!(
        client.get("/api/v1/pods?fieldSelector=spec.nonsense%3Dx").await.0,
        400
    );
    assert_eq!(client.get("/api/v1/pods?labelSelector=%3Dx").await.0, 400);
    let (code, status) = client
        .post(
            "/api/v1/namespaces/absent/configmaps",
            json!({"metadata": {"name": "x"}}),
        )
        .await;
    assert_eq!(
        (code, &status["message"]),
        (404, &json!("namespaces \"absent\" not found"))
    );
    let (_, list) = client.get(CONFIGMAPS).await;
    assert_eq!(list["items"], json!([]), "nothing was written");
}
