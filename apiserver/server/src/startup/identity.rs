//! The Lease by which others see that this replica lives (upstream: pkg/controlplane/instance.go, KEP-1965).

use super::built_in;
use crate::state::State;
use crate::verbs::{Next, Ownership, Writer, change_object};
use apiserver_core::{ApiError, tree};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

const LIVES_SECONDS: i64 = 3600;

pub(super) async fn renew(state: &State) -> Result<(), ApiError> {
    let leases = built_in(state, "coordination.k8s.io", "leases")?;
    let hash = hex::encode(Sha256::digest(state.advertised().as_bytes()));
    let name = format!("apiserver-{}", &hash[..26]);
    let now = state.now().strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
    let mut change = |current: Option<&Value>| {
        let mut object = current.cloned().unwrap_or_else(|| {
            json!({"kind": "Lease", "apiVersion": "coordination.k8s.io/v1",
                "metadata": {"name": name, "namespace": "kube-system", "labels": {
                    "apiserver.kubernetes.io/identity": "kube-apiserver"}},
                "spec": {"holderIdentity": name, "leaseDurationSeconds": LIVES_SECONDS}})
        });
        tree::set(&mut object, &["spec", "renewTime"], now.clone());
        Ok(Next {
            object,
            ownership: Ownership::Update,
        })
    };
    let mut writer = Writer::loopback(state.now());
    change_object(state, &leases, &mut writer, "kube-system", &name, &mut change).await?;
    Ok(())
}
