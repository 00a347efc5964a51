//! SPDY/3.1, as much of it as Kubernetes' streaming protocols use, for both ends of a connection.
//!
//! Follows draft-mbelshe-httpbis-spdy-00 and the behaviour of moby/spdystream, which is what kubectl and
//! container runtimes speak: no flow control windows are kept on either side, priorities are ignored.
//!
//! - The opener of a connection uses odd stream ids, the acceptor even ones.
//! - A half that was finished sends nothing more; both halves finished, the stream is forgotten.
//! - Everything a peer sends is bounded: header blocks, frames, streams that wait to be taken.

mod dictionary;
mod frame;
mod headers;
mod session;

pub(crate) use headers::Headers;
pub(crate) use session::{Role, Session, Stream};
