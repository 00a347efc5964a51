use super::*;
use crate::registry::test_resource;

fn creation() -> Creation<'static> {
    Creation {
        uid: "u-1",
        now: "2026-01-01T00:00:00Z",
        random: [0, 1, 2, 3, 4],
        namespace: "default",
    }
}

#[test]
fn creation_sets_what_only_the_server_may_set() {
    let mut pod = json!({"metadata": {"generateName": "web-", "uid": "mine", "resourceVersion": "5",
        "deletionTimestamp": "2020-01-01T00:00:00Z"}});
    begin_create(&mut pod, &test_resource("pods"), &creation()).unwrap();
    assert_eq!(
        pod,
        json!({"metadata": {"generateName": "web-", "name": "web-bcdfg", "namespace": "default", "uid": "u-1",
            "creationTimestamp": "2026-01-01T00:00:00Z"}})
    );
    let mut elsewhere = json!({"metadata": {"name": "a", "namespace": "other"}});
    let error = begin_create(&mut elsewhere, &test_resource("pods"), &creation()).unwrap_err();
    assert_eq!(error.code, 400);
}

#[test]
fn bad_metadata_is_refused_with_each_reason() {
    let object = json!({"metadata": {"name": "A_b", "namespace": "default", "labels": {"-x": "ok", "y": "a b"},
        "finalizers": ["nice/one", "bad one"], "ownerReferences": [{"kind": "", "apiVersion": "v1", "name": "n", "uid": "u"}]}});
    let fields: Vec<String> = validate(&object, &test_resource("configmaps"))
        .iter()
        .map(|e| e.field.to_string())
        .collect();
    assert_eq!(
        fields,
        [
            "metadata.name",
            "metadata.labels",
            "metadata.labels",
            "metadata.ownerReferences[0].kind",
            "metadata.finalizers[1]"
        ]
    );
    let nameless = json!({"metadata": {"namespace": "default"}});
    assert_eq!(
        validate(&nameless, &test_resource("configmaps"))[0].to_string(),
        "metadata.name: Required value: name or generateName is required"
    );
    let namespaced = json!({"metadata": {"name": "a", "namespace": "default"}});
    assert_eq!(
        validate(&namespaced, &test_resource("nodes"))[0].to_string(),
        "metadata.namespace: Forbidden: not allowed on this type"
    );
}

#[test]
fn updates_keep_identity_and_need_the_right_version() {
    let old = json!({"metadata": {"name": "a", "namespace": "default", "uid": "1", "resourceVersion": "7",
        "creationTimestamp": "2026-01-01T00:00:00Z", "generation": 3}});
    let resource = test_resource("configmaps");
    let mut new = json!({"metadata": {"name": "a"}, "data": {"x": "y"}});
    begin_update(&mut new, &old, &resource).unwrap();
    assert_eq!(new["metadata"]["uid"], "1");
    assert_eq!(new["metadata"]["generation"], 3);
    let mut stale = json!({"metadata": {"name": "a", "resourceVersion": "6"}});
    assert_eq!(
        begin_update(&mut stale, &old, &resource).unwrap_err().reason,
        crate::Reason::Conflict
    );
    let mut other = json!({"metadata": {"name": "a", "uid": "2"}});
    assert_eq!(begin_update(&mut other, &old, &resource).unwrap_err().code, 409);
    let mut lease = json!({"metadata": {"name": "a"}});
    let error = begin_update(&mut lease, &old, &test_resource("leases")).unwrap_err();
    assert_eq!(
        error.message,
        "Lease.coordination.k8s.io \"a\" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified \
         for an update"
    );
}

#[test]
fn no_finalizer_joins_an_object_that_goes_away() {
    let old = json!({"metadata": {"name": "a", "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["x/a"]}});
    let mut new = old.clone();
    new["metadata"]["finalizers"] = json!(["x/a", "x/b"]);
    assert_eq!(
        validate_update(&new, &old)[0].field.to_string(),
        "metadata.finalizers"
    );
    assert!(validate_update(&old, &old).is_empty());
}

#[test]
fn only_times_of_managed_fields_make_no_change() {
    let old = json!({"metadata": {"resourceVersion": "1", "managedFields": [{"manager": "m", "time": "a"}]}, "data": {}});
    let mut new = old.clone();
    new["metadata"]["managedFields"][0]["time"] = json!("b");
    assert!(is_same(&new, &old));
    new["data"]["x"] = json!("y");
    assert!(!is_same(&new, &old));
}
