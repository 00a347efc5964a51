//! Who is who in a simulated cluster.

use apiserver_server::StaticUser;
use kubeclient::{ClientConfig, Credentials};
use std::collections::BTreeMap;

pub(crate) const STORES: [&str; 3] = ["store-1", "store-2", "store-3"];
pub(crate) const API_SERVERS: [&str; 2] = ["api-1", "api-2"];
pub(crate) const SCHEDULERS: [&str; 2] = ["scheduler-1", "scheduler-2"];
pub(crate) const CONTROLLERS: [&str; 2] = ["controllers-1", "controllers-2"];
pub(crate) const NODES: [&str; 2] = ["node-1", "node-2"];

const ADMIN: &str = "admin";

/// Every token is the name of its owner's host, or `admin`.
///
/// The rights that an installation grants its components are granted by `trireme` itself and not part of this
/// world: all of them are administrators here.
pub(crate) fn static_tokens() -> BTreeMap<String, StaticUser> {
    let user = |name: &str, group: &str| StaticUser {
        name: name.to_owned(),
        groups: vec![group.to_owned(), "system:masters".to_owned()],
    };
    let mut tokens = BTreeMap::from([(ADMIN.to_owned(), user("admin", "system:masters"))]);
    for host in SCHEDULERS {
        tokens.insert(host.to_owned(), user("system:kube-scheduler", "simulated"));
    }
    for host in CONTROLLERS {
        tokens.insert(
            host.to_owned(),
            user("system:kube-controller-manager", "simulated"),
        );
    }
    for host in NODES {
        tokens.insert(
            host.to_owned(),
            user(&format!("system:node:{host}"), "system:nodes"),
        );
    }
    tokens
}

pub(crate) fn api_addresses() -> Vec<String> {
    API_SERVERS.iter().map(|host| format!("{host}:6443")).collect()
}

/// How the component on `host` reaches the API.
pub(crate) fn client_config(host: &str) -> ClientConfig {
    ClientConfig {
        servers: api_addresses(),
        ca_pem: None,
        credentials: Credentials::Token(host.to_owned()),
        user_agent: format!("{host}/simulated"),
    }
}

pub(crate) fn admin_config() -> ClientConfig {
    client_config(ADMIN)
}
