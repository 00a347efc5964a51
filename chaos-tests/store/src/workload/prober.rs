//! Who writes to one member again and again with little patience: tells to a few dozen milliseconds when writes stayed away.

use crate::client::Client;
use crate::history::Request;
use crate::stage::Board;
use proto::etcdserverpb::PutRequest;
use std::ops::Range;
use std::time::Duration;

const PATIENCE_MS: Range<u64> = 80..160;
const PACE: Duration = Duration::from_millis(15);

/// Works until the world is quiet.
pub async fn prober(client: Client, board: Board) {
    let mut client = client.with_patience_ms(PATIENCE_MS);
    let mut count = 0_u64;
    while board.working() {
        count += 1;
        let put = PutRequest {
            key: client.name.clone().into(),
            value: count.to_string().into(),
            ..PutRequest::default()
        };
        client.ask(Request::Put(put)).await;
        client.think(PACE).await;
    }
}
