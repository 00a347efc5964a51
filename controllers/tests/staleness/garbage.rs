//! Garbage collection: whose owner lives, lives; whose owner is gone, goes.

use crate::scene::{Scene, agents, so, text};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use test_api::{Api, Objects, World, Write, seeds};

const DISCOVERED: &[&str] = &["pods", "configmaps", "replicasets"];

fn leaves(object: &Value) -> bool {
    !object["metadata"]["deletionTimestamp"].is_null()
}

fn holds(object: &Value, finalizer: &str) -> bool {
    let finalizers = object["metadata"]["finalizers"].as_array();
    finalizers.is_some_and(|all| all.contains(&json!(finalizer)))
}

fn owners(object: &Value) -> impl Iterator<Item = &str> {
    let references = object["metadata"]["ownerReferences"]
        .as_array()
        .into_iter()
        .flatten();
    references.map(|reference| text(&reference["uid"]))
}

fn by_uid<'a>(objects: &'a Objects, uid: &str) -> Option<&'a Value> {
    objects
        .values()
        .map(AsRef::as_ref)
        .find(|object| object["metadata"]["uid"] == uid)
}

/// Dependents of owners that were deleted with `orphan`, by uid.
#[derive(Default)]
struct Judge {
    orphans: BTreeSet<String>,
}

impl Judge {
    fn look(&mut self, write: &Write<'_>) -> Result<(), String> {
        let Some(old) = write.old else {
            return Ok(());
        };
        let uid = text(&old["metadata"]["uid"]);
        if let Some(new) = write
            .new
            .filter(|new| holds(new, "orphan") && !holds(old, "orphan"))
        {
            let owner = text(&new["metadata"]["uid"]);
            let only = |object: &&Value| owners(object).eq([owner]);
            let freed = write.objects.values().map(AsRef::as_ref).filter(only);
            self.orphans
                .extend(freed.map(|object| text(&object["metadata"]["uid"]).to_owned()));
        }
        let deleted = write.by != "users" && !leaves(old) && write.new.is_none_or(leaves);
        if !deleted {
            return Ok(());
        }
        so(!self.orphans.contains(uid), || {
            format!("{} was to be an orphan", write.place.name)
        })?;
        let lives = |owner: &str| {
            by_uid(write.objects, owner)
                .is_some_and(|owner| !leaves(owner) || !holds(owner, "foregroundDeletion"))
        };
        let living = owners(old).find(|owner| lives(owner));
        so(living.is_none(), || {
            format!("{} is deleted, its owner {living:?} lives", write.place.name)
        })
    }
}

fn dependent(name: &str, owners: &[&Value]) -> Value {
    let reference = |owner: &&Value| {
        json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"], "blockOwnerDeletion": true})
    };
    let references: Vec<Value> = owners.iter().map(reference).collect();
    json!({"metadata": {"name": name, "namespace": "default", "ownerReferences": references}})
}

fn story(seed: u64) {
    World::run(seed, DISCOVERED, None, |world| async move {
        let mut judge = Judge::default();
        world.api.judge(move |write| judge.look(write));
        let mut scene = Scene::start(&world, &["garbage-collector-controller"]);
        scene.also(agents(world.clone()));
        let mut sets: Vec<Value> = Vec::new();
        for step in 0..24 {
            scene.trouble(0..1500).await;
            let some = |count: usize| usize::try_from(world.random.below(0..count as u64)).unwrap_or(0);
            if sets.len() < 2 {
                // The name of one that is gone may be taken again.
                let name = format!("set-{}", some(3));
                if world.api.get("replicasets", "default", &name).is_none() {
                    let set =
                        json!({"metadata": {"name": name, "namespace": "default"}, "spec": {"replicas": 0}});
                    sets.push(world.api.create("replicasets", set));
                }
                continue;
            }
            let (first, second) = (some(sets.len()), some(sets.len()));
            let plural = if world.chance(2) { "pods" } else { "configmaps" };
            let owners: &[&Value] = match first == second {
                true => &[&sets[first]],
                false => &[&sets[first], &sets[second]],
            };
            world.api.create(plural, dependent(&format!("d{step}"), owners));
            if world.chance(2) {
                let gone = sets.swap_remove(first);
                let policy = ["Background", "Foreground", "Orphan"][some(3)];
                world.api.delete(
                    "replicasets",
                    "default",
                    text(&gone["metadata"]["name"]),
                    Some(policy),
                );
                if world.chance(3) {
                    // Somebody didn't know yet that the owner goes.
                    world
                        .api
                        .create("configmaps", dependent(&format!("late{step}"), &[&gone]));
                }
            }
        }
        scene.heals(nothing_is_left_over).await;
    });
}

fn nothing_is_left_over(api: &Api) -> Result<(), String> {
    let all: Vec<_> = DISCOVERED.iter().flat_map(|plural| api.list(plural)).collect();
    let living: BTreeSet<&str> = all
        .iter()
        .map(|object| text(&object["metadata"]["uid"]))
        .collect();
    for object in &all {
        let name = &object["metadata"]["name"];
        so(!leaves(object), || format!("{name} has left"))?;
        let lost = owners(object).find(|owner| !living.contains(owner));
        so(lost.is_none(), || format!("{name} names an owner that is gone"))?;
    }
    Ok(())
}

#[test]
fn nothing_is_collected_while_an_owner_lives_and_all_that_have_none_are_collected() {
    seeds().for_each(story);
}
