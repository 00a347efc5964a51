//! A member of ours as a process.

use kvstore_server::{ClusterPeer, DataDir, Member, MemberConfig};
use kvstore_storage::RocksOptions;
use support::{Env, telemetry};
use tokio_util::sync::CancellationToken;

/// The word that makes this program a member:
/// `member NAME FOLDER CLIENT_ADDRESS NAME=PEER_ADDRESS…`.
pub const COMMAND: &str = "member";

pub fn run() {
    telemetry::init(telemetry::Format::Text);
    let arguments: Vec<String> = std::env::args().skip(2).collect();
    let [name, folder, client, peers @ ..] = arguments.as_slice() else {
        panic!("{COMMAND} NAME FOLDER CLIENT NAME=PEER…");
    };
    let initial_cluster: Vec<ClusterPeer> = peers
        .iter()
        .map(|peer| {
            let (name, address) = peer.split_once('=').unwrap();
            ClusterPeer {
                name: name.to_owned(),
                peer_address: address.to_owned(),
            }
        })
        .collect();
    let listen = initial_cluster
        .iter()
        .find(|peer| peer.name == *name)
        .map(|peer| peer.peer_address.clone());
    let data = DataDir::Directory(folder.into(), RocksOptions::default());
    let config = MemberConfig {
        peer_listen: listen,
        initial_cluster,
        ..MemberConfig::single(name, data, client)
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let member = Member::new(config, Env::production()).unwrap();
    runtime.block_on(member.run(CancellationToken::new())).unwrap();
}
