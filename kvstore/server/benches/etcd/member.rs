//! A member of ours as a process.

use kvstore_server::{ClusterPeer, DataDir, Member, MemberConfig, worker_threads};
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
                peer_urls: Some(address)
                    .filter(|address| !address.is_empty())
                    .map(|address| format!("http://{address}"))
                    .into_iter()
                    .collect(),
            }
        })
        .collect();
    let listen = peers
        .iter()
        .filter_map(|peer| peer.strip_prefix(name.as_str())?.strip_prefix('='))
        .find(|address| !address.is_empty())
        .map(str::to_owned);
    let data = DataDir::Directory(folder.into(), RocksOptions::default());
    let config = MemberConfig {
        peer_listen: listen,
        initial_cluster,
        ..MemberConfig::single(name, data, client)
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(worker_threads())
        .enable_all()
        .build()
        .unwrap();
    let member = Member::new(config, Env::production()).unwrap();
    runtime.block_on(member.run(CancellationToken::new())).unwrap();
}
