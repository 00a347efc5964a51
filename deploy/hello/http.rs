//! A very small HTTP/1.1 server and client.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Set when the server is about to end: clients shall connect anew, elsewhere.
static CLOSING: AtomicBool = AtomicBool::new(false);
/// An idle or stuck client holds its thread no longer than this.
const PATIENCE: Duration = Duration::from_secs(75);
/// Longest header line that is read.
const LINE_LIMIT: u64 = 16 << 10;

/// Serves in the background.
pub fn listen(port: u16) -> io::Result<()> {
    // Both families where the kernel has them.
    let listener = TcpListener::bind(("::", port)).or_else(|_| TcpListener::bind(("0.0.0.0", port)))?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that goes away in the middle is its own affair.
            std::thread::spawn(move || serve(stream));
        }
    });
    Ok(())
}

pub fn announce_close() {
    CLOSING.store(true, Ordering::Relaxed);
}

fn serve(stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    loop {
        let request = line(&mut reader)?;
        let mut words = request.split_whitespace();
        let (Some(method), Some(path)) = (words.next(), words.next()) else { return Ok(()) };
        let mut keep = request.ends_with("HTTP/1.1");
        let mut length = 0;
        loop {
            let header = line(&mut reader)?;
            if header.is_empty() {
                break;
            }
            let Some((name, value)) = header.split_once(':') else { continue };
            match (name.to_ascii_lowercase().as_str(), value.trim()) {
                ("content-length", value) => length = value.parse().unwrap_or(0),
                ("connection", value) if value.eq_ignore_ascii_case("close") => keep = false,
                _ => {}
            }
        }
        io::copy(&mut (&mut reader).take(length), &mut io::sink())?;
        keep &= !CLOSING.load(Ordering::Relaxed);
        let body = if path == "/healthz" { "ok\n".to_owned() } else { greeting() };
        let connection = if keep { "keep-alive" } else { "close" };
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\nconnection: {connection}\r\n\r\n",
            body.len()
        );
        let body = if method == "HEAD" { "" } else { &body };
        writer.write_all(format!("{head}{body}").as_bytes())?;
        if path != "/healthz" {
            println!("{method} {path} 200");
        }
        if !keep {
            return Ok(());
        }
    }
}

fn greeting() -> String {
    let version = std::env::var("HELLO_VERSION").unwrap_or_else(|_| "1".to_owned());
    format!("Hello, world! This is {}, version {version}.\n", name())
}

/// The pod's name, which is its host name.
pub fn name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").map_or_else(|_| "hello".to_owned(), |n| n.trim().to_owned())
}

fn line(reader: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    reader.take(LINE_LIMIT).read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

/// Status line and body of `GET http://host[:port]/path`.
pub fn get(url: &str) -> io::Result<(String, String)> {
    let rest = url.strip_prefix("http://").unwrap_or(url);
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (host, port) = authority.split_once(':').unwrap_or((authority, "80"));
    let address = crate::resolver::resolve(host)?;
    let port = port.parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "port"))?;
    let mut stream = TcpStream::connect_timeout(&(address, port).into(), Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let path = if path.is_empty() { "/" } else { path };
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    Ok((head.lines().next().unwrap_or_default().to_owned(), body.to_owned()))
}
