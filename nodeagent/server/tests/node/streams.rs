//! What kubectl sends to a node, by way of an API server: WebSockets for exec and for tunnelled SPDY.

use futures::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{WebSocketStream, client_async};

pub async fn web_socket(address: &str, path: &str, protocol: &str) -> WebSocketStream<TcpStream> {
    let stream = TcpStream::connect(address).await.expect("a connection");
    let mut request = format!("ws://{address}{path}")
        .into_client_request()
        .expect("a request");
    let protocol = protocol.parse().expect("a header");
    request.headers_mut().insert("sec-websocket-protocol", protocol);
    client_async(request, stream).await.expect("an upgrade").0
}

/// Sends `input` on channel 0 and its end; gives (stdout, stderr, status) once the server closes.
pub async fn exec(address: &str, path: &str, input: &[u8]) -> (String, String, serde_json::Value) {
    let mut socket = web_socket(address, path, "v5.channel.k8s.io").await;
    let mut bytes = vec![0];
    bytes.extend_from_slice(input);
    socket.send(Message::Binary(bytes.into())).await.expect("sent");
    socket
        .send(Message::Binary(vec![255, 0].into()))
        .await
        .expect("sent");
    let mut channels = vec![Vec::new(); 5];
    while let Some(Ok(message)) = socket.next().await {
        match message {
            Message::Binary(data) => channels[usize::from(data[0])].extend_from_slice(&data[1..]),
            Message::Close(frame) => {
                assert_eq!(u16::from(frame.expect("a code").code), 1000);
                break;
            }
            _ => {}
        }
    }
    let text = |channel: usize| String::from_utf8(channels[channel].clone()).expect("text");
    let status = serde_json::from_slice(&channels[3]).expect("a status");
    (text(1), text(2), status)
}

fn control(kind: u16, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80, 3];
    frame.extend_from_slice(&kind.to_be_bytes());
    frame.push(0);
    frame.extend_from_slice(&u32::try_from(body.len()).expect("a length").to_be_bytes()[1..]);
    frame.extend_from_slice(body);
    frame
}

fn syn_stream(id: u32, first: bool, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut block = u32::try_from(headers.len())
        .expect("a count")
        .to_be_bytes()
        .to_vec();
    for text in headers.iter().flat_map(|(n, v)| [n, v]) {
        block.extend_from_slice(&u32::try_from(text.len()).expect("a length").to_be_bytes());
        block.extend_from_slice(text.as_bytes());
    }
    let mut body = id.to_be_bytes().to_vec();
    body.extend_from_slice(&[0; 6]);
    if first {
        body.extend_from_slice(&[0x78, 0x01]);
    }
    let length = u16::try_from(block.len()).expect("a length");
    body.push(0);
    body.extend_from_slice(&length.to_le_bytes());
    body.extend_from_slice(&(!length).to_le_bytes());
    body.extend_from_slice(&block);
    control(1, &body)
}

/// One request through a forwarded port; what came back on the data and on the error stream.
pub async fn port_forward(address: &str, path: &str, port: u16, request: &[u8]) -> (String, String) {
    let socket = web_socket(address, path, "SPDY/3.1+portforward.k8s.io").await;
    let (mut sink, mut source) = socket.split();
    let port = port.to_string();
    let headers = |kind| [("streamtype", kind), ("port", port.as_str()), ("requestid", "0")];
    let mut data = syn_stream(1, true, &headers("error"));
    data.extend(syn_stream(3, false, &headers("data")));
    data.extend_from_slice(&[0, 0, 0, 3, 0]);
    data.extend_from_slice(&u32::try_from(request.len()).expect("a length").to_be_bytes()[1..]);
    data.extend_from_slice(request);
    sink.send(Message::Binary(data.into())).await.expect("sent");
    let (mut near, mut far) = tokio::io::duplex(1 << 20);
    tokio::spawn(async move {
        while let Some(Ok(Message::Binary(data))) = source.next().await {
            let _ = near.write_all(&data).await;
        }
    });
    let (mut answer, mut error) = (Vec::new(), Vec::new());
    let mut open = 2;
    while open > 0 {
        let mut head = [0; 8];
        far.read_exact(&mut head).await.expect("a frame");
        let mut body = vec![0; usize::from(head[5]) << 16 | usize::from(head[6]) << 8 | usize::from(head[7])];
        far.read_exact(&mut body).await.expect("a frame");
        if head[0] & 0x80 != 0 {
            continue;
        }
        match head[3] {
            1 => error.extend(body),
            _ => answer.extend(body),
        }
        open -= i32::from(head[4] & 1);
    }
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (text(answer), text(error))
}

pub async fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let head = format!("GET {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer
}
