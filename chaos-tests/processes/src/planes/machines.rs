//! What runs on each machine of a control plane, as command lines of `trireme`.
//!
//! A machine with a member of the store runs `trireme server`, one process; with the store elsewhere its three roles are
//! three processes, and scheduler and controllers know every API server.

use super::keys::Keys;
use crate::places::{Places, address};
use crate::processes::Launch;
use chaos_tests::{Machine, Role, Topology, with_role};
use std::ffi::OsString;
use std::path::Path;

/// The machines of a control plane, and the nodes beside them.
pub struct Machines {
    pub machines: Vec<Machine>,
    pub nodes: Vec<&'static str>,
}

impl Machines {
    pub fn of(topology: Topology, nodes: usize) -> Self {
        let all = topology.machines(nodes);
        let nodes = with_role(&all, Role::Agent);
        let is_plane = |machine: &Machine| machine.roles.iter().any(|role| *role != Role::Agent);
        Self {
            machines: all.into_iter().filter(is_plane).collect(),
            nodes,
        }
    }

    pub fn names(&self) -> Vec<&'static str> {
        self.machines.iter().map(|machine| machine.name).collect()
    }

    /// The places of the machines with a role.
    pub fn places_of(&self, role: Role) -> Vec<usize> {
        let machines = self.machines.iter().enumerate();
        machines
            .filter(|(_, machine)| machine.has(role))
            .map(|(place, _)| place)
            .collect()
    }

    /// `host:port` of every API server.
    pub fn apis(&self) -> Vec<String> {
        self.addresses(Role::Api, 6443)
    }

    fn addresses(&self, role: Role, port: u16) -> Vec<String> {
        let places = self.places_of(role).into_iter();
        places.map(|place| format!("{}:{port}", address(place))).collect()
    }

    /// The processes of every machine.
    pub fn launches(&self, program: &Path, keys: &Keys, places: &Places) -> Vec<Vec<Launch>> {
        let machines = self.machines.iter().enumerate();
        machines
            .map(|(place, machine)| {
                let lines = self.lines(place, machine, places);
                lines
                    .into_iter()
                    .map(|mut line| {
                        line.extend(["--pki".to_owned(), keys.folder().display().to_string()]);
                        Launch {
                            name: format!("{}-{}", machine.name, line[0]),
                            program: program.into(),
                            words: line.into_iter().map(OsString::from).collect(),
                        }
                    })
                    .collect()
            })
            .collect()
    }

    fn lines(&self, place: usize, machine: &Machine, places: &Places) -> Vec<Vec<String>> {
        let (address, data) = (address(place), places.data(place).display().to_string());
        if machine.has(Role::Store) && machine.has(Role::Api) {
            let mut line = words(
                "server",
                &[("address", &address), ("data", &data), ("name", machine.name)],
            );
            for (place, machine) in self.machines.iter().enumerate() {
                let address = crate::places::address(place);
                line.extend(["--member".to_owned(), format!("{}={address}", machine.name)]);
            }
            return vec![line];
        }
        let servers = repeated("--server", &self.apis());
        let line = |role: &Role| match role {
            Role::Store => Some(self.store(machine.name, &address, &data)),
            Role::Api => {
                let mut line = words("apiserver", &[("address", &address)]);
                line.extend(repeated("--store", &self.addresses(Role::Store, 2379)));
                Some(line)
            }
            Role::Scheduler => Some([vec!["scheduler".to_owned()], servers.clone()].concat()),
            Role::Controllers => Some([vec!["controllers".to_owned()], servers.clone()].concat()),
            Role::Agent => None,
        };
        machine.roles.iter().filter_map(line).collect()
    }

    fn store(&self, name: &str, address: &str, data: &str) -> Vec<String> {
        let (client, peer) = (
            format!("https://{address}:2379"),
            format!("https://{address}:2380"),
        );
        let places = self.places_of(Role::Store).into_iter();
        let members: Vec<String> = places
            .map(|place| {
                format!(
                    "{}=https://{}:2380",
                    self.machines[place].name,
                    crate::places::address(place)
                )
            })
            .collect();
        let flags = [
            ("name", name),
            ("data-dir", data),
            ("listen-client-urls", &client),
            ("advertise-client-urls", &client),
            ("listen-peer-urls", &peer),
            ("initial-advertise-peer-urls", &peer),
            ("initial-cluster", &members.join(",")),
        ];
        words("kvstore", &flags)
    }
}

fn words(role: &str, flags: &[(&str, &str)]) -> Vec<String> {
    let mut words = vec![role.to_owned()];
    for (name, value) in flags {
        words.extend([format!("--{name}"), (*value).to_owned()]);
    }
    words
}

fn repeated(flag: &str, values: &[String]) -> Vec<String> {
    let pairs = values.iter().flat_map(|value| [flag.to_owned(), value.clone()]);
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::Machines;
    use chaos_tests::{Role, Topology};

    #[test]
    fn nodes_are_no_machines_of_the_control_plane() {
        let stacked = Machines::of(Topology::HaStacked(3), 2);
        assert_eq!(stacked.names(), ["plane-1", "plane-2", "plane-3"]);
        assert_eq!(stacked.nodes, ["node-1", "node-2"]);
        let all = Machines::of(Topology::AllInOne, 2);
        assert_eq!((all.names(), all.nodes.clone()), (vec!["all-1"], vec!["all-1"]));
    }

    #[test]
    fn an_external_store_has_places_of_its_own() {
        let external = Machines::of(Topology::HaExternal(3), 1);
        assert_eq!(external.places_of(Role::Store), [0, 1, 2]);
        assert_eq!(
            external.apis(),
            ["10.213.0.4:6443", "10.213.0.5:6443", "10.213.0.6:6443"]
        );
    }
}
