//! Five seats, three of them founders: members are added, promoted, removed, crashed and wiped while clients
//! write. No acknowledged write is lost, and those who are members at the end hold the same.

use super::{Acknowledged, SYNC, kv};
use kvstore_server::{ClusterPeer, DataDir, InitialState, Member, MemberConfig, MemberError};
use kvstore_storage::MemoryDisk;
use proto::etcdserverpb::cluster_client::ClusterClient;
use proto::etcdserverpb::maintenance_client::MaintenanceClient;
use proto::etcdserverpb::{
    self as etcd, HashKvRequest, MemberAddRequest, MemberListRequest, MemberPromoteRequest,
    MemberRemoveRequest, PutRequest, RangeRequest,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::sim::{Trace, sim_env};
use support::{Env, Random};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::Channel;

const SEATS: [&str; 5] = ["s1", "s2", "s3", "s4", "s5"];
const FOUNDERS: usize = 3;
const CLIENTS: u64 = 2;
/// Simulated time during which the membership changes.
const TROUBLE: Duration = Duration::from_secs(40);
const END: Duration = Duration::from_secs(60);
/// After any change the cluster must be whole again in this time.
const CALM: Duration = Duration::from_secs(20);
const CALL: Duration = Duration::from_millis(1500);

fn url(seat: &str) -> String {
    format!("http://{seat}:2380")
}

/// What a seat is started with the next time.
#[derive(Clone)]
struct Plan {
    disk: MemoryDisk,
    initial: Vec<&'static str>,
    state: InitialState,
}

/// What the operator wants done to the world.
enum Order {
    /// A new folder, and a start to join these.
    Join(usize, Vec<&'static str>),
    Crash(usize),
    Return(usize),
    /// The folder is lost; the command stays the same.
    Wipe(usize),
}

#[derive(Default)]
struct Desk {
    orders: Vec<Order>,
    /// What was done, in words.
    done: Vec<String>,
}

type Plans = Arc<Mutex<BTreeMap<&'static str, Plan>>>;

fn config(seat: &str, plan: &Plan) -> MemberConfig {
    let peers = plan.initial.iter().map(|name| ClusterPeer::new(*name, url(name)));
    MemberConfig {
        peer_listen: Some(format!("{seat}:2380")),
        initial_cluster: peers.collect(),
        initial_state: plan.state,
        snapshot_entries: 200,
        ..MemberConfig::single(
            seat,
            DataDir::Simulated(plan.disk.clone(), SYNC),
            &format!("{seat}:2379"),
        )
    }
}

/// The operator: knows the members only by asking them.
struct Operator {
    env: Env,
    random: Random,
    desk: Arc<Mutex<Desk>>,
}

impl Operator {
    fn channel(&self, seat: &str) -> Channel {
        support::grpc_channel(&self.env, &format!("{seat}:2379"), None)
    }

    fn order(&self, order: Order, words: String) {
        let mut desk = self.desk.lock().unwrap();
        desk.orders.push(order);
        desk.done.push(words);
    }

    /// Asks seat after seat until one answers.
    async fn ask<T>(
        &self,
        what: &str,
        call: impl AsyncFn(ClusterClient<Channel>) -> Result<T, Status>,
    ) -> Result<T, Status> {
        let deadline = Instant::now() + CALM;
        loop {
            for seat in SEATS {
                match timeout(CALL, call(ClusterClient::new(self.channel(seat)))).await {
                    Ok(Ok(answer)) => return Ok(answer),
                    // An answer all the same.
                    Ok(Err(status)) if status.message().starts_with("etcdserver: ") => match status.code() {
                        tonic::Code::Unavailable => {}
                        _ if status.message().contains("not supported for learner") => {}
                        _ => return Err(status),
                    },
                    _ => {}
                }
            }
            assert!(Instant::now() < deadline, "nobody answers: {what}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn members(&self) -> Vec<etcd::Member> {
        let list = self.ask("member list", async |mut client| {
            let request = MemberListRequest { linearizable: true };
            Ok(client.member_list(request).await?.into_inner().members)
        });
        list.await.expect("a list is never refused")
    }

    /// Waits until everybody who is a member is started.
    async fn calm(&self) -> Vec<(usize, etcd::Member)> {
        let deadline = Instant::now() + CALM;
        loop {
            let members = self.members().await;
            if members.iter().all(|member| !member.name.is_empty()) {
                return members
                    .into_iter()
                    .map(|member| (seat_of(&member), member))
                    .collect();
            }
            let names: Vec<_> = members.iter().map(|member| &member.peer_ur_ls).collect();
            assert!(Instant::now() < deadline, "not all are started: {names:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// One thing after the other, the cluster whole in between.
    async fn run(self) {
        while turmoil::sim_elapsed().unwrap() < TROUBLE {
            let pause = self.random.below(300..1500);
            tokio::time::sleep(Duration::from_millis(pause)).await;
            let members = self.calm().await;
            let learner = members.iter().find(|(_, member)| member.is_learner);
            let free: Vec<usize> = (0..SEATS.len())
                .filter(|seat| members.iter().all(|(taken, _)| taken != seat))
                .collect();
            let (seat, member) = &members[self.random.below(0..members.len() as u64) as usize];
            match self.random.below(0..5) {
                0 if !free.is_empty() => {
                    let seat = free[self.random.below(0..free.len() as u64) as usize];
                    let as_learner = learner.is_none() && self.random.below(0..2) == 0;
                    self.add(seat, as_learner).await;
                }
                1 if members.len() > FOUNDERS => self.remove(*seat, member.id).await,
                2 => self.order(Order::Wipe(*seat), format!("wipe {}", SEATS[*seat])),
                3 if learner.is_some() => {
                    let id = learner.map_or(0, |(_, member)| member.id);
                    self.promote(id).await;
                }
                _ => {
                    self.order(Order::Crash(*seat), format!("crash {}", SEATS[*seat]));
                    let pause = self.random.below(50..1500);
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                    self.order(Order::Return(*seat), format!("return {}", SEATS[*seat]));
                }
            }
            // So that what was ordered has begun.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.calm().await;
    }

    async fn add(&self, seat: usize, is_learner: bool) {
        let added = self.ask("member add", async |mut client| {
            let request = MemberAddRequest {
                peer_ur_ls: vec![url(SEATS[seat])],
                is_learner,
            };
            Ok(client.member_add(request).await?.into_inner().members)
        });
        let members = match added.await {
            Ok(members) => members,
            // An earlier try came through and its answer was lost.
            Err(status) if status.message().ends_with("Peer URLs already exists") => self.members().await,
            Err(status) => {
                self.desk
                    .lock()
                    .unwrap()
                    .done
                    .push(format!("add refused: {}", status.message()));
                return;
            }
        };
        let initial = members.iter().map(|member| SEATS[seat_of(member)]).collect();
        self.order(
            Order::Join(seat, initial),
            format!("add {} learner {is_learner}", SEATS[seat]),
        );
    }

    async fn remove(&self, seat: usize, id: u64) {
        let removed = self.ask("member remove", async |mut client| {
            client.member_remove(MemberRemoveRequest { id }).await.map(|_| ())
        });
        let outcome = match removed.await {
            Ok(()) => "done".to_owned(),
            Err(status) => status.message().to_owned(),
        };
        let words = format!("remove {}: {outcome}", SEATS[seat]);
        self.desk.lock().unwrap().done.push(words);
    }

    async fn promote(&self, id: u64) {
        let promoted = self.ask("member promote", async |mut client| {
            client
                .member_promote(MemberPromoteRequest { id })
                .await
                .map(|_| ())
        });
        let outcome = match promoted.await {
            Ok(()) => "done".to_owned(),
            Err(status) => status.message().to_owned(),
        };
        self.desk.lock().unwrap().done.push(format!("promote: {outcome}"));
    }

    /// All members hold the same, and everything that was acknowledged.
    async fn judge(&self, expected: BTreeMap<String, String>) {
        assert!(expected.len() >= 50, "only {} keys were written", expected.len());
        let members = self.calm().await;
        let mut revision = 0;
        for (seat, member) in members.iter().filter(|(_, member)| !member.is_learner) {
            let request = RangeRequest {
                key: "c".into(),
                range_end: "d".into(),
                ..RangeRequest::default()
            };
            let answer = timeout(CALM, kv(&self.env, SEATS[*seat]).range(request)).await;
            let answer = answer
                .expect("the cluster has healed")
                .expect("a linearizable read");
            let answer = answer.into_inner();
            revision = answer.header.as_ref().unwrap().revision;
            let found: BTreeMap<Vec<u8>, Vec<u8>> = answer
                .kvs
                .into_iter()
                .map(|kv| (kv.key.to_vec(), kv.value.to_vec()))
                .collect();
            for (key, value) in &expected {
                let stored = found.get(key.as_bytes());
                assert!(
                    stored.is_some_and(|stored| stored.as_slice() >= value.as_bytes()),
                    "{}: {key} was acknowledged as {value}, is {stored:?}",
                    member.name
                );
            }
        }
        let mut hashes = BTreeMap::new();
        for (seat, member) in &members {
            // A learner answers no hash: it is promoted first.
            if member.is_learner {
                self.promote(member.id).await;
            }
            let deadline = Instant::now() + CALM;
            let hash = loop {
                let mut client = MaintenanceClient::new(self.channel(SEATS[*seat]));
                match timeout(CALL, client.hash_kv(HashKvRequest { revision })).await {
                    Ok(Ok(answer)) => break answer.into_inner().hash,
                    other => assert!(Instant::now() < deadline, "{}: {other:?}", SEATS[*seat]),
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            };
            hashes.insert(SEATS[*seat], hash);
        }
        let first = hashes.values().next().copied();
        assert!(hashes.values().all(|hash| Some(*hash) == first), "{hashes:?}");
    }
}

fn seat_of(member: &etcd::Member) -> usize {
    let at = SEATS.iter().position(|seat| member.peer_ur_ls == [url(seat)]);
    at.expect("a member of this world")
}

async fn client(number: u64, env: Env, acknowledged: Acknowledged) {
    let mut write = 0;
    let mut seat = number as usize;
    while turmoil::sim_elapsed().unwrap() < END - Duration::from_secs(4) {
        write += 1;
        let key = format!("c{number}/{:03}", write % 50);
        let value = format!("{write:06}");
        let request = PutRequest {
            key: key.clone().into(),
            value: value.clone().into(),
            ..PutRequest::default()
        };
        let mut client = kv(&env, SEATS[seat % SEATS.len()]);
        let put = timeout(Duration::from_millis(900), client.put(request)).await;
        if matches!(put, Ok(Ok(_))) {
            acknowledged.lock().unwrap().insert(key, value);
        } else {
            // It may have happened all the same: the value is then newer than noted, never older.
            seat += 1;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

pub fn run_world(seed: u64) -> String {
    let trace = Trace::default();
    let random = Random::seeded(seed);
    let mut sim = turmoil::Builder::new()
        .rng_seed(seed)
        .simulation_duration(END * 4)
        .tick_duration(Duration::from_millis(1))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(5))
        .tcp_capacity(65_536)
        .build();
    let plans: Plans = Arc::default();
    for seat in SEATS {
        let plan = Plan {
            disk: MemoryDisk::new(),
            initial: SEATS[..FOUNDERS].to_vec(),
            state: InitialState::New,
        };
        plans.lock().unwrap().insert(seat, plan);
        let (plans, trace) = (Arc::clone(&plans), trace.clone());
        let boots = Arc::new(Mutex::new(0_u64));
        let node_seed = random.u64();
        sim.host(seat, move || {
            let boot = {
                let mut boots = boots.lock().unwrap();
                *boots += 1;
                *boots
            };
            let env = sim_env(node_seed.wrapping_add(boot), &trace);
            let plan = plans.lock().unwrap()[seat].clone();
            async move {
                let ended = match Member::new(config(seat, &plan), env) {
                    Ok(member) => member.run(CancellationToken::new()).await,
                    Err(error) => Err(error),
                };
                match ended {
                    Ok(()) | Err(MemberError::Removed) => Ok(()),
                    Err(error) => Err(error.into()),
                }
            }
        });
    }
    for seat in &SEATS[FOUNDERS..] {
        sim.crash(*seat);
    }
    let acknowledged = Acknowledged::default();
    for number in 0..CLIENTS {
        let env = sim_env(random.u64(), &trace);
        let acknowledged = Arc::clone(&acknowledged);
        sim.client(format!("client{number}"), async move {
            client(number, env, acknowledged).await;
            Ok(())
        });
    }
    let desk: Arc<Mutex<Desk>> = Arc::default();
    {
        let operator = Operator {
            env: sim_env(random.u64(), &trace),
            random: random.fork(),
            desk: Arc::clone(&desk),
        };
        sim.client("operator", async move {
            operator.run().await;
            Ok(())
        });
    }
    {
        let judge = Operator {
            env: sim_env(random.u64(), &trace),
            random: random.fork(),
            desk: Arc::clone(&desk),
        };
        let acknowledged = Arc::clone(&acknowledged);
        sim.client("judge", async move {
            tokio::time::sleep(END).await;
            let expected = acknowledged.lock().unwrap().clone();
            judge.judge(expected).await;
            Ok(())
        });
    }
    while !sim.step().unwrap_or_else(|error| {
        panic!("{error}\n{:#?}", desk.lock().unwrap().done);
    }) {
        let orders = std::mem::take(&mut desk.lock().unwrap().orders);
        for order in orders {
            let mut plans = plans.lock().unwrap();
            match order {
                Order::Join(seat, initial) => {
                    let plan = Plan {
                        disk: MemoryDisk::new(),
                        initial,
                        state: InitialState::Existing,
                    };
                    plans.insert(SEATS[seat], plan);
                    drop(plans);
                    sim.crash(SEATS[seat]);
                    sim.bounce(SEATS[seat]);
                }
                Order::Crash(seat) => {
                    let disk = plans[SEATS[seat]].disk.clone();
                    drop(plans);
                    sim.crash(SEATS[seat]);
                    // The disk may have written more than it was asked to.
                    disk.survive(random.below(0..disk.unsynced() as u64 + 1) as usize);
                }
                Order::Return(seat) => {
                    drop(plans);
                    sim.bounce(SEATS[seat]);
                }
                Order::Wipe(seat) => {
                    if let Some(plan) = plans.get_mut(SEATS[seat]) {
                        plan.disk = MemoryDisk::new();
                    }
                    drop(plans);
                    sim.crash(SEATS[seat]);
                    sim.bounce(SEATS[seat]);
                }
            }
        }
    }
    let summary = trace.summary();
    let done = desk.lock().unwrap().done.clone();
    assert!(done.len() >= 5, "only {done:?}");
    format!(
        "seed {seed}: {} changes, {} keys, {} events, trace {:016x}: {}",
        done.len(),
        acknowledged.lock().unwrap().len(),
        summary.events,
        summary.hash,
        done.join(", ")
    )
}
