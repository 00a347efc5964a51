//! Real sockets on loopback: the cluster's names, forwarded ones, and silence upstream.

use super::upstream::{Transport, Upstream};
use super::{DnsServerConfig, Shared, follow, tcp, udp};
use k8s_openapi::api::core::v1::Service;
use kubeclient::Store;
use nodeagent_core::DnsZone;
use serde_json::json;
use std::net::SocketAddr;
use std::sync::{Arc, RwLock};
use std::time::Duration;
use support::Env;
use tokio::net::UdpSocket;
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(30);

/// A question for the address of `name`, with id 7.
fn query(name: &str) -> Vec<u8> {
    let mut bytes = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).expect("a short label"));
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.extend_from_slice(&[0, 0, 1, 0, 1]);
    bytes
}

fn code(answer: &[u8]) -> u8 {
    answer[3] & 0x0f
}

struct World {
    services: Store<Service>,
    shared: Arc<Shared>,
    address: SocketAddr,
    tasks: tokio::task::JoinSet<()>,
}

async fn world(upstreams: Vec<SocketAddr>) -> World {
    let env = Env::production();
    let (services, slices) = (Store::empty(), Store::empty());
    let shared = Arc::new(Shared {
        zone: RwLock::new(DnsZone::new("cluster.local")),
        services: services.clone(),
        slices: slices.clone(),
        upstream: Upstream::new(upstreams, &env),
    });
    let socket = udp::bind("127.0.0.1:0".parse().expect("an address"))
        .await
        .expect("a port");
    let address = socket.local_addr().expect("an address");
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(udp::serve(socket, Arc::clone(&shared)));
    tasks.spawn(follow(
        Arc::clone(&shared),
        services.subscribe(),
        slices.subscribe(),
    ));
    slices.replace(Vec::new());
    World {
        services,
        shared,
        address,
        tasks,
    }
}

async fn ask(server: SocketAddr, name: &str) -> Vec<u8> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    socket.send_to(&query(name), server).await.expect("sent");
    let mut buffer = vec![0; 512];
    let received = timeout(DEADLINE, socket.recv(&mut buffer))
        .await
        .expect("in time");
    buffer.truncate(received.expect("an answer"));
    buffer
}

#[tokio::test]
async fn names_of_the_cluster_are_refused_until_known_and_then_answered_on_both_transports() {
    let mut world = world(Vec::new()).await;
    let name = "web.default.svc.cluster.local";
    assert_eq!(
        code(&ask(world.address, name).await),
        2,
        "not denied before the list is there"
    );
    let service =
        json!({"metadata": {"namespace": "default", "name": "web"}, "spec": {"clusterIP": "10.96.0.5"}});
    world
        .services
        .replace(vec![serde_json::from_value(service).expect("a service")]);
    let answered = timeout(DEADLINE, async {
        loop {
            let answer = ask(world.address, name).await;
            if code(&answer) == 0 {
                return answer;
            }
        }
    });
    let answer = answered.await.expect("in time");
    assert_eq!(&answer[..2], [0, 7]);
    assert!(answer.windows(4).any(|bytes| bytes == [10, 96, 0, 5]));

    let env = Env::production();
    let listener = env.net.listen("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    world.tasks.spawn(tcp::serve(listener, Arc::clone(&world.shared)));
    let mut stream = env.net.connect(&address).await.expect("connected");
    for _ in 0..2 {
        tcp::write_message(&mut stream, &query(name)).await.expect("sent");
        let answer = timeout(DEADLINE, tcp::read_message(&mut stream))
            .await
            .expect("in time");
        assert_eq!(code(&answer.expect("an answer")), 0);
    }
}

#[tokio::test]
async fn other_names_are_asked_of_the_resolver_that_answers_and_fail_clearly_without_one() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let resolver = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let upstreams = vec![
        silent.local_addr().expect("an address"),
        resolver.local_addr().expect("an address"),
    ];
    let echo = tokio::spawn(async move {
        let mut buffer = vec![0; 512];
        while let Ok((length, client)) = resolver.recv_from(&mut buffer).await {
            buffer[2] |= 0x80;
            let _ = resolver.send_to(&buffer[..length], client).await;
        }
    });
    let first = world(upstreams).await;
    let answer = ask(first.address, "example.com").await;
    assert_eq!(
        (&answer[..2], answer[2] & 0x80, code(&answer)),
        (&[0, 7][..], 0x80, 0)
    );
    // The silent one isn't waited for again.
    let question = query("example.com");
    let again = first.shared.upstream.ask(&question, Transport::Udp);
    assert!(timeout(DEADLINE, again).await.expect("in time").is_some());
    echo.abort();
    let alone = world(Vec::new()).await;
    assert_eq!(code(&ask(alone.address, "example.com").await), 2);
}

#[test]
fn the_server_never_forwards_to_itself() {
    let texts = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    let config = DnsServerConfig::new(
        &texts(&["10.96.0.10"]),
        "cluster.local",
        &texts(&["10.96.0.10", "10.0.0.2"]),
    );
    assert_eq!(config.upstreams, ["10.0.0.2:53".parse().expect("an address")]);
    assert_eq!(config.listen, ["10.96.0.10:53".parse().expect("an address")]);
}
