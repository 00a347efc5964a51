//! Namespaces: what goes with one, and what belongs to the next of its name.

use crate::scene::{Scene, agents, so, text};
use serde_json::{Value, json};
use std::time::Duration;
use test_api::{Api, Faults, Place, World, Write, seeds};
use tokio::time::sleep;

const DISCOVERED: &[&str] = &["pods", "configmaps", "serviceaccounts", "secrets"];
const ALL: &[&str] = &[
    "namespace-controller",
    "serviceaccount-controller",
    "root-ca-certificate-publisher-controller",
];
/// Then a namespace and the next of its name can have just the same contents.
const ALONE: &[&str] = &["namespace-controller"];

fn look(write: &Write<'_>) -> Result<(), String> {
    let leaves = |object: &Value| !object["metadata"]["deletionTimestamp"].is_null();
    if write.place.plural == "namespaces" && write.new.is_none() {
        let name = &write.place.name;
        let mut left = write.objects.keys().filter(|place| place.namespace == *name);
        let left = left.next();
        return so(left.is_none(), || format!("{name} is gone, {left:?} is left"));
    }
    let deleted = write.old.is_some_and(|old| !leaves(old)) && write.new.is_none_or(leaves);
    if !deleted || write.by == "users" || write.place.namespace.is_empty() {
        return Ok(());
    }
    let namespace = Place {
        plural: "namespaces",
        namespace: String::new(),
        name: write.place.namespace.clone(),
    };
    let terminating = write
        .objects
        .get(&namespace)
        .is_some_and(|namespace| leaves(namespace));
    so(terminating, || {
        format!("{:?} is deleted, its namespace isn't", write.place)
    })
}

fn fill(api: &Api, life: usize, alone: bool) {
    let named = |name: &str| json!({"metadata": {"name": format!("{name}-{life}"), "namespace": "shop"}});
    api.create("namespaces", json!({"metadata": {"name": "shop"}}));
    api.create("configmaps", named("map"));
    api.create("secrets", named("secret"));
    if !alone {
        api.create("pods", named("pod"));
    }
}

fn lags(seed: u64) -> bool {
    seed % 14 == 1
}

fn story(seed: u64) {
    World::run(seed, DISCOVERED, None, |world| async move {
        world.api.judge(look);
        let (alone, lags) = (!seed.is_multiple_of(4), lags(seed));
        let faults = if lags { Faults::lagging } else { Faults::drawn };
        let mut scene = Scene::start_with(&world, if alone { ALONE } else { ALL }, faults);
        scene.also(agents(world.clone()));
        fill(&world.api, 0, alone);
        for life in 1..4 {
            scene.trouble(0..4000).await;
            world.api.delete("namespaces", "", "shop", None);
            while world.api.get("namespaces", "", "shop").is_some() {
                sleep(Duration::from_millis(10)).await;
            }
            fill(&world.api, life, alone);
            if lags {
                scene.trouble(0..90_000).await;
            }
        }
        scene.trouble(0..4000).await;
        scene.heals(|api| is_whole(api, alone)).await;
    });
}

fn is_whole(api: &Api, alone: bool) -> Result<(), String> {
    let own = [("configmaps", "map-3"), ("secrets", "secret-3")];
    let others = [
        ("pods", "pod-3"),
        ("serviceaccounts", "default"),
        ("configmaps", "kube-root-ca.crt"),
    ];
    let wanted: Vec<(&str, &str)> = own
        .into_iter()
        .chain(others.into_iter().filter(|_| !alone))
        .collect();
    for (plural, name) in &wanted {
        so(api.get(plural, "shop", name).is_some(), || {
            format!("{plural} {name}")
        })?;
    }
    let count: usize = DISCOVERED.iter().map(|plural| api.list(plural).len()).sum();
    so(count == wanted.len(), || "no more than that".to_owned())?;
    let namespace = api.get("namespaces", "", "shop").ok_or("no namespace")?;
    so(text(&namespace["status"]["phase"]) == "Active", || {
        "active".to_owned()
    })
}

#[test]
fn a_namespace_takes_its_contents_along_and_nothing_of_the_next_of_its_name() {
    // Half of them, and those in which a watch lags by minutes.
    seeds()
        .filter(|seed| seed.is_multiple_of(2) || lags(*seed))
        .for_each(story);
}

/// The namespace controller still saw the namespace that was gone, and deleted what stood in the next of its name.
#[test]
fn the_contents_of_a_namespace_made_anew_are_left_alone() {
    story(15);
}
