//! One client's connection: finds it a server, then passes bytes on in both directions.

use super::backends::Backends;
use std::io;
use std::time::Duration;
use support::{BoxedIo, Env};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// How long a connection to a server may take.
const CONNECT: Duration = Duration::from_secs(1);
/// How long a server that took the connection may say nothing to a greeting.
const FIRST_WORD: Duration = Duration::from_secs(2);
/// A client waits so long for any server: enough for the only one to be restarted, and less than the ten seconds that Go's
/// clients wait for a greeting to be answered.
const PATIENCE: Duration = Duration::from_secs(8);
const PAUSE: Duration = Duration::from_millis(200);
/// So much of what the client said first is kept. A TLS greeting is one record, of at most this size.
const GREETING: usize = 16 << 10;

/// Relays until one side ends, or the server is gone.
///
/// # Errors
/// When no server answers, or a connection breaks.
pub async fn relay(mut client: BoxedIo, env: &Env, backends: &Backends) -> io::Result<()> {
    let mut greeting = Vec::with_capacity(1024);
    if client.read_buf(&mut greeting).await? == 0 {
        return Ok(());
    }
    let until = Instant::now() + PATIENCE;
    loop {
        let tried = relay_once(&mut client, &mut greeting, env, backends).await;
        match tried {
            Err(Missed::Server(_)) if Instant::now() < until => sleep(PAUSE).await,
            Err(Missed::Server(error) | Missed::Client(error)) => return Err(error),
            Ok(()) => return Ok(()),
        }
    }
}

/// Tries every server once; once one has answered, its end is the client's.
async fn relay_once(
    client: &mut BoxedIo,
    greeting: &mut Vec<u8>,
    env: &Env,
    backends: &Backends,
) -> Result<(), Missed> {
    let mut last = io::Error::other("no server");
    for number in backends.order() {
        let address = backends.address(number);
        let mut silence = backends.silence(number);
        match greet(client, greeting, env, address).await {
            Ok(mut server) => {
                let ended = tokio::select! {
                    ended = copy_bidirectional(client, &mut server) => ended.map(drop),
                    () = silence.begins() => Err(io::Error::other(format!("{address} is gone"))),
                };
                return ended.map_err(Missed::Client);
            }
            Err(Missed::Server(error)) => {
                tracing::debug!(server = address, %error, "another server is asked");
                backends.refused(number);
                last = error;
            }
            Err(missed) => return Err(missed),
        }
    }
    Err(Missed::Server(last))
}

/// Why a server and a client did not come together.
enum Missed {
    /// Another server may do better.
    Server(io::Error),
    /// It is too late for another: the client, or its connection, has ended.
    Client(io::Error),
}

/// Says to a server what the client has said so far and goes on saying; the connection is the client's once the server
/// has said its first word, which is passed on.
async fn greet(
    client: &mut BoxedIo,
    greeting: &mut Vec<u8>,
    env: &Env,
    address: &str,
) -> Result<BoxedIo, Missed> {
    let late = |_| Missed::Server(io::ErrorKind::TimedOut.into());
    let connected = timeout(CONNECT, env.net.connect(address)).await.map_err(late)?;
    let mut server = connected.map_err(Missed::Server)?;
    server.write_all(greeting).await.map_err(Missed::Server)?;
    let until = Instant::now() + FIRST_WORD;
    let mut word = Vec::with_capacity(GREETING);
    loop {
        let said = greeting.len();
        tokio::select! {
            biased;
            read = server.read_buf(&mut word) => {
                return match read {
                    Ok(0) => Err(Missed::Server(io::ErrorKind::UnexpectedEof.into())),
                    Ok(_) => match client.write_all(&word).await {
                        Ok(()) => Ok(server),
                        Err(error) => Err(Missed::Client(error)),
                    },
                    Err(error) => Err(Missed::Server(error)),
                };
            }
            // What is more than a greeting waits until somebody listens.
            read = client.read_buf(greeting), if said < GREETING => {
                if read.map_err(Missed::Client)? == 0 {
                    return Err(Missed::Client(io::ErrorKind::UnexpectedEof.into()));
                }
                server.write_all(&greeting[said..]).await.map_err(Missed::Server)?;
            }
            () = sleep_until(until) => return Err(Missed::Server(io::ErrorKind::TimedOut.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Backends, relay};
    use async_trait::async_trait;
    use std::collections::BTreeMap;
    use std::io;
    use std::sync::{Arc, Mutex};
    use support::{BoxedIo, Env, Listener, Network};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    /// Servers that are there once, by name; the others refuse.
    #[derive(Clone, Default)]
    struct Servers(Arc<Mutex<BTreeMap<String, DuplexStream>>>);

    impl Servers {
        /// The far end of the connection to a server of this name.
        fn add(&self, name: &str) -> DuplexStream {
            let (near, far) = duplex(1 << 16);
            self.0.lock().expect("not poisoned").insert(name.to_owned(), near);
            far
        }
    }

    #[async_trait]
    impl Network for Servers {
        async fn connect(&self, address: &str) -> io::Result<BoxedIo> {
            let found = self.0.lock().expect("not poisoned").remove(address);
            let found = found.ok_or(io::ErrorKind::ConnectionRefused)?;
            Ok(Box::new(found))
        }

        async fn listen(&self, _: &str) -> io::Result<Box<dyn Listener>> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    /// A client that is relayed to the first of these that takes it.
    fn client(servers: &Servers, names: &[&str]) -> (DuplexStream, Arc<Backends>) {
        let backends = Arc::new(Backends::new(
            names.iter().map(|name| (*name).to_owned()).collect(),
        ));
        let env = Env {
            net: Arc::new(servers.clone()),
            ..Env::production()
        };
        let (near, far) = duplex(1 << 16);
        let used = Arc::clone(&backends);
        tokio::spawn(async move { relay(Box::new(far), &env, &used).await });
        (near, backends)
    }

    async fn hears(server: &mut DuplexStream, words: &str) {
        let mut heard = vec![0; words.len()];
        server.read_exact(&mut heard).await.expect("the words");
        assert_eq!(heard, words.as_bytes());
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_refuses_hangs_up_or_is_silent_is_not_noticed() {
        let servers = Servers::default();
        drop(servers.add("hangs-up"));
        let _silent = servers.add("silent");
        let mut well = servers.add("well");
        let (mut client, _) = client(&servers, &["refuses", "hangs-up", "silent", "well"]);
        client.write_all(b"hello").await.expect("said");
        hears(&mut well, "hello").await;
        well.write_all(b"welcome").await.expect("said");
        hears(&mut client, "welcome").await;
        client.write_all(b"request").await.expect("said");
        hears(&mut well, "request").await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_waits_for_the_only_server_to_be_restarted() {
        let servers = Servers::default();
        let (mut client, _) = client(&servers, &["server"]);
        client.write_all(b"hello").await.expect("said");
        tokio::time::sleep(std::time::Duration::from_secs(3)).await;
        let mut server = servers.add("server");
        hears(&mut server, "hello").await;
        server.write_all(b"welcome").await.expect("said");
        hears(&mut client, "welcome").await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_said_after_the_first_word_goes_to_nobody_else() {
        let servers = Servers::default();
        let (mut first, mut second) = (servers.add("first"), servers.add("second"));
        let (mut client, _) = client(&servers, &["first", "second"]);
        client.write_all(b"hello").await.expect("said");
        hears(&mut first, "hello").await;
        first.write_all(b"welcome").await.expect("said");
        hears(&mut client, "welcome").await;
        drop(first);
        let mut rest = Vec::new();
        assert_eq!(client.read_to_end(&mut rest).await.expect("an end"), 0);
        // Nobody has connected to it: the near end is still there.
        let said = tokio::time::timeout(std::time::Duration::from_secs(60), second.read_u8()).await;
        assert!(said.is_err(), "{said:?}");
    }

    /// It may be the only one, and be back a moment before the prober notices.
    #[tokio::test(start_paused = true)]
    async fn a_server_that_was_gone_and_answers_keeps_its_client() {
        let servers = Servers::default();
        let mut server = servers.add("server");
        let (mut client, backends) = client(&servers, &["server"]);
        backends.silent(0);
        client.write_all(b"hello").await.expect("said");
        hears(&mut server, "hello").await;
        server.write_all(b"welcome").await.expect("said");
        hears(&mut client, "welcome").await;
        client.write_all(b"request").await.expect("said");
        hears(&mut server, "request").await;
    }

    #[tokio::test(start_paused = true)]
    async fn connections_to_a_server_that_is_gone_are_ended() {
        let servers = Servers::default();
        let mut server = servers.add("server");
        let (mut client, backends) = client(&servers, &["server"]);
        client.write_all(b"hello").await.expect("said");
        hears(&mut server, "hello").await;
        server.write_all(b"welcome").await.expect("said");
        hears(&mut client, "welcome").await;
        backends.silent(0);
        let mut rest = Vec::new();
        assert_eq!(client.read_to_end(&mut rest).await.expect("an end"), 0);
    }
}
