//! Three members in a simulated world: the leader crashes and returns while clients write.
//!
//! A world runs in a process of its own, because tokio's task ids, which decide the order of drops at a
//! crash, are one for all worlds of a process. The test starts itself again for each run.
#![allow(clippy::unwrap_used)]

#[path = "simulation/membership.rs"]
mod membership;

use kvstore_server::{ClusterPeer, DataDir, Member, MemberConfig};
use kvstore_storage::MemoryDisk;
use proto::etcdserverpb::kv_client::KvClient;
use proto::etcdserverpb::maintenance_client::MaintenanceClient;
use proto::etcdserverpb::{PutRequest, RangeRequest, StatusRequest};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::sim::{Trace, sim_env};
use support::{Env, Random};
use tokio_util::sync::CancellationToken;

const SEED: &str = "KVSTORE_SIMULATION_SEED";
const NAMES: [&str; 3] = ["s1", "s2", "s3"];
const CLIENTS: u64 = 2;
/// Simulated time during which leaders crash.
const TROUBLE: Duration = Duration::from_secs(12);
const END: Duration = Duration::from_secs(20);
const SYNC: Duration = Duration::from_millis(2);

/// Acknowledged writes: key to value.
type Acknowledged = Arc<Mutex<BTreeMap<String, String>>>;

fn config(name: &str, disk: &MemoryDisk) -> MemberConfig {
    let peers = NAMES
        .iter()
        .map(|name| ClusterPeer::new(*name, format!("http://{name}:2380")));
    MemberConfig {
        peer_listen: Some(format!("{name}:2380")),
        initial_cluster: peers.collect(),
        snapshot_entries: 200,
        ..MemberConfig::single(
            name,
            DataDir::Simulated(disk.clone(), SYNC),
            &format!("{name}:2379"),
        )
    }
}

fn kv(env: &Env, host: &str) -> KvClient<tonic::transport::Channel> {
    KvClient::new(support::grpc_channel(env, &format!("{host}:2379"), None))
}

/// Writes its own keys one after the other through any member, and notes what was acknowledged.
async fn client(number: u64, env: Env, acknowledged: Acknowledged) {
    let mut write = 0;
    let mut host = number as usize;
    while turmoil::sim_elapsed().unwrap() < END - Duration::from_secs(4) {
        write += 1;
        let key = format!("c{number}/{:03}", write % 50);
        let value = format!("{write:06}");
        let request = PutRequest {
            key: key.clone().into(),
            value: value.clone().into(),
            ..PutRequest::default()
        };
        let mut client = kv(&env, NAMES[host % 3]);
        let put = tokio::time::timeout(Duration::from_millis(900), client.put(request)).await;
        if matches!(put, Ok(Ok(_))) {
            acknowledged.lock().unwrap().insert(key, value);
        } else {
            // It may have happened all the same: the value is then newer than noted, never older.
            host += 1;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn leader(env: &Env) -> Option<String> {
    for host in NAMES {
        let channel = support::grpc_channel(env, &format!("{host}:2379"), None);
        let mut client = MaintenanceClient::new(channel);
        let status = tokio::time::timeout(Duration::from_millis(200), client.status(StatusRequest {})).await;
        if let Ok(Ok(status)) = status {
            let status = status.into_inner();
            if status.leader != 0 && status.leader == status.header.unwrap().member_id {
                return Some(host.to_owned());
            }
        }
    }
    None
}

fn run_world(seed: u64) -> String {
    let trace = Trace::default();
    let random = Random::seeded(seed);
    let mut sim = turmoil::Builder::new()
        .rng_seed(seed)
        .simulation_duration(END * 3)
        .tick_duration(Duration::from_millis(1))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(5))
        .tcp_capacity(65_536)
        .build();
    let disks: BTreeMap<&str, MemoryDisk> = NAMES.iter().map(|name| (*name, MemoryDisk::new())).collect();
    for name in NAMES {
        let (disk, trace) = (disks[name].clone(), trace.clone());
        let boots = Arc::new(Mutex::new(0_u64));
        let node_seed = random.u64();
        sim.host(name, move || {
            let boot = {
                let mut boots = boots.lock().unwrap();
                *boots += 1;
                *boots
            };
            let env = sim_env(node_seed.wrapping_add(boot), &trace);
            let config = config(name, &disk);
            async move {
                Member::new(config, env)?.run(CancellationToken::new()).await?;
                Ok(())
            }
        });
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
    // Looks for the leader, and says so to the world outside, which crashes it.
    let found: Arc<Mutex<Option<String>>> = Arc::default();
    {
        let env = sim_env(random.u64(), &trace);
        let found = Arc::clone(&found);
        sim.client("observer", async move {
            while turmoil::sim_elapsed().unwrap() < TROUBLE {
                tokio::time::sleep(Duration::from_millis(200)).await;
                let leader = leader(&env).await;
                *found.lock().unwrap() = leader;
            }
            Ok(())
        });
    }
    {
        let env = sim_env(random.u64(), &trace);
        let acknowledged = Arc::clone(&acknowledged);
        sim.client("judge", async move {
            tokio::time::sleep(END).await;
            let expected = acknowledged.lock().unwrap().clone();
            assert!(expected.len() >= 50, "only {} keys were written", expected.len());
            for host in NAMES {
                let request = RangeRequest {
                    key: "c".into(),
                    range_end: "d".into(),
                    ..RangeRequest::default()
                };
                let mut client = kv(&env, host);
                let answer = tokio::time::timeout(Duration::from_secs(8), client.range(request)).await;
                let answer = answer
                    .expect("the cluster has healed")
                    .expect("a linearizable read");
                let found: BTreeMap<String, String> = answer
                    .into_inner()
                    .kvs
                    .into_iter()
                    .map(|kv| {
                        (
                            String::from_utf8(kv.key.to_vec()).unwrap(),
                            String::from_utf8(kv.value.to_vec()).unwrap(),
                        )
                    })
                    .collect();
                for (key, value) in &expected {
                    let stored = found.get(key);
                    assert!(
                        stored.is_some_and(|stored| stored >= value),
                        "{host}: {key} was acknowledged as {value}, is {stored:?}"
                    );
                }
            }
            Ok(())
        });
    }
    let mut crashes = 0;
    let mut crash_at = Duration::from_secs(2);
    let mut down: Option<(String, Duration)> = None;
    while !sim.step().unwrap() {
        let now = sim.elapsed();
        if let Some((host, until)) = &down
            && now >= *until
        {
            sim.bounce(host.as_str());
            down = None;
        }
        if down.is_none() && now >= crash_at && now < TROUBLE {
            let leader = found.lock().unwrap().take();
            if let Some(host) = leader {
                sim.crash(host.as_str());
                let disk = &disks[host.as_str()];
                // The disk may have written more than it was asked to.
                disk.survive(random.below(0..disk.unsynced() as u64 + 1) as usize);
                crashes += 1;
                down = Some((host, now + Duration::from_millis(random.below(100..1500))));
                crash_at = now + Duration::from_millis(random.below(1500..3000));
            }
        }
    }
    assert!(crashes >= 2, "only {crashes} crashes");
    let summary = trace.summary();
    format!(
        "seed {seed}: {crashes} crashes, {} keys, {} events, trace {:016x}",
        acknowledged.lock().unwrap().len(),
        summary.events,
        summary.hash
    )
}

/// One world, when this process was started for it; nothing otherwise.
#[test]
fn world() {
    if let Ok(seed) = std::env::var(SEED) {
        println!("\nRESULT {}", run_world(seed.parse().unwrap()));
    }
}

/// As [`world`], of the world whose members change.
#[test]
fn world_of_changes() {
    if let Ok(seed) = std::env::var(SEED) {
        println!("\nRESULT {}", membership::run_world(seed.parse().unwrap()));
    }
}

fn in_a_process_of_its_own(world: &str, seed: u64) -> String {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", world, "--nocapture", "--test-threads=1"])
        .env(SEED, seed.to_string())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "seed {seed} (again by {SEED}={seed} and the test `{world}`):\n{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let result = text.lines().find_map(|line| line.strip_prefix("RESULT "));
    result.expect("a result").to_owned()
}

#[test]
fn no_acknowledged_write_is_lost_when_leaders_crash_and_return() {
    for seed in 1..=3 {
        eprintln!("{}", in_a_process_of_its_own("world", seed));
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    assert_eq!(
        in_a_process_of_its_own("world", 7),
        in_a_process_of_its_own("world", 7)
    );
}

#[test]
fn no_acknowledged_write_is_lost_when_members_come_and_go() {
    for seed in 1..=2 {
        eprintln!("{}", in_a_process_of_its_own("world_of_changes", seed));
    }
}
