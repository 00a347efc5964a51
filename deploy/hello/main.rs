//! The program of the hello and pause images: one static file, standard library only.
//!
//! - `hello` serves HTTP on `$PORT` (80): every path greets with the pod's name, `/healthz` says ok.
//! - `hello pause` holds a pod's namespaces and reaps its orphans.
//! - `hello wait` does nothing until it is told to stop.
//! - everything else is a small tool for looking around in a pod (see `tools.rs`), also as `sh`.
//!
//! It stops cleanly: after SIGTERM it goes on answering for a moment, because the nodes learn a little
//! later than the container that it is leaving, then it ends with code 0.

mod http;
mod resolver;
mod signals;
mod tools;

use signals::Signal;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

/// How long a stopping server goes on answering; `$DRAIN_MS` overrides it.
const DRAIN: Duration = Duration::from_millis(2000);

fn main() -> ExitCode {
    let mut args = std::env::args();
    let program = args.next().unwrap_or_default();
    let args: Vec<String> = args.collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let called = program.rsplit('/').next().unwrap_or_default();
    match (called, words.as_slice()) {
        ("pause", []) | (_, ["pause"]) => wait(),
        (_, ["wait"]) => wait(),
        ("sh", ["-c", line, ..]) => tools::run_line(line),
        ("sh", _) => tools::shell(),
        (_, [] | ["serve"]) => serve(),
        (_, tool) => tools::run(tool),
    }
}

fn serve() -> ExitCode {
    let signals = signals::block();
    let port = number("PORT").unwrap_or(80);
    if let Err(error) = http::listen(port as u16) {
        eprintln!("hello: port {port}: {error}");
        return ExitCode::FAILURE;
    }
    println!("hello: serving on port {port}");
    loop {
        match signals.wait() {
            Signal::Stop => break,
            Signal::Child => signals::reap(),
        }
    }
    http::announce_close();
    println!("hello: stopping");
    let _closed_output = std::io::stdout().flush();
    std::thread::sleep(number("DRAIN_MS").map_or(DRAIN, Duration::from_millis));
    ExitCode::SUCCESS
}

fn wait() -> ExitCode {
    let signals = signals::block();
    loop {
        match signals.wait() {
            Signal::Stop => return ExitCode::SUCCESS,
            Signal::Child => signals::reap(),
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}
