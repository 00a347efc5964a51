//! Connections to the other members.

use crate::config::MemberConfig;
use crate::identity::member_id;
use proto::raftpb::integrity_client::IntegrityClient;
use proto::raftpb::leader_client::LeaderClient;
use proto::raftpb::raft_client::RaftClient;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use support::Env;
use support::tls::ClientTls;
use tonic::transport::Channel;

/// A message between members: an append of many entries or a chunk of a snapshot.
pub const MAX_PEER_MESSAGE: usize = 256 << 20;

/// Where members are, and one connection to each for requests of clients. Raft keeps its own.
#[derive(Clone)]
pub struct Peers {
    env: Env,
    tls: Option<ClientTls>,
    /// By id, from the configuration: it may know newer addresses than the log.
    configured: Arc<BTreeMap<u64, String>>,
    channels: Arc<Mutex<BTreeMap<u64, Channel>>>,
}

impl Peers {
    pub fn new(config: &MemberConfig, env: &Env) -> Self {
        let configured = config
            .initial_cluster
            .iter()
            .map(|peer| {
                let id = member_id(&config.cluster_token, peer);
                let address = peer.peer_urls.first().map_or("", |url| address_of(url));
                (id, address.to_owned())
            })
            .collect();
        Self {
            env: env.clone(),
            tls: config.peer_tls.as_ref().map(|tls| tls.client.clone()),
            configured: Arc::new(configured),
            channels: Arc::default(),
        }
    }

    /// The address of a member; `logged` is what the membership says.
    pub fn address(&self, id: u64, logged: &str) -> String {
        self.configured.get(&id).map_or(logged, String::as_str).to_owned()
    }

    /// A new connection for raft.
    pub fn raft(&self, address: &str) -> RaftClient<Channel> {
        RaftClient::new(support::grpc_channel(&self.env, address, self.tls.clone()))
            .max_decoding_message_size(MAX_PEER_MESSAGE)
            .max_encoding_message_size(MAX_PEER_MESSAGE)
    }

    /// The shared connection to a member.
    fn channel(&self, id: u64, logged: &str) -> Channel {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        let channel = channels
            .entry(id)
            .or_insert_with(|| support::grpc_channel(&self.env, &self.address(id, logged), self.tls.clone()));
        channel.clone()
    }

    /// The shared connection for asking a member what it holds.
    pub fn integrity(&self, id: u64, logged: &str) -> IntegrityClient<Channel> {
        IntegrityClient::new(self.channel(id, logged))
    }

    /// The shared connection for requests to the leader.
    pub fn leader(&self, id: u64, logged: &str) -> LeaderClient<Channel> {
        LeaderClient::new(self.channel(id, logged))
            .max_decoding_message_size(MAX_PEER_MESSAGE)
            .max_encoding_message_size(MAX_PEER_MESSAGE)
    }

    /// Drops the shared connection after a failure: it may be wedged without knowing it.
    pub fn reconnect(&self, id: u64) {
        self.channels
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&id);
    }
}

/// `host:port` of a peer URL.
pub fn address_of(url: &str) -> &str {
    url.split_once("://").map_or(url, |(_, address)| address)
}
