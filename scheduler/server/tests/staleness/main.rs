//! Two schedulers on outdated views, through crashes between decision and binding, lost answers and cuts, at an API server
//! in memory (see `test_api`): no node holds more than it can, no pod moves, and in the end every pod has its place.
//!
//! A seed decides everything: `TRIREME_SEEDS=60..600` runs others than the first 60.

use scheduler_server::{Scheduler, SchedulerConfig};
use serde_json::{Value, json};
use std::time::Duration;
use test_api::{Api, Faults, World, Write, keep_alive, seeds};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// Pods of one CPU each that a node has room for.
const ROOM: usize = 4;
const NODES: [&str; 4] = ["n0", "n1", "n2", "n3"];

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn node(name: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {"allocatable": {"cpu": ROOM.to_string(), "memory": "64Gi", "pods": "110"}}})
}

fn pod(name: &str, priority: u64) -> Value {
    json!({"metadata": {"name": name, "namespace": "default"},
        "spec": {"schedulerName": "default-scheduler", "priority": priority,
            "containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]},
        "status": {"phase": "Pending"}})
}

fn look(write: &Write<'_>) -> Result<(), String> {
    let place = |pod: &Value| text(&pod["spec"]["nodeName"]).to_owned();
    let (Some(old), Some(new)) = (write.old, write.new) else {
        return Ok(());
    };
    if write.place.plural != "pods" || place(old) == place(new) {
        return Ok(());
    }
    let (name, node) = (&write.place.name, place(new));
    if !place(old).is_empty() {
        return Err(format!("{name} moves to {node}"));
    }
    let mut there = write.objects.iter().filter(|(at, _)| at.plural == "pods");
    let count = there.by_ref().filter(|(_, pod)| place(pod) == node).count();
    match count > ROOM {
        true => Err(format!("{count} pods on {node}")),
        false => Ok(()),
    }
}

/// Node agents: pods that are deleted go after a while.
async fn agents(world: World) {
    loop {
        sleep(Duration::from_millis(world.random.below(20..600))).await;
        for pod in world.api.list("pods") {
            let leaves = !pod["metadata"]["deletionTimestamp"].is_null();
            let waits = pod["metadata"]["deletionGracePeriodSeconds"] != 0;
            if leaves && waits && world.chance(2) {
                world.api.confirm("default", text(&pod["metadata"]["name"]));
            }
        }
    }
}

/// Keeps the cluster full, and some pods waiting; pods come and go, under names that were there before. Leaves no more
/// than there is room for.
async fn users(world: &World, priorities: u64) {
    for step in 0_u64..64 {
        sleep(Duration::from_millis(world.random.below(0..400))).await;
        if let Some(joins) = NODES
            .get(usize::try_from(step / 8).unwrap_or(0))
            .filter(|_| step % 8 == 0)
        {
            world.api.create("nodes", node(joins));
        }
        let name = format!("p{}", world.random.below(0..24));
        if world.api.get("pods", "default", &name).is_some() {
            if world.chance(3) {
                world.api.delete("pods", "default", &name, None);
            }
        } else {
            world
                .api
                .create("pods", pod(&name, world.random.below(0..priorities)));
        }
    }
    for pod in world.api.list("pods").iter().skip(ROOM * NODES.len()) {
        world
            .api
            .delete("pods", "default", text(&pod["metadata"]["name"]), None);
    }
}

fn all_are_bound(api: &Api) -> Result<(), String> {
    let pods = api.list("pods");
    let waiting = pods.iter().find(|pod| text(&pod["spec"]["nodeName"]).is_empty());
    match waiting {
        Some(pod) => Err(format!("{} is bound: {}", pod["metadata"]["name"], pod["status"])),
        None => Ok(()),
    }
}

fn story(seed: u64, bug: Option<&'static str>) {
    World::run(seed, &[], bug, |world| async move {
        world.api.judge(look);
        let healed = CancellationToken::new();
        let mut tasks = vec![AbortOnDropHandle::new(tokio::spawn(agents(world.clone())))];
        for name in ["first", "second"] {
            let candidate = keep_alive(
                world.clone(),
                name,
                Faults::drawn,
                healed.clone(),
                move |client, env| {
                    Scheduler::new(SchedulerConfig::new(client, name), env).run(CancellationToken::new())
                },
            );
            tasks.push(AbortOnDropHandle::new(tokio::spawn(candidate)));
        }
        // With more than one priority pods make room for others.
        users(&world, if seed.is_multiple_of(3) { 3 } else { 1 }).await;
        healed.cancel();
        world.settles(all_are_bound).await;
    });
}

#[test]
fn no_node_is_over_committed_and_every_pod_finds_its_place() {
    seeds().for_each(|seed| story(seed, None));
}

/// Otherwise the promise above is no proof that a new leader waits for its copies.
#[test]
#[should_panic(expected = "pods on")]
fn nodes_are_over_committed_when_a_new_leader_trusts_its_copies() {
    (0..400).for_each(|seed| story(seed, Some("trusts-warm-caches")));
}
