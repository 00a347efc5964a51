use super::*;
use crate::status::Reason;

const NOW: &str = "2024-01-01T00:00:00Z";
const LATER: &str = "2024-01-01T00:01:00Z";

fn writer<'a>(manager: &'a str, api_version: &'a str, now: &'a str) -> Writer<'a> {
    Writer {
        manager,
        api_version,
        subresource: "",
        now,
        reset: &[],
    }
}

fn deployment(spec: Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "ns"}, "spec": spec})
}

fn schema() -> Option<Schema<'static>> {
    kubeschema::schema_for("apps", "v1", "Deployment")
}

fn template(containers: Value) -> Value {
    json!({"spec": {"containers": containers}})
}

fn created(manager: &str, mut object: Value) -> Value {
    object["metadata"]["uid"] = "u".into();
    track_update(schema(), None, &mut object, &writer(manager, "apps/v1", NOW));
    object
}

fn updated(manager: &str, live: &Value, change: impl FnOnce(&mut Value)) -> Value {
    let mut new = live.clone();
    change(&mut new);
    track_update(schema(), Some(live), &mut new, &writer(manager, "apps/v1", LATER));
    new
}

fn applied(manager: &str, live: Option<&Value>, config: &Value) -> Result<Value, ApiError> {
    apply(schema(), live, config, &writer(manager, "apps/v1", LATER), false)
}

fn fields(object: &Value, manager: &str) -> Value {
    let entries = tree::list(object, &["metadata", "managedFields"]);
    let found = entries.iter().find(|entry| entry["manager"] == manager);
    found.map(|entry| entry["fieldsV1"].clone()).unwrap_or_default()
}

#[test]
fn a_create_owns_every_field_as_upstream_writes_it() {
    let mut object = deployment(json!({
        "replicas": 1,
        "selector": {"matchLabels": {"app": "d"}},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%"}},
        "template": {"metadata": {"labels": {"app": "d"}}, "spec": {"containers": [{"name": "c", "image": "i",
            "ports": [{"containerPort": 80, "protocol": "TCP"}]}], "restartPolicy": "Always"}},
    }));
    object["metadata"]["labels"] = json!({"app": "d"});
    let object = created("kubectl-create", object);
    assert_eq!(
        object["metadata"]["managedFields"],
        json!([{"manager": "kubectl-create", "operation": "Update", "apiVersion": "apps/v1", "time": NOW,
        "fieldsType": "FieldsV1", "fieldsV1": {
            "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
            "f:spec": {
                "f:replicas": {},
                "f:selector": {},
                "f:strategy": {"f:rollingUpdate": {".": {}, "f:maxSurge": {}}, "f:type": {}},
                "f:template": {
                    "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
                    "f:spec": {
                        "f:containers": {"k:{\"name\":\"c\"}": {".": {}, "f:image": {}, "f:name": {},
                            "f:ports": {".": {}, "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {
                                ".": {}, "f:containerPort": {}, "f:protocol": {}}},
                            "f:resources": {}}},
                        "f:restartPolicy": {},
                    },
                },
            },
        }}])
    );
}

#[test]
fn an_update_takes_what_it_changes_and_only_then_counts_as_one() {
    let live = created("one", deployment(json!({"replicas": 1, "paused": true})));
    let same = updated("two", &live, |_| {});
    assert_eq!(same, live);
    let new = updated("two", &live, |object| object["spec"]["replicas"] = 2.into());
    assert_eq!(fields(&new, "one"), json!({"f:spec": {"f:paused": {}}}));
    assert_eq!(fields(&new, "two"), json!({"f:spec": {"f:replicas": {}}}));
    assert_eq!(new["metadata"]["managedFields"][1]["time"], LATER);
    let removed = updated("three", &new, |object| {
        drop(tree::remove(object, &["spec", "paused"]))
    });
    assert_eq!(fields(&removed, "one"), Value::Null);
    assert_eq!(fields(&removed, "three"), Value::Null);
}

#[test]
fn sub_resources_keep_entries_of_their_own() {
    let live = created("one", deployment(json!({"replicas": 1})));
    let mut new = live.clone();
    new["status"] = json!({"replicas": 1});
    new["spec"]["replicas"] = 7.into();
    let status = Writer {
        subresource: "status",
        reset: reset_fields(true, "status"),
        ..writer("one", "apps/v1", LATER)
    };
    track_update(schema(), Some(&live), &mut new, &status);
    let entries = new["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[0]["fieldsV1"], json!({"f:spec": {"f:replicas": {}}}));
    assert_eq!(entries[1]["subresource"], "status");
    assert_eq!(entries[1]["fieldsV1"], json!({"f:status": {"f:replicas": {}}}));
}

#[test]
fn an_empty_entry_clears_the_managers() {
    let live = created("one", deployment(json!({"replicas": 1})));
    let new = updated("two", &live, |object| {
        object["metadata"]["managedFields"] = json!([{}])
    });
    assert!(new["metadata"].get("managedFields").is_none());
    let next = updated("two", &new, |object| object["spec"]["replicas"] = 2.into());
    assert!(next["metadata"].get("managedFields").is_none());
    let config = deployment(json!({"paused": true}));
    let out = applied("three", Some(&next), &config).unwrap();
    assert_eq!(
        fields(&out, "before-first-apply"),
        json!({"f:spec": {"f:replicas": {}}})
    );
    assert_eq!(fields(&out, "three"), json!({"f:spec": {"f:paused": {}}}));
}

#[test]
fn applying_creates_and_applying_again_removes_what_is_gone() {
    let first = deployment(json!({"replicas": 3, "paused": true,
        "template": template(json!([{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]))}));
    let live = applied("me", None, &first).unwrap();
    assert_eq!(live["spec"], first["spec"]);
    assert_eq!(live["metadata"]["managedFields"][0]["operation"], "Apply");
    let second =
        deployment(json!({"replicas": 3, "template": template(json!([{"name": "a", "image": "2"}]))}));
    let out = applied("me", Some(&live), &second).unwrap();
    assert_eq!(out["spec"], second["spec"]);
    assert_eq!(
        fields(&out, "me"),
        json!({"f:spec": {"f:replicas": {}, "f:template": {"f:spec": {"f:containers": {
            "k:{\"name\":\"a\"}": {".": {}, "f:image": {}, "f:name": {}}}}}}})
    );
    let again = apply(
        schema(),
        Some(&out),
        &second,
        &writer("me", "apps/v1", "2030-01-01T00:00:00Z"),
        false,
    );
    assert_eq!(again.unwrap(), out);
}

#[test]
fn fields_that_others_own_are_kept_when_one_manager_stops_applying_them() {
    let config = deployment(json!({"replicas": 3, "paused": true}));
    let live = applied("one", None, &config).unwrap();
    let live = applied("two", Some(&live), &deployment(json!({"replicas": 3}))).unwrap();
    let out = applied("one", Some(&live), &deployment(json!({"minReadySeconds": 1}))).unwrap();
    assert_eq!(out["spec"], json!({"replicas": 3, "minReadySeconds": 1}));
    assert_eq!(fields(&out, "two"), json!({"f:spec": {"f:replicas": {}}}));
}

#[test]
fn taking_a_field_conflicts_unless_forced() {
    let live = created(
        "kubectl-client-side-apply",
        deployment(json!({"replicas": 1, "paused": true,
        "template": template(json!([{"name": "c", "image": "1"}]))})),
    );
    let one = deployment(json!({"replicas": 2}));
    let error = applied("me", Some(&live), &one).unwrap_err();
    assert_eq!((error.code, error.reason), (409, Reason::Conflict));
    assert_eq!(
        error.message,
        "Apply failed with 1 conflict: conflict with \"kubectl-client-side-apply\" using apps/v1: .spec.replicas"
    );
    let causes = &error.details.unwrap().causes;
    assert_eq!(causes[0].reason, "FieldManagerConflict");
    assert_eq!(
        causes[0].message,
        "conflict with \"kubectl-client-side-apply\" using apps/v1"
    );
    assert_eq!(causes[0].field, ".spec.replicas");

    let two = deployment(json!({"replicas": 2, "template": template(json!([{"name": "c", "image": "2"}]))}));
    let error = applied("me", Some(&live), &two).unwrap_err();
    assert_eq!(
        error.message,
        "Apply failed with 2 conflicts: conflicts with \"kubectl-client-side-apply\" using apps/v1:\n- .spec.replicas\n\
         - .spec.template.spec.containers[name=\"c\"].image"
    );
    let forced = apply(schema(), Some(&live), &one, &writer("me", "apps/v1", LATER), true).unwrap();
    assert_eq!(forced["spec"]["replicas"], 2);
    assert_eq!(fields(&forced, "me"), json!({"f:spec": {"f:replicas": {}}}));
    assert!(
        fields(&forced, "kubectl-client-side-apply")["f:spec"]
            .get("f:replicas")
            .is_none()
    );
    // The same value is no conflict: both own it.
    let shared = applied("me", Some(&live), &deployment(json!({"replicas": 1}))).unwrap();
    assert!(
        fields(&shared, "kubectl-client-side-apply")["f:spec"]
            .get("f:replicas")
            .is_some()
    );
}

#[test]
fn lists_merge_by_item_and_keep_the_order_of_the_configuration() {
    let live = created(
        "one",
        deployment(json!({"template": template(json!([
        {"name": "a", "image": "1"}, {"name": "b", "image": "1"}, {"name": "c", "image": "1"}]))})),
    );
    let config =
        deployment(json!({"template": template(json!([{"name": "c", "tty": true}, {"name": "a"}]))}));
    let out = applied("two", Some(&live), &config).unwrap();
    let containers = out["spec"]["template"]["spec"]["containers"].as_array().unwrap();
    let names: Vec<&str> = containers.iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["b", "c", "a"]);
    assert_eq!(containers[1], json!({"name": "c", "image": "1", "tty": true}));
}

#[test]
fn keys_with_defaults_may_be_left_out() {
    let ports = json!([{"name": "c", "ports": [{"containerPort": 80, "name": "web"}]}]);
    let out = applied("me", None, &deployment(json!({"template": template(ports)}))).unwrap();
    let set = fields(&out, "me").to_string();
    assert!(
        set.contains(r#"k:{\"containerPort\":80,\"protocol\":\"TCP\"}"#),
        "{set}"
    );
}

#[test]
fn configurations_that_do_not_fit_are_refused() {
    let unknown = applied("me", None, &deployment(json!({"foo": 1}))).unwrap_err();
    assert_eq!(
        unknown.message,
        "failed to create typed patch object (ns/d; apps/v1, Kind=Deployment): .spec.foo: field not declared in schema"
    );
    assert_eq!(unknown.code, 500);
    let twice = deployment(json!({"template": template(json!([{"name": "a"}, {"name": "a"}]))}));
    let error = applied("me", None, &twice).unwrap_err();
    assert!(
        error
            .message
            .ends_with(".spec.template.spec.containers: duplicate entries for key [name=\"a\"]")
    );
    let mut managed = deployment(json!({}));
    managed["metadata"]["managedFields"] = json!([{}]);
    assert_eq!(
        applied("me", None, &managed).unwrap_err().message,
        "metadata.managedFields must be nil"
    );
    let mut version = deployment(json!({}));
    version["apiVersion"] = "apps/v1beta1".into();
    assert_eq!(applied("me", None, &version).unwrap_err().code, 400);
}

#[test]
fn old_update_managers_are_folded() {
    let mut live = created("m00", deployment(json!({"replicas": 1})));
    for i in 1..14 {
        let mut new = live.clone();
        new["metadata"]["annotations"][format!("a{i}")] = "x".into();
        let (manager, now) = (format!("m{i:02}"), format!("2024-01-01T00:00:{i:02}Z"));
        track_update(
            schema(),
            Some(&live),
            &mut new,
            &writer(&manager, "apps/v1", &now),
        );
        live = new;
    }
    let entries = live["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(entries.len(), 10);
    assert_eq!(entries[0]["manager"], "ancient-changes");
    assert_eq!(entries[0]["fieldsV1"]["f:spec"], json!({"f:replicas": {}}));
}

#[test]
fn custom_resources_apply_by_their_schema_or_by_what_they_hold() {
    let toy = |spec: Value| json!({"apiVersion": "example.com/v1", "kind": "Toy", "metadata": {"name": "t"}, "spec": spec});
    let live = apply(
        None,
        None,
        &toy(json!({"a": {"b": 1}, "list": [1]})),
        &writer("one", "example.com/v1", NOW),
        false,
    );
    let live = live.unwrap();
    assert_eq!(
        fields(&live, "one"),
        json!({"f:spec": {".": {}, "f:a": {".": {}, "f:b": {}}, "f:list": {}}})
    );
    let out = apply(
        None,
        Some(&live),
        &toy(json!({"a": {"c": 2}})),
        &writer("two", "example.com/v1", NOW),
        false,
    );
    assert_eq!(out.unwrap()["spec"], json!({"a": {"b": 1, "c": 2}, "list": [1]}));

    let shape = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "parts": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "object", "properties": {"name": {"type": "string"}, "n": {"type": "integer"}}}},
        "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}}}}});
    let kind = kubeschema::GroupVersionKind::new("example.com", "v1", "Toy");
    let table = kubeschema::custom::table(kind, Some(&shape));
    let schema = table.schema_for("example.com", "v1", "Toy");
    let first = toy(json!({"parts": [{"name": "x", "n": 1}], "tags": ["p"]}));
    let live = apply(schema, None, &first, &writer("one", "example.com/v1", NOW), false).unwrap();
    let second = toy(json!({"parts": [{"name": "y", "n": 2}], "tags": ["q"]}));
    let out = apply(
        schema,
        Some(&live),
        &second,
        &writer("two", "example.com/v1", NOW),
        false,
    )
    .unwrap();
    assert_eq!(
        out["spec"]["parts"],
        json!([{"name": "x", "n": 1}, {"name": "y", "n": 2}])
    );
    assert_eq!(out["spec"]["tags"], json!(["p", "q"]));
    let third = toy(json!({}));
    let out = apply(
        schema,
        Some(&out),
        &third,
        &writer("one", "example.com/v1", LATER),
        false,
    )
    .unwrap();
    assert_eq!(
        out["spec"],
        json!({"parts": [{"name": "y", "n": 2}], "tags": ["q"]})
    );
}

#[test]
fn kubectl_moves_from_client_side_to_server_side_apply_without_conflicts() {
    let config = deployment(json!({"replicas": 1}));
    let mut object = config.clone();
    let annotation = "kubectl.kubernetes.io/last-applied-configuration";
    object["metadata"]["annotations"] = json!({annotation: config.to_string()});
    let live = created("kubectl-client-side-apply", object);
    let next = deployment(json!({"replicas": 2}));
    let out = applied("kubectl", Some(&live), &next).unwrap();
    assert_eq!(out["spec"]["replicas"], 2);
    let text = out["metadata"]["annotations"][annotation].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(text).unwrap(), next);
    assert!(applied("other", Some(&live), &next).is_err());
}

#[test]
fn quantities_are_the_same_however_they_are_written() {
    let config = |cpu: Value| {
        let container = json!({"name": "c", "resources": {"limits": {"cpu": cpu}}});
        deployment(json!({"template": template(json!([container]))}))
    };
    let live = created("kubectl-create", config("500m".into()));
    let out = applied("me", Some(&live), &config(json!(0.5))).unwrap();
    assert_eq!(out["spec"], live["spec"]);
    assert_eq!(applied("me", Some(&out), &config("0.5".into())).unwrap(), out);
}

#[test]
fn null_times_of_generated_configurations_mean_nothing() {
    let mut config = deployment(
        json!({"replicas": 1, "template": {"metadata": {"creationTimestamp": null,
        "labels": {"a": "b"}}}, "strategy": {}}),
    );
    config["metadata"]["creationTimestamp"] = Value::Null;
    let live = applied("one", None, &config).unwrap();
    let out = applied("two", Some(&live), &config).unwrap();
    assert!(fields(&out, "one").is_object());
    assert_eq!(fields(&out, "one"), fields(&out, "two"));
    assert!(
        out["spec"]["template"]["metadata"]
            .get("creationTimestamp")
            .is_none()
    );
}

#[test]
fn a_configuration_of_another_kind_is_refused() {
    let mut config = deployment(json!({}));
    config["kind"] = "DaemonSet".into();
    let error = applied("me", None, &config).unwrap_err();
    assert_eq!(
        (error.code, error.message.as_str()),
        (400, "invalid object type: apps/v1, Kind=DaemonSet")
    );
}
