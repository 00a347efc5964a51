//! Members agree on users, and on the tokens that one of them has given out.

use super::client::{BAD_TOKEN, Client, DENIED, FAILED, NOBODY, answer, config, refused, runtime};
use crate::harness::{Node, put_soon};
use kvstore_server::{ClusterPeer, MemberConfig};
use proto::authpb::permission::Type;
use proto::etcdserverpb::HashKvRequest;
use std::time::Duration;
use test_ports::free_address;

struct Cluster {
    configs: Vec<MemberConfig>,
    nodes: Vec<Option<Node>>,
}

impl Cluster {
    async fn start() -> Self {
        let peers: Vec<ClusterPeer> = ["one", "two", "three"]
            .into_iter()
            .map(|name| ClusterPeer::new(name, format!("http://{}", free_address())))
            .collect();
        let configs: Vec<MemberConfig> = peers
            .iter()
            .map(|peer| MemberConfig {
                name: peer.name.clone(),
                peer_listen: Some(peer.peer_urls[0].trim_start_matches("http://").to_owned()),
                initial_cluster: peers.clone(),
                snapshot_entries: 50,
                // A busy machine is no reason for an election.
                heartbeat: Duration::from_millis(100),
                election_min: Duration::from_secs(1),
                election_max: Duration::from_secs(2),
                ..config()
            })
            .collect();
        let nodes = configs.iter().map(|config| Some(Node::start(config))).collect();
        let cluster = Self { configs, nodes };
        for member in 0..3 {
            put_soon(cluster.address(member), "foo", "bar").await;
        }
        cluster
    }

    fn address(&self, member: usize) -> &str {
        &self.configs[member].client_listen[0]
    }
}

#[test]
fn a_token_of_one_member_is_good_at_the_others() {
    runtime().block_on(async {
        let mut cluster = Cluster::start().await;
        let at: Vec<Client> = (0..3)
            .map(|member| Client::nobody(cluster.address(member)))
            .collect();
        at[0].set_up().await;
        for from in 0..3 {
            // The very next request goes elsewhere: there the token is waited for.
            let token = at[from].log_in_soon("alice", "pw").await.token.unwrap();
            for client in &at {
                let there = client.with_token(&token);
                answer(|| there.put("foo", "x")).await.unwrap();
                assert_eq!(answer(|| there.get("foo", "")).await.unwrap(), ["x"]);
                refused(answer(|| there.put("bar", "x")).await, DENIED);
                refused(answer(|| there.get("bar", "")).await, DENIED);
            }
        }
        let root = at[1].log_in_soon("root", "rootpw").await;
        let token = at[2].log_in_soon("alice", "pw").await.token.unwrap();
        root.allow("role", Type::Readwrite, "bar", "").await.unwrap();
        // A linearizable read sees the permission wherever it is asked.
        for client in &at {
            let there = client.with_token(&token);
            assert!(answer(|| there.get("bar", "")).await.unwrap().is_empty());
        }
        root.change_password("alice", "new").await.unwrap();
        let last = at[1].log_in_soon("alice", "new").await.token.unwrap();
        for client in &at {
            let (there, stale) = (client.with_token(&last), client.with_token(&token));
            answer(|| there.get("foo", "")).await.unwrap();
            refused(answer(|| stale.get("foo", "")).await, BAD_TOKEN);
        }
        // A member that was away is given the state, and with it the users.
        cluster.nodes[2].take().unwrap().kill();
        let root = at[0].log_in_soon("root", "rootpw").await;
        for number in 0..200 {
            let key = format!("k/{number:03}");
            answer(|| root.put(&key, "v")).await.unwrap();
        }
        answer(|| root.delete_user("alice")).await.unwrap();
        cluster.nodes[2] = Some(Node::start(&cluster.configs[2]));
        let root = at[2].log_in_soon("root", "rootpw").await;
        assert_eq!(answer(|| root.get("k/", "k0")).await.unwrap().len(), 200);
        refused(answer(|| at[2].log_in("alice", "new")).await.map(|_| ()), FAILED);
    });
}

/// etcd's issue 14571: a member that was away when auth was enabled, and was given the state instead of the log, went
/// on without auth: it did what the others refused, and held something else from then on.
#[test]
fn issue_14571_a_member_that_missed_the_enabling_of_auth_judges_like_the_others() {
    runtime().block_on(async {
        let mut cluster = Cluster::start().await;
        let at: Vec<Client> = (0..3)
            .map(|member| Client::nobody(cluster.address(member)))
            .collect();
        cluster.nodes[2].take().unwrap().kill();
        answer(|| at[0].put("before", "x")).await.unwrap();
        at[0].set_up().await;
        let root = at[0].log_in_soon("root", "rootpw").await;
        for number in 0..200 {
            let key = format!("k/{number:03}");
            answer(|| root.put(&key, "v")).await.unwrap();
        }
        cluster.nodes[2] = Some(Node::start(&cluster.configs[2]));
        let alice = at[2].log_in_soon("alice", "pw").await;
        for client in &at {
            let there = client.with_token(alice.token.as_deref().unwrap());
            refused(answer(|| there.put("k/000", "stolen")).await, DENIED);
            refused(answer(|| there.get("k/", "k0")).await.map(|_| ()), DENIED);
            answer(|| there.put("foo", "allowed")).await.unwrap();
            refused(answer(|| client.put("foo", "nobody")).await, NOBODY);
        }
        // All hold the same, judged by all that was written.
        let mut hashes = Vec::new();
        for client in &at {
            let root = client.log_in_soon("root", "rootpw").await;
            assert_eq!(answer(|| root.get("k/000", "")).await.unwrap(), ["v"]);
            let hash = answer(async || {
                let asked = root.say(HashKvRequest::default());
                Ok(root.maintenance().hash_kv(asked).await?.into_inner())
            });
            let hash = hash.await.unwrap();
            hashes.push((hash.header.unwrap().revision, hash.hash));
        }
        assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
    });
}
