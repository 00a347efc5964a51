//! Who replaces members under load: removes one, adds a fresh one in its place, gives it a vote.

use crate::client::Client;
use crate::members::Replacements;
use crate::stage::Board;
use proto::etcdserverpb::cluster_client::ClusterClient;
use proto::etcdserverpb::{
    Member, MemberAddRequest, MemberListRequest, MemberPromoteRequest, MemberRemoveRequest,
};
use std::time::Duration;
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Response, Status};

/// From one replacement to the next.
const PAUSE: Duration = Duration::from_secs(3);
/// From one attempt to the next.
const RETRY: Duration = Duration::from_millis(300);
const CALL: Duration = Duration::from_secs(2);

/// Works until the world is quiet, and finishes what it has begun even then: nobody else would.
pub async fn replacer(
    mut client: Client,
    members: &'static [&'static str],
    board: Board,
    replacements: Replacements,
) {
    loop {
        client.think(PAUSE).await;
        if !board.working() {
            return;
        }
        let number = client.random.below(0..members.len() as u64);
        let old = members[usize::try_from(number).unwrap_or(0)];
        replacements.retire(old);
        remove(&mut client, old).await;
        let learns_first = client.chance(60);
        add(&mut client, old, learns_first).await;
        replacements.admit(old);
        if learns_first {
            promote(&mut client, old).await;
        }
    }
}

fn peer_url(member: &str) -> String {
    format!("http://{member}:2380")
}

/// Asks any of the members, and waits a little when there is no answer.
async fn ask<T>(
    client: &mut Client,
    request: impl AsyncFnOnce(ClusterClient<Channel>) -> Result<Response<T>, Status>,
) -> Option<T> {
    client.roam();
    let asked = request(ClusterClient::new(client.channel()));
    match timeout(CALL, asked).await {
        Ok(Ok(answer)) => Some(answer.into_inner()),
        Ok(Err(_)) => {
            client.think(RETRY).await;
            None
        }
        Err(_) => {
            client.give_up();
            None
        }
    }
}

/// Who has `name`'s address, as the whole cluster knows it; `None` when nobody could say.
async fn find(client: &mut Client, name: &str) -> Option<Option<Member>> {
    let list = ask(client, async |mut cluster| {
        cluster
            .member_list(MemberListRequest { linearizable: true })
            .await
    });
    let members = list.await?.members;
    let url = peer_url(name);
    Some(
        members
            .into_iter()
            .find(|member| member.peer_ur_ls.contains(&url)),
    )
}

/// Ends when `name` is gone. It isn't given up: a request whose answer was lost may be done at any later time.
async fn remove(client: &mut Client, name: &str) {
    loop {
        match find(client, name).await {
            Some(Some(member)) => {
                let id = member.id;
                ask(client, async |mut cluster| {
                    cluster.member_remove(MemberRemoveRequest { id }).await
                })
                .await;
            }
            Some(None) => return,
            None => {}
        }
    }
}

async fn add(client: &mut Client, name: &str, is_learner: bool) {
    while !matches!(find(client, name).await, Some(Some(_))) {
        let request = MemberAddRequest {
            peer_ur_ls: vec![peer_url(name)],
            is_learner,
        };
        ask(client, async |mut cluster| cluster.member_add(request).await).await;
    }
}

async fn promote(client: &mut Client, name: &str) {
    loop {
        match find(client, name).await {
            Some(Some(member)) if member.is_learner => {
                let id = member.id;
                ask(client, async |mut cluster| {
                    cluster.member_promote(MemberPromoteRequest { id }).await
                })
                .await;
            }
            Some(_) => return,
            None => {}
        }
    }
}
