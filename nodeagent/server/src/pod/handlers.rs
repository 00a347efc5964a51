//! Runs what probes and hooks ask for: a command, an HTTP request, a connection, a gRPC health check.

use crate::context::Context;
use crate::runtime::RuntimeError;
use nodeagent_core::{HandlerTarget, ProbeOutcome};
use std::time::Duration;
use support::BoxedIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

/// Of a body or a command's output, in events.
const MAX_OUTPUT: usize = 1024;
/// An answer's head and the start of its body.
const MAX_ANSWER: usize = 10 << 10;

/// One probe.
pub(super) async fn probe(
    context: &Context,
    id: &str,
    pod_ips: &[String],
    target: &HandlerTarget,
    limit: Duration,
) -> ProbeOutcome {
    match target {
        HandlerTarget::Exec(command) => exec_probe(context, id, command, limit).await,
        HandlerTarget::Sleep(_) => ProbeOutcome::Success,
        _ => {
            let asked = timeout(limit, ask(context, pod_ips, target)).await;
            match asked {
                Ok(Ok(())) => ProbeOutcome::Success,
                Ok(Err(text)) => ProbeOutcome::Failure(text),
                Err(_) => ProbeOutcome::Failure(format!("{} (Client.Timeout exceeded)", describe(target))),
            }
        }
    }
}

/// One lifecycle hook.
///
/// # Errors
/// What went wrong, for people.
pub(super) async fn run_hook(
    context: &Context,
    id: &str,
    pod_ips: &[String],
    target: &HandlerTarget,
    limit: Duration,
) -> Result<(), String> {
    if let HandlerTarget::Sleep(time) = target {
        tokio::time::sleep((*time).min(limit)).await;
        return Ok(());
    }
    match probe(context, id, pod_ips, target, limit).await {
        ProbeOutcome::Success => Ok(()),
        ProbeOutcome::Failure(text) | ProbeOutcome::Unknown(text) => Err(text),
    }
}

async fn exec_probe(context: &Context, id: &str, command: &[String], limit: Duration) -> ProbeOutcome {
    match context.runtime.exec(id, command, limit).await {
        Ok(output) if output.exit_code == 0 => ProbeOutcome::Success,
        Ok(mut output) => {
            output.stdout.extend_from_slice(&output.stderr);
            output.stdout.truncate(MAX_OUTPUT);
            ProbeOutcome::Failure(String::from_utf8_lossy(&output.stdout).into_owned())
        }
        Err(RuntimeError::TimedOut) => ProbeOutcome::Failure(format!(
            "command timed out: {command:?} timed out after {}s",
            limit.as_secs()
        )),
        Err(RuntimeError::Unavailable(text)) => ProbeOutcome::Unknown(text),
        // A command that is not there counts as failed, as upstream's exec probe does.
        Err(error) => ProbeOutcome::Failure(error.to_string()),
    }
}

fn describe(target: &HandlerTarget) -> String {
    match target {
        HandlerTarget::Http { port, path, .. } => format!("Get on port {port} path {path}"),
        HandlerTarget::Tcp { port, .. } => format!("dial tcp port {port}"),
        HandlerTarget::Grpc { port, .. } => format!("gRPC health check on port {port}"),
        _ => "probe".to_owned(),
    }
}

async fn ask(context: &Context, pod_ips: &[String], target: &HandlerTarget) -> Result<(), String> {
    let own = pod_ips.first().cloned().unwrap_or_default();
    match target {
        HandlerTarget::Tcp { host, port } => dial(context, host.as_ref().unwrap_or(&own), *port)
            .await
            .map(drop),
        HandlerTarget::Http {
            https,
            host,
            port,
            path,
            headers,
        } => {
            let address = host.as_ref().unwrap_or(&own);
            let stream = dial(context, address, *port).await?;
            let stream = if *https {
                crate::tls::connect_unverified(address, stream)
                    .await
                    .map_err(|error| error.to_string())?
            } else {
                stream
            };
            http(stream, address, *port, path, headers).await
        }
        HandlerTarget::Grpc { port, service } => {
            let stream = dial(context, &own, *port).await?;
            crate::grpc_health::check(stream, service).await
        }
        HandlerTarget::Exec(_) | HandlerTarget::Sleep(_) => Ok(()),
    }
}

async fn dial(context: &Context, host: &str, port: u16) -> Result<BoxedIo, String> {
    let address = if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    };
    let stream = context.host.dial(&address).await;
    stream.map_err(|error| format!("dial tcp {address}: {error}"))
}

/// A request of its own on a fresh connection. Any answer from 200 to 399 is good.
async fn http(
    mut stream: BoxedIo,
    host: &str,
    port: u16,
    path: &str,
    headers: &[(String, String)],
) -> Result<(), String> {
    let mut text = format!("GET {path} HTTP/1.1\r\nConnection: close\r\n");
    let given = |name: &str| headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
    if !given("host") {
        text.push_str(&format!("Host: {host}:{port}\r\n"));
    }
    if !given("user-agent") {
        text.push_str("User-Agent: kube-probe/1.36\r\n");
    }
    if !given("accept") {
        text.push_str("Accept: */*\r\n");
    }
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    let failed = |error: std::io::Error| format!("Get \"http://{host}:{port}{path}\": {error}");
    stream.write_all(text.as_bytes()).await.map_err(failed)?;
    let mut answer = Vec::new();
    let mut limited = stream.take(MAX_ANSWER as u64);
    // A peer that hangs up late has answered all the same: the status is in the first line.
    let read = limited.read_to_end(&mut answer).await;
    let head = String::from_utf8_lossy(&answer);
    let status = head
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.split_whitespace().nth(1))
        .and_then(|code| code.parse::<u16>().ok());
    match (status, read) {
        (Some(200..=399), _) => Ok(()),
        (Some(code), _) => Err(format!("HTTP probe failed with statuscode: {code}")),
        (None, Err(error)) => Err(failed(error)),
        (None, Ok(_)) => Err(format!(
            "Get \"http://{host}:{port}{path}\": malformed HTTP response"
        )),
    }
}
