use super::{legacy, mirror, service_slices};
use crate::action::Action;
use crate::object::Key;
use crate::testing::{ago, merged, object, pod, story};
use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

fn service(over: Value) -> Arc<Service> {
    object(merged(
        json!({"metadata": {"name": "shop", "namespace": "default", "uid": "uid-shop"},
            "spec": {"clusterIP": "10.96.0.9", "selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": "web"}]}}),
        over,
    ))
}

fn offering(name: &str, ip: &str, over: Value) -> Arc<Pod> {
    pod(
        name,
        None,
        merged(
            json!({"spec": {"containers": [{"name": "c", "ports": [{"name": "web", "containerPort": 8080}]}]}, "status": {"podIP": ip}}),
            over,
        ),
    )
}

fn slices_of(service: &Arc<Service>, pods: &[Arc<Pod>], slices: &[Arc<EndpointSlice>]) -> Vec<Action> {
    service_slices::plan(&service_slices::Observed {
        service: Arc::clone(service),
        pods: pods.to_vec(),
        slices: slices.to_vec(),
        zones: BTreeMap::from([("n1".into(), "z1".into())]),
    })
    .actions
}

/// The slice that a creation makes, as the server would show it.
fn made(action: &Action, name: &str) -> Arc<EndpointSlice> {
    let Action::Create(body) = action else {
        panic!("a creation: {action:?}")
    };
    object(merged(
        body.value.clone(),
        json!({"metadata": {"name": name, "uid": name, "resourceVersion": "1"}}),
    ))
}

fn ips(slice: &EndpointSlice) -> Vec<String> {
    slice
        .endpoints
        .iter()
        .flatten()
        .map(|endpoint| endpoint.addresses[0].clone())
        .collect()
}

#[test]
fn a_slice_tells_readiness_ports_node_and_zone() {
    let pods = [
        offering("a", "10.0.0.1", json!({})),
        offering(
            "b",
            "10.0.0.2",
            json!({"metadata": {"deletionTimestamp": ago(1)}}),
        ),
        offering("c", "10.0.0.3", json!({"status": {"phase": "Succeeded"}})),
        offering("d", "10.0.0.4", json!({"metadata": {"labels": {"app": "db"}}})),
    ];
    let actions = slices_of(&service(json!({})), &pods, &[]);
    assert_eq!(actions.len(), 1);
    let slice = made(&actions[0], "s");
    assert_eq!(
        serde_json::to_value(&slice.ports).unwrap(),
        json!([{"name": "http", "port": 8080, "protocol": "TCP"}])
    );
    assert_eq!(
        serde_json::to_value(&slice.endpoints).unwrap(),
        json!([
            {"addresses": ["10.0.0.1"], "conditions": {"ready": true, "serving": true, "terminating": false}, "nodeName": "n1",
                "targetRef": {"kind": "Pod", "name": "a", "namespace": "default", "uid": "uid-a"}, "zone": "z1"},
            {"addresses": ["10.0.0.2"], "conditions": {"ready": false, "serving": true, "terminating": true}, "nodeName": "n1",
                "targetRef": {"kind": "Pod", "name": "b", "namespace": "default", "uid": "uid-b"}, "zone": "z1"},
        ])
    );
}

#[test]
fn nothing_is_written_when_nothing_changed_and_only_the_touched_slice_otherwise() {
    let service = service(json!({}));
    let pods: Vec<_> = (0..150)
        .map(|n| offering(&format!("p{n:03}"), &format!("10.0.1.{n}"), json!({})))
        .collect();
    let actions = slices_of(&service, &pods, &[]);
    let slices: Vec<_> = actions
        .iter()
        .enumerate()
        .map(|(n, action)| made(action, &format!("s{n}")))
        .collect();
    assert_eq!(
        slices.iter().map(|slice| ips(slice).len()).collect::<Vec<_>>(),
        [100, 50]
    );
    assert!(slices_of(&service, &pods, &slices).is_empty());
    let fewer: Vec<_> = pods.iter().skip(1).cloned().collect();
    let touched = slices_of(&service, &fewer, &slices);
    assert_eq!(
        touched.iter().map(Action::summary).collect::<Vec<_>>(),
        ["update EndpointSlice default/s0"]
    );
}

#[test]
fn a_service_without_pods_keeps_one_empty_slice() {
    let service = service(json!({}));
    let actions = slices_of(&service, &[], &[]);
    let empty = made(&actions[0], "s");
    assert!(ips(&empty).is_empty());
    assert!(slices_of(&service, &[], &[Arc::clone(&empty)]).is_empty());
    let back = slices_of(&service, &[offering("a", "10.0.0.1", json!({}))], &[empty]);
    let told: Vec<String> = back.iter().map(Action::summary).collect();
    assert_eq!(
        told,
        [
            "create EndpointSlice default/shop-*",
            "delete EndpointSlice default/s"
        ]
    );
}

#[test]
fn endpoints_group_addresses_by_their_ports_and_readiness() {
    let observed = |endpoints| legacy::Observed {
        service: Some(service(json!({}))),
        pods: vec![
            offering("b", "10.0.0.2", json!({})),
            offering("a", "10.0.0.1", json!({})),
            offering("c", "10.0.0.3", json!({"status": {"conditions": []}})),
            offering(
                "leaving",
                "10.0.0.4",
                json!({"metadata": {"deletionTimestamp": ago(1)}}),
            ),
        ],
        endpoints,
    };
    let plan = legacy::plan(&observed(None));
    let Action::Create(body) = &plan.actions[0] else {
        panic!("a creation")
    };
    let addresses = |field: &str| -> Vec<String> {
        let list = body.value["subsets"][0][field].as_array().unwrap();
        list.iter()
            .map(|address| address["ip"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(addresses("addresses"), ["10.0.0.1", "10.0.0.2"]);
    assert_eq!(addresses("notReadyAddresses"), ["10.0.0.3"]);
    let current: Arc<Endpoints> = object(body.value.clone());
    assert!(
        legacy::plan(&observed(Some(Arc::clone(&current))))
            .actions
            .is_empty()
    );
    let orphaned = legacy::Observed {
        service: None,
        ..observed(Some(current))
    };
    assert_eq!(story(&legacy::plan(&orphaned)), ["delete Endpoints default/shop"]);
}

#[test]
fn hand_written_endpoints_are_mirrored_until_the_service_gets_a_selector() {
    let endpoints: Arc<Endpoints> = object(
        json!({"metadata": {"name": "shop", "namespace": "default", "uid": "e"},
        "subsets": [{"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 80}]}]}),
    );
    let observed = |selector: Value, slices: Vec<Arc<EndpointSlice>>| mirror::Observed {
        key: Key::new("default", "shop"),
        service: Some(service(json!({"spec": {"selector": selector}}))),
        endpoints: Some(Arc::clone(&endpoints)),
        slices,
    };
    let plan = mirror::plan(&observed(Value::Null, Vec::new()));
    let slice = made(&plan.actions[0], "s");
    assert_eq!(ips(&slice), ["192.0.2.1"]);
    assert!(
        mirror::plan(&observed(Value::Null, vec![Arc::clone(&slice)]))
            .actions
            .is_empty()
    );
    let selected = mirror::plan(&observed(json!({"app": "web"}), vec![slice]));
    assert_eq!(story(&selected), ["delete EndpointSlice default/s"]);
}
