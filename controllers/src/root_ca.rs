//! Root CA publisher: the ConfigMap `kube-root-ca.crt` in every namespace.
//! Source: `pkg/controller/certificates/rootcacertpublisher/publisher.go` (1.36).

use crate::action::{Action, Plan};
use crate::object::{Key, MetaView, labels};
use crate::runner::{Cache, Context, Controller, Informers, Watches};
use crate::serviceaccount::is_active;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

const NAME: &str = "kube-root-ca.crt";
const DESCRIPTION: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal \
    endpoints such as the internal service IP or kubernetes.default.svc.";

pub fn plan(namespace: &Namespace, map: Option<&ConfigMap>, root_ca_pem: &str) -> Plan {
    if !is_active(namespace) {
        return Plan::nothing();
    }
    let data = labels([("ca.crt", root_ca_pem)]);
    match map {
        Some(map) if map.data.as_ref() == Some(&data) => Plan::nothing(),
        Some(map) => {
            let mut corrected = map.clone();
            corrected.data = Some(data);
            vec![Action::update(&corrected)].into()
        }
        None => {
            let map = ConfigMap {
                metadata: ObjectMeta {
                    name: Some(NAME.into()),
                    namespace: namespace.metadata.name.clone(),
                    annotations: Some(labels([("kubernetes.io/description", DESCRIPTION)])),
                    ..ObjectMeta::default()
                },
                data: Some(data),
                ..ConfigMap::default()
            };
            vec![Action::create(&map)].into()
        }
    }
}

pub struct RootCaPublisher {
    namespaces: Cache<Namespace>,
    /// Only the published ones: other ConfigMaps may be many and large.
    maps: Cache<ConfigMap>,
    root_ca_pem: String,
}

impl RootCaPublisher {
    pub fn new(informers: &Informers, root_ca_pem: &str) -> Self {
        Self {
            namespaces: informers.of(),
            maps: informers.selected(&format!("metadata.name={NAME}")),
            root_ca_pem: root_ca_pem.to_owned(),
        }
    }
}

impl Controller for RootCaPublisher {
    fn name(&self) -> &'static str {
        "root-ca-certificate-publisher-controller"
    }

    fn watch(&self, watches: &mut Watches<'_>) {
        watches.objects(&self.namespaces);
        watches.on(&self.maps, |change| {
            let map = change.new.as_ref().or(change.old.as_ref());
            map.map(|map| Key::cluster(map.metadata.namespace()))
                .into_iter()
                .collect()
        });
    }

    fn plan(&self, key: &Key, _context: &Context) -> Plan {
        let Some(namespace) = self.namespaces.get(key) else {
            return Plan::nothing();
        };
        plan(
            &namespace,
            self.maps.get(&Key::new(&key.name, NAME)).as_deref(),
            &self.root_ca_pem,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::plan;
    use crate::testing::{ago, object, story};
    use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
    use serde_json::json;

    #[test]
    fn the_map_is_created_corrected_and_left_alone() {
        let namespace = object::<Namespace>(json!({"metadata": {"name": "shop"}}));
        assert_eq!(
            story(&plan(&namespace, None, "PEM")),
            ["create ConfigMap shop/kube-root-ca.crt"]
        );
        let map = |ca: &str| {
            object::<ConfigMap>(
                json!({"metadata": {"name": "kube-root-ca.crt", "namespace": "shop"}, "data": {"ca.crt": ca}}),
            )
        };
        assert_eq!(
            story(&plan(&namespace, Some(&map("old")), "PEM")),
            ["update ConfigMap shop/kube-root-ca.crt"]
        );
        assert!(story(&plan(&namespace, Some(&map("PEM")), "PEM")).is_empty());
        let leaving = object::<Namespace>(json!({"metadata": {"name": "shop", "deletionTimestamp": ago(1)}}));
        assert!(story(&plan(&leaving, None, "PEM")).is_empty());
    }
}
