//! Connections to the other members, at the addresses that the membership gives them.

use crate::config::MemberConfig;
use proto::raftpb::integrity_client::IntegrityClient;
use proto::raftpb::leader_client::LeaderClient;
use proto::raftpb::members_client::MembersClient;
use proto::raftpb::raft_client::RaftClient;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use support::Env;
use support::tls::ClientTls;
use tonic::transport::Channel;

/// A message between members: an append of many entries or a chunk of a snapshot.
pub const MAX_PEER_MESSAGE: usize = 256 << 20;

/// Where one member is.
#[derive(Default)]
struct Known {
    urls: Vec<String>,
    /// Which of the URLs is used: the next one after a failure.
    at: usize,
    /// For requests of clients. Raft keeps its own connection.
    channel: Option<Channel>,
}

/// Where members are, and one connection to each for requests of clients.
#[derive(Clone)]
pub struct Peers {
    env: Env,
    tls: Option<ClientTls>,
    known: Arc<Mutex<BTreeMap<u64, Known>>>,
}

impl Peers {
    pub fn new(config: &MemberConfig, env: &Env) -> Self {
        Self {
            env: env.clone(),
            tls: config.peer_tls.as_ref().map(|tls| tls.client.clone()),
            known: Arc::default(),
        }
    }

    /// Takes up what the membership says of a member; a connection to where it was before is dropped.
    pub fn learn(&self, id: u64, urls: &[String]) {
        let mut known = self.lock();
        let member = known.entry(id).or_default();
        if !urls.is_empty() && member.urls != urls {
            *member = Known {
                urls: urls.to_vec(),
                ..Known::default()
            };
        }
    }

    /// `host:port` of a member; empty when it has no peer URL.
    pub fn address(&self, id: u64) -> String {
        self.lock()
            .get(&id)
            .and_then(|member| member.urls.get(member.at))
            .map_or_else(String::new, |url| address_of(url))
    }

    /// A new connection for raft.
    pub fn raft(&self, address: &str) -> RaftClient<Channel> {
        RaftClient::new(self.connect(address))
            .max_decoding_message_size(MAX_PEER_MESSAGE)
            .max_encoding_message_size(MAX_PEER_MESSAGE)
    }

    /// The shared connection for asking a member what it holds.
    pub fn integrity(&self, id: u64, urls: &[String]) -> IntegrityClient<Channel> {
        IntegrityClient::new(self.channel(id, urls))
    }

    /// The shared connection for requests to the leader.
    pub fn leader(&self, id: u64, urls: &[String]) -> LeaderClient<Channel> {
        LeaderClient::new(self.channel(id, urls))
            .max_decoding_message_size(MAX_PEER_MESSAGE)
            .max_encoding_message_size(MAX_PEER_MESSAGE)
    }

    /// The shared connection, for questions about the membership.
    pub fn membership(&self, id: u64, urls: &[String]) -> MembersClient<Channel> {
        MembersClient::new(self.channel(id, urls))
    }

    /// A new connection to whoever is at a peer URL.
    pub fn membership_at(&self, url: &str) -> MembersClient<Channel> {
        MembersClient::new(self.connect(&address_of(url)))
    }

    /// Drops the shared connection after a failure: it may be wedged without knowing it.
    pub fn reconnect(&self, id: u64) {
        if let Some(member) = self.lock().get_mut(&id) {
            member.channel = None;
            member.at = (member.at + 1) % member.urls.len().max(1);
        }
    }

    /// Goes on to the next URL of a member that has several, after `address` has failed.
    pub fn failed(&self, id: u64, address: &str) {
        let mut known = self.lock();
        if let Some(member) = known.get_mut(&id)
            && member.urls.len() > 1
            // Another connection may have gone on already.
            && member.urls.get(member.at).is_some_and(|url| address_of(url) == address)
        {
            member.at = (member.at + 1) % member.urls.len();
            member.channel = None;
        }
    }

    fn channel(&self, id: u64, urls: &[String]) -> Channel {
        self.learn(id, urls);
        let address = self.address(id);
        let mut known = self.lock();
        known
            .entry(id)
            .or_default()
            .channel
            .get_or_insert_with(|| self.connect(&address))
            .clone()
    }

    fn connect(&self, address: &str) -> Channel {
        support::grpc_channel(&self.env, address, self.tls.clone())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where to connect to a peer URL: `host:port`, or `unix:` and a path.
fn address_of(url: &str) -> String {
    match url.split_once("://") {
        Some(("unix" | "unixs", path)) => format!("unix:{path}"),
        Some((_, address)) => address.to_owned(),
        None => url.to_owned(),
    }
}
