//! Who is who in a simulated cluster.

use crate::observer::Entrances;
use crate::topology::{Machine, Role, with_role};
use apiserver_server::StaticUser;
use kubeclient::{ClientConfig, Credentials};
use std::collections::BTreeMap;

const ADMIN: &str = "admin";

/// What the machines of a world know of each other.
#[derive(Debug, Clone)]
pub(crate) struct Directory {
    pub(crate) stores: Vec<&'static str>,
    pub(crate) apis: Vec<&'static str>,
    machines: Vec<Machine>,
}

impl Directory {
    pub(crate) fn new(machines: &[Machine]) -> Self {
        Self {
            stores: with_role(machines, Role::Store),
            apis: with_role(machines, Role::Api),
            machines: machines.to_vec(),
        }
    }

    /// Everybody has the rights of an installation: no more than the API server's start-up objects give.
    pub(crate) fn static_tokens(&self) -> BTreeMap<String, StaticUser> {
        let user = |name: &str, group: &str| StaticUser {
            name: name.to_owned(),
            groups: vec![group.to_owned(), "system:authenticated".to_owned()],
        };
        let mut tokens = BTreeMap::from([(ADMIN.to_owned(), user("admin", "system:masters"))]);
        for machine in &self.machines {
            for role in &machine.roles {
                let user = match role {
                    Role::Scheduler => user("system:kube-scheduler", "simulated"),
                    Role::Controllers => user("system:kube-controller-manager", "simulated"),
                    Role::Agent => user(&format!("system:node:{}", machine.name), "system:nodes"),
                    Role::Store | Role::Api => continue,
                };
                tokens.insert(token(machine.name, *role), user);
            }
        }
        tokens
    }

    /// How the role on `machine` reaches the API. Scheduler and controllers use the API server of their own
    /// process where there is one, as in an installation: both live and die together.
    pub(crate) fn client_of(&self, machine: &str, role: Role) -> ClientConfig {
        let own = role != Role::Agent && self.apis.contains(&machine);
        let servers = if own { vec![machine] } else { self.apis.clone() };
        client(&servers, token(machine, role))
    }

    /// An administrator who asks any API server.
    pub(crate) fn admin(&self) -> ClientConfig {
        client(&self.apis, ADMIN.to_owned())
    }

    /// An administrator who asks only this one.
    pub(crate) fn admin_at(&self, api: &str) -> ClientConfig {
        client(&[api], ADMIN.to_owned())
    }

    pub(crate) fn entrances(&self) -> Entrances {
        let apis = self.apis.iter().map(|api| (*api, self.admin_at(api)));
        Entrances {
            stores: self.stores.clone(),
            apis: apis.collect(),
        }
    }

    pub(crate) fn api_addresses(&self) -> Vec<String> {
        self.apis.iter().map(|api| format!("{api}:6443")).collect()
    }

    /// For the API server on `machine`, which asks the member of its own process first, where there is one.
    pub(crate) fn store_addresses(&self, machine: &str) -> Vec<String> {
        let mut stores = self.stores.clone();
        stores.sort_by_key(|store| *store != machine);
        stores.iter().map(|store| format!("{store}:2379")).collect()
    }
}

pub(crate) fn token(machine: &str, role: Role) -> String {
    format!("{machine}/{role:?}")
}

fn client(servers: &[&str], token: String) -> ClientConfig {
    ClientConfig {
        servers: servers.iter().map(|server| format!("{server}:6443")).collect(),
        ca_pem: None,
        user_agent: format!("{token} simulated"),
        credentials: Credentials::Token(token),
    }
}
