use super::{AnyAuthority, FRAME_HEAD, HEADERS, PADDED, PREFACE, PRIORITY, header_block};
use bytes::{BufMut as _, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

/// `:method: POST` and `:scheme: http`, from the static table.
const BEFORE: [u8; 2] = [0x83, 0x86];
/// `:authority`, to be remembered.
const NAME: u8 = 0x41;
/// `te: trailers`, under a name that is spelled out, and something from the table.
const BEHIND: &[u8] = b"\x40\x02te\x08trailers\xbe";

fn frame(kind: u8, flags: u8, payload: &[u8]) -> BytesMut {
    let mut frame = BytesMut::new();
    frame.put_uint(payload.len() as u64, 3);
    frame.put_slice(&[kind, flags, 0, 0, 0, 1]);
    frame.put_slice(payload);
    frame
}

fn request(authority: &[u8]) -> BytesMut {
    let mut block = BytesMut::from(&BEFORE[..]);
    block.put_u8(NAME);
    header_block::put_string(&mut block, authority);
    block.put_slice(BEHIND);
    frame(HEADERS, 4, &block)
}

fn connection(frames: &[BytesMut]) -> Vec<u8> {
    [PREFACE, &frame(4, 0, &[]), &frames.concat()].concat()
}

/// What is read of what a client sends, when that comes in pieces of up to `size` bytes.
async fn read(sent: &[u8], size: usize) -> Vec<u8> {
    let (mut client, server) = duplex(size);
    let mut server = AnyAuthority::new(server);
    let mut read = Vec::new();
    let client = async {
        client.write_all(sent).await.expect("the server reads");
        drop(client);
    };
    let (ended, ()) = tokio::join!(server.read_to_end(&mut read), client);
    ended.expect("nothing fails");
    read
}

#[tokio::test]
async fn what_is_no_authority_is_replaced_by_one_of_the_same_length() {
    let data = frame(0, 0, b"http://a:1");
    let sent = connection(&[
        request(b"http://a:1"),
        data.clone(),
        request(b"/tmp/socket"),
        request(b"#initially=[10.0.0.1:2379]"),
        request(b"b:1"),
    ]);
    let wanted = connection(&[
        request(b"http---a-1"),
        data,
        request(b"-tmp-socket"),
        request(b"-initially--10.0.0.1-2379-"),
        request(b"b:1"),
    ]);
    for size in [1, 2, 7, 4096] {
        assert_eq!(read(&sent, size).await, wanted, "in pieces of {size}");
    }
}

#[tokio::test]
async fn lengths_of_codes_of_paddings_and_of_long_names_are_kept() {
    let long = vec![b'/'; 300];
    let mut before = Vec::from([5, 0, 0, 0, 0, 16]);
    before.extend_from_slice(&BEFORE);
    before.push(NAME);
    let mut sent = BytesMut::from(&before[..]);
    header_block::put_string(&mut sent, &long);
    sent.put_slice(&[0; 5]);
    let mut wanted = BytesMut::from(&before[..]);
    header_block::put_string(&mut wanted, &[b'-'; 300]);
    wanted.put_slice(&[0; 5]);
    let flags = 4 | PADDED | PRIORITY;
    // `www.example.co/`.
    let code = [
        0x8c, 0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xec, 0x7f,
    ];
    let coded = frame(HEADERS, 4, &[&[NAME], &code[..]].concat());
    let sent = connection(&[frame(HEADERS, flags, &sent), coded]);
    let wanted = connection(&[
        frame(HEADERS, flags, &wanted),
        frame(HEADERS, 4, b"\x41\x0fwww.example.co-"),
    ]);
    assert_eq!(read(&sent, 11).await, wanted);
}

#[tokio::test]
async fn everything_else_passes_as_it_is() {
    let good = connection(&[request(b"localhost:2379"), request(b"http://a:1")]);
    let mut cut = connection(&[request(b"http://a:1")]);
    cut.truncate(PREFACE.len() + 2 * FRAME_HEAD + 6);
    let mut large = connection(&[frame(HEADERS, 4, &[b'/'; 20_000])]);
    large.extend_from_slice(&request(b"http://a:1"));
    for sent in [
        &good[..],
        &cut,
        &large,
        // What the padding leaves is less than nothing, and a block that ends in the middle of a string.
        &connection(&[frame(HEADERS, 4 | PADDED, &[9, NAME])]),
        &connection(&[frame(HEADERS, 4, &[NAME, 9, b'/'])]),
        b"GET /health HTTP/1.1\r\nHost: http://a:1\r\n\r\n",
        b"P",
        b"",
    ] {
        assert_eq!(read(sent, 10).await, sent);
    }
}
