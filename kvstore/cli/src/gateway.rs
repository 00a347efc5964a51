//! `gateway start`: one address for several members, whose connections are passed on as they are (etcd
//! `server/etcdmain/gateway.go`, `server/proxy/tcpproxy`).
//!
//! Members take turns. One that can't be reached is left alone for a while.

use crate::value;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use support::telemetry;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::time::{Instant, timeout};

/// The word that asks for it.
pub const COMMAND: &str = "gateway";

/// How long a member may take to be connected with.
const CONNECT: Duration = Duration::from_secs(5);
/// After an accept that failed, for want of descriptors say.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// What the gateway is told.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Flags {
    listen: String,
    /// `host:port` of each member.
    endpoints: Vec<String>,
    /// How long a member that couldn't be reached is left alone.
    retry: Duration,
}

impl Default for Flags {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:23790".to_owned(),
            endpoints: vec!["127.0.0.1:2379".to_owned()],
            retry: Duration::from_secs(60),
        }
    }
}

impl Flags {
    /// Reads flags, before and after the word `start`.
    fn parse(arguments: &[String]) -> Result<Self, String> {
        let (mut flags, mut started) = (Self::default(), false);
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            let Some(flag) = word.strip_prefix("--") else {
                if word != "start" || started {
                    return Err(format!("unknown command {word:?} for \"{COMMAND}\""));
                }
                started = true;
                continue;
            };
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (flag, None),
            };
            let mut value = || {
                let given = value.or_else(|| words.next().map(String::as_str));
                given.ok_or_else(|| format!("flag needs an argument: --{name}"))
            };
            match name {
                "listen-addr" => value()?.clone_into(&mut flags.listen),
                "endpoints" => {
                    let words = value::words(value()?);
                    flags.endpoints = words.iter().map(|endpoint| address(endpoint)).collect();
                }
                "retry-delay" => {
                    let text = value()?;
                    let delay = value::duration(text);
                    let delay = delay.map_err(|_| format!("invalid duration {text:?} for --{name}"))?;
                    flags.retry = value::positive(delay);
                }
                "discovery-srv" | "discovery-srv-name" | "trusted-ca-file" | "insecure-discovery" => {
                    return Err(format!(
                        "--{name} is not supported: name the members with --endpoints"
                    ));
                }
                _ => return Err(format!("unknown flag: --{name}")),
            }
        }
        match started {
            true if flags.endpoints.is_empty() => Err("no endpoints found".to_owned()),
            true => Ok(flags),
            false => Err(format!("\"{COMMAND}\" needs the word \"start\"")),
        }
    }
}

/// An endpoint without its scheme.
fn address(endpoint: &str) -> String {
    endpoint
        .split_once("://")
        .map_or(endpoint, |(_, address)| address)
        .to_owned()
}

/// Runs the gateway until SIGTERM or SIGINT; `arguments` are those behind its name.
pub fn main(program: &str, arguments: &[String]) -> ExitCode {
    let usage = format!(
        "Usage: {program} {COMMAND} start [--endpoints HOST:PORT,...] [--listen-addr HOST:PORT] \
         [--retry-delay DURATION]"
    );
    if arguments
        .iter()
        .any(|word| matches!(word.as_str(), "-h" | "--help"))
    {
        println!("{usage}");
        return ExitCode::SUCCESS;
    }
    let flags = match Flags::parse(arguments) {
        Ok(flags) => flags,
        Err(reason) => {
            eprintln!("{reason}\n{usage}");
            return ExitCode::FAILURE;
        }
    };
    telemetry::init(telemetry::Format::Etcd);
    let runtime = Builder::new_multi_thread().enable_all().build();
    match runtime.and_then(|runtime| runtime.block_on(run(flags))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the gateway has failed");
            ExitCode::FAILURE
        }
    }
}

async fn run(flags: Flags) -> std::io::Result<()> {
    let stop = support::asked_to_stop()?;
    let listener = TcpListener::bind(&flags.listen).await?;
    tracing::info!(
        address = flags.listen,
        endpoints = flags.endpoints.join(","),
        "ready to proxy client requests"
    );
    let members = Arc::new(Members::new(flags.endpoints, flags.retry));
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => {
                    tokio::spawn(pass_on(client, Arc::clone(&members)));
                }
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            },
        }
    }
}

async fn pass_on(mut client: TcpStream, members: Arc<Members>) {
    // Nobody to connect with: the client sees its connection closed.
    if let Some(mut member) = members.connect().await {
        let _ended = client.set_nodelay(true);
        let _ended = member.set_nodelay(true);
        let _ended = copy_bidirectional(&mut client, &mut member).await;
    }
}

struct Members {
    members: Vec<Member>,
    retry: Duration,
    turn: AtomicUsize,
}

struct Member {
    address: String,
    /// Until when it is left alone.
    avoided: Mutex<Option<Instant>>,
}

impl Members {
    fn new(addresses: Vec<String>, retry: Duration) -> Self {
        let members = addresses.into_iter().map(|address| Member {
            address,
            avoided: Mutex::default(),
        });
        Self {
            members: members.collect(),
            retry,
            turn: AtomicUsize::new(0),
        }
    }

    /// A connection with the next member that can be reached.
    async fn connect(&self) -> Option<TcpStream> {
        for _ in 0..self.members.len() {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.members.len();
            let member = &self.members[turn];
            if member.is_avoided() {
                continue;
            }
            match timeout(CONNECT, TcpStream::connect(&member.address)).await {
                Ok(Ok(connection)) => return Some(connection),
                _ => {
                    tracing::warn!(address = member.address, "deactivated endpoint");
                    member.avoid(Instant::now() + self.retry);
                }
            }
        }
        None
    }
}

impl Member {
    fn is_avoided(&self) -> bool {
        let until = self.avoided.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    fn avoid(&self, until: Instant) {
        *self.avoided.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }
}

#[cfg(test)]
mod tests {
    use super::Flags;
    use std::time::Duration;

    fn parse(words: &[&str]) -> Result<Flags, String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Flags::parse(&words)
    }

    #[test]
    fn flags_stand_before_and_after_the_word_start() {
        let flags = Flags {
            listen: "127.0.0.1:1".to_owned(),
            endpoints: vec!["a:1".to_owned(), "b:2".to_owned()],
            retry: Duration::from_secs(3),
        };
        let before = [
            "--endpoints=http://a:1,b:2",
            "start",
            "--listen-addr",
            "127.0.0.1:1",
        ];
        let words = [&before[..], &["--retry-delay=3s"]].concat();
        assert_eq!(parse(&words), Ok(flags));
        assert_eq!(parse(&["start"]), Ok(Flags::default()));
    }

    #[test]
    fn what_it_can_not_do_is_refused() {
        for (words, reason) in [
            (&[][..], "\"gateway\" needs the word \"start\""),
            (&["stop"], "unknown command \"stop\" for \"gateway\""),
            (&["start", "--nonsense=1"], "unknown flag: --nonsense"),
            (&["start", "--endpoints"], "flag needs an argument: --endpoints"),
            (
                &["start", "--discovery-srv=example.com"],
                "--discovery-srv is not supported: name the members with --endpoints",
            ),
        ] {
            assert_eq!(parse(words), Err(reason.to_owned()));
        }
    }
}
