//! One call of the gRPC health protocol (`grpc.health.v1.Health/Check`) over a given connection.

use hyper_util::rt::TokioIo;
use support::BoxedIo;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Endpoint, Uri};
use tonic_prost::ProstCodec;

#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckResponse {
    /// 1 is serving.
    #[prost(int32, tag = "1")]
    status: i32,
}

/// # Errors
/// Everything but "serving", for people.
pub(crate) async fn check(stream: BoxedIo, service: &str) -> Result<(), String> {
    let mut stream = Some(stream);
    let connector = tower::service_fn(move |_: Uri| {
        let stream = stream.take();
        async move {
            stream
                .map(TokioIo::new)
                .ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotConnected))
        }
    });
    let channel = Endpoint::from(Uri::from_static("http://health.invalid"))
        .connect_with_connector(connector)
        .await
        .map_err(|error| format!("gRPC connection: {error}"))?;
    let mut client = Grpc::new(channel);
    client.ready().await.map_err(|error| error.to_string())?;
    let request = tonic::Request::new(HealthCheckRequest {
        service: service.to_owned(),
    });
    let path = PathAndQuery::from_static("/grpc.health.v1.Health/Check");
    let codec: ProstCodec<HealthCheckRequest, HealthCheckResponse> = ProstCodec::default();
    let answer = client
        .unary(request, path, codec)
        .await
        .map_err(|status| format!("service unhealthy: {}", status.message()))?;
    match answer.into_inner().status {
        1 => Ok(()),
        status => Err(format!("service unhealthy (responded with status {status})")),
    }
}
