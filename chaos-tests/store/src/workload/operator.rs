//! Who runs the store: moves the leader about and compacts, under load.

use crate::client::Client;
use crate::history::Request;
use crate::stage::Board;
use proto::etcdserverpb::maintenance_client::MaintenanceClient;
use proto::etcdserverpb::{CompactionRequest, MoveLeaderRequest, StatusRequest};
use std::time::Duration;
use tokio::time::timeout;

/// What an operator does.
#[derive(Debug, Clone, Copy)]
pub struct Duties {
    /// Moves leadership now and then.
    pub transfers: bool,
    /// Compacts now and then.
    pub compactions: bool,
    /// How many recorders there are: only what all of them have heard may be compacted.
    pub recorders: usize,
}

const PAUSE: Duration = Duration::from_millis(900);
const CALL: Duration = Duration::from_millis(1_200);

/// Works until the world is quiet.
pub async fn operator(mut client: Client, board: Board, duties: Duties) {
    while board.working() {
        client.think(PAUSE).await;
        if duties.compactions && client.chance(40) {
            let recorded = u64::try_from(board.all_recorded(duties.recorders)).unwrap_or(0);
            let revision = recorded.saturating_sub(client.random.below(0..30));
            if revision > 1 {
                let compact = CompactionRequest {
                    revision: i64::try_from(revision).unwrap_or(1),
                    physical: client.chance(50),
                };
                client.ask(Request::Compact(compact)).await;
            }
        }
        if duties.transfers && client.chance(40) {
            transfer(&mut client).await;
        }
    }
}

/// Asks the present member to hand leadership to any other; only the leader can.
async fn transfer(client: &mut Client) {
    let mut ids = Vec::new();
    let mut leader = None;
    for _ in 0..4 {
        client.roam();
        let mut maintenance = MaintenanceClient::new(client.channel());
        if let Ok(Ok(status)) = timeout(CALL, maintenance.status(StatusRequest {})).await {
            let status = status.into_inner();
            let id = status.header.map_or(0, |header| header.member_id);
            ids.push(id);
            if status.leader == id {
                leader = Some(client.channel());
            }
        }
    }
    let Some(leader) = leader else { return };
    let target_id = ids[usize::try_from(client.random.below(0..ids.len() as u64)).unwrap_or(0)];
    let mut maintenance = MaintenanceClient::new(leader);
    // It may fail for many reasons; what counts is that nothing breaks.
    let _ = timeout(CALL, maintenance.move_leader(MoveLeaderRequest { target_id })).await;
}
