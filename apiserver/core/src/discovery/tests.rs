use super::*;

fn catalog() -> Catalog {
    Catalog::new(&Registry::built_in())
}

#[test]
fn the_documents_list_what_upstream_serves() {
    let catalog = catalog();
    let groups = catalog.group_list();
    assert_eq!(groups["groups"][0]["name"], "apiregistration.k8s.io");
    let autoscaling = catalog.group("autoscaling").unwrap();
    assert_eq!(autoscaling["preferredVersion"]["groupVersion"], "autoscaling/v2");
    assert_eq!(autoscaling["versions"].as_array().unwrap().len(), 2);
    assert!(catalog.group("").is_none());
    assert!(catalog.resource_list("apps", "v2").is_none());
}

#[test]
fn resource_lists_have_sub_resources_and_storage_hashes() {
    let list = catalog().resource_list("", "v1").unwrap();
    assert_eq!(list["groupVersion"], "v1");
    let entries = list["resources"].as_array().unwrap();
    let named = |name: &str| entries.iter().find(|e| e["name"] == name).unwrap();
    assert_eq!(named("pods")["storageVersionHash"], "xPOwRZ+Yhw8=");
    assert_eq!(named("pods")["shortNames"], json!(["po"]));
    let eviction = named("pods/eviction");
    assert_eq!(
        (&eviction["group"], &eviction["version"]),
        (&json!("policy"), &json!("v1"))
    );
    assert!(named("pods/status").get("group").is_none());
    assert!(named("bindings").get("storageVersionHash").is_none());
}

#[test]
fn aggregated_documents_hold_every_group_once() {
    let catalog = catalog();
    let core = catalog.aggregated(AggregatedVersion::V2, true);
    assert_eq!(core["apiVersion"], "apidiscovery.k8s.io/v2");
    assert_eq!(core["items"].as_array().unwrap().len(), 1);
    let groups = catalog.aggregated(AggregatedVersion::V2beta1, false);
    let versions: usize = groups["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|g| g["versions"].as_array().unwrap().len())
        .sum();
    assert_eq!(versions, 21);
    let document = Document::new(&groups);
    assert_eq!(
        document.etag,
        Document::new(&catalog.aggregated(AggregatedVersion::V2beta1, false)).etag
    );
}

#[test]
fn custom_groups_follow_by_name() {
    let mut registry = Registry::built_in();
    let mut custom = (**registry.lookup("apps", "v1", "deployments").unwrap()).clone();
    custom.gvr = crate::GroupVersionResource::new("example.com", "v1", "toys");
    custom.kind = "Toy".to_owned();
    custom.custom = true;
    let mut older = custom.clone();
    older.gvr.version = "v1beta1".to_owned();
    registry.insert(older);
    registry.insert(custom);
    let catalog = Catalog::new(&registry);
    let last = catalog.groups.last().unwrap();
    assert_eq!(last.name, "example.com");
    assert_eq!(last.versions[0].version, "v1");
    let item = &catalog.aggregated(AggregatedVersion::V2, false)["items"][20];
    assert_eq!(
        item["versions"][0]["resources"][0]["responseKind"]["group"],
        "example.com"
    );
}
