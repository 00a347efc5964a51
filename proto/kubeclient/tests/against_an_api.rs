//! The client, the informer and the election against API servers on loopback (see `test_api`).

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kubeclient::{
    ClientConfig, Credentials, Informer, LeaderElection, LeaderElectionConfig, Leadership, client,
};
use serde_json::{Value, json};
use std::time::Duration;
use support::{Env, Random};
use test_api::{Api as Objects, Faults, Server};
use tokio_util::sync::CancellationToken;

const DEADLINE: Duration = Duration::from_secs(30);

fn env() -> Env {
    Env {
        random: Random::seeded(1),
        ..Env::production()
    }
}

fn connect(env: &Env, servers: &[&str]) -> kube::Client {
    let config = ClientConfig {
        servers: servers.iter().map(|&s| s.to_owned()).collect(),
        ca_pem: None,
        credentials: Credentials::Anonymous,
        user_agent: "test".to_owned(),
    };
    client(env, &config).expect("a client")
}

fn lease(name: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": "kube-system"},
        "spec": {"holderIdentity": "x", "leaseDurationSeconds": 2}})
}

async fn serve(objects: &Objects, env: &Env) -> Server {
    Server::start(objects, env, Faults::NONE).await
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(done) => done,
        Err(_) => panic!("not in time: {what}"),
    }
}

#[tokio::test]
async fn an_informer_lists_follows_and_tells_every_change_across_servers() {
    let env = env();
    let objects = Objects::with_events(&env);
    let first = serve(&objects, &env).await;
    let second = serve(&objects, &env).await;
    objects.create("leases", lease("a"));
    let client = connect(&env, &[&first.address, &second.address]);
    let informer = Informer::<Lease>::all(Api::namespaced(client, "kube-system"), &env);
    within("the first list", informer.synced()).await;
    let mut changes = informer.subscribe();
    let change = within("the existing object", changes.recv()).await;
    assert!(change.old.is_none() && change.new.is_some());
    assert_eq!(change.key, "kube-system/a");

    objects.create("leases", lease("b"));
    assert_eq!(within("an addition", changes.recv()).await.key, "kube-system/b");
    // Whichever server carries the watch, losing one and then the other's turn must not lose a change.
    drop(first);
    objects.create("leases", lease("c"));
    assert_eq!(
        within("a change after a server died", changes.recv()).await.key,
        "kube-system/c"
    );
    objects.delete("leases", "kube-system", "a", None);
    let change = within("a deletion", changes.recv()).await;
    assert!(change.old.is_some() && change.new.is_none());
    let keys: Vec<_> = informer.store().list_namespace("kube-system");
    assert_eq!(keys.len(), 2);
}

#[tokio::test]
async fn a_server_that_never_answers_is_left_for_one_that_does() {
    let env = env();
    let objects = Objects::with_events(&env);
    // Accepts connections and says nothing.
    let silent = env.net.listen("127.0.0.1:0").await.expect("a port");
    let silent_address = silent.local_addr().expect("an address").to_string();
    let held = tokio::spawn(async move {
        let mut connections = Vec::new();
        while let Ok((stream, _)) = silent.accept().await {
            connections.push(stream);
        }
    });
    let server = serve(&objects, &env).await;
    objects.create("leases", lease("a"));
    for seed in 0..3 {
        let env = Env {
            random: Random::seeded(seed),
            ..env.clone()
        };
        let leases: Api<Lease> =
            Api::namespaced(connect(&env, &[&silent_address, &server.address]), "kube-system");
        within("an answer", leases.get("a")).await.expect("the lease");
    }
    held.abort();
}

fn candidate(env: &Env, address: &str, name: &str) -> LeaderElection {
    LeaderElection::new(
        connect(env, &[address]),
        LeaderElectionConfig::new("kube-scheduler", name),
        env,
    )
}

async fn wins(election: &LeaderElection) -> Leadership {
    within("leadership", election.acquire(&CancellationToken::new()))
        .await
        .expect("not cancelled")
}

#[tokio::test]
async fn a_released_lease_passes_to_the_standby_and_two_never_hold_it() {
    let env = env();
    let objects = Objects::with_events(&env);
    let server = serve(&objects, &env).await;
    let (a, b) = (
        candidate(&env, &server.address, "a"),
        candidate(&env, &server.address, "b"),
    );
    let first = wins(&a).await;
    assert!(first.is_held());
    let standby = tokio::spawn(async move { wins(&b).await });
    // Longer than a lease lasts: it's being renewed.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert!(first.is_held() && !standby.is_finished());
    assert_eq!(first.fenced(async { 1 }).await, Ok(1));
    let old = first.clone();
    first.release().await;
    let second = within("the standby", standby).await.expect("no panic");
    assert!(second.is_held() && !old.is_held());
    assert!(old.fenced(async {}).await.is_err());
}

#[tokio::test]
async fn a_silent_leader_stops_before_the_standby_takes_over() {
    let env = env();
    let objects = Objects::with_events(&env);
    let (own, shared) = (serve(&objects, &env).await, serve(&objects, &env).await);
    let (a, b) = (
        candidate(&env, &own.address, "a"),
        candidate(&env, &shared.address, "b"),
    );
    let first = wins(&a).await;
    // Its only server dies with its renewals.
    drop(own);
    let standby = tokio::spawn(async move { wins(&b).await });
    within("the leader to notice", first.lost()).await;
    assert!(!standby.is_finished(), "two leaders");
    assert!(!first.is_held());
    assert!(within("the takeover", standby).await.expect("no panic").is_held());
}

#[tokio::test]
async fn a_lease_taken_by_force_is_lost_at_once() {
    let env = env();
    let objects = Objects::with_events(&env);
    let server = serve(&objects, &env).await;
    let a = candidate(&env, &server.address, "a");
    let first = wins(&a).await;
    let taken = json!({"spec": {"holderIdentity": "somebody else"}});
    objects.change("leases", "kube-system", "kube-scheduler", taken);
    within("the loss", first.lost()).await;
    assert!(!first.is_held());
}
