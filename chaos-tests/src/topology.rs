//! The topologies of the design, as lists of machines.

use std::fmt;

/// What runs on a machine, as one process; or alone on it, when the roles live apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Store,
    Api,
    Scheduler,
    Controllers,
    Agent,
}

/// How a cluster is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topology {
    /// One machine does everything.
    AllInOne,
    /// One control plane with its store, and nodes.
    Single,
    /// One control plane, its store elsewhere, and nodes.
    SingleExternal,
    /// So many control planes, each with a member of the store.
    HaStacked(usize),
    /// So many control planes, and as many members elsewhere.
    HaExternal(usize),
    /// Every process on a machine of its own: three members, and two of everything else.
    Apart,
}

impl Topology {
    pub const ALL: [Self; 8] = [
        Self::AllInOne,
        Self::Single,
        Self::SingleExternal,
        Self::HaStacked(3),
        Self::HaStacked(5),
        Self::HaExternal(3),
        Self::HaExternal(5),
        Self::Apart,
    ];

    /// # Errors
    /// When there is no topology of this name; the known ones are listed.
    pub fn parse(text: &str) -> Result<Self, String> {
        let found = Self::ALL
            .into_iter()
            .find(|topology| topology.to_string() == text);
        found.ok_or_else(|| {
            let known: Vec<String> = Self::ALL.iter().map(ToString::to_string).collect();
            format!("`{text}` is no topology; known are {}", known.join(" "))
        })
    }

    /// The machines, with what runs on each; `nodes` is how many agents there are where the topology leaves
    /// that open.
    pub fn machines(self, nodes: usize) -> Vec<Machine> {
        use Role::{Agent, Api, Controllers, Scheduler, Store};
        let plane = [Api, Scheduler, Controllers];
        let stacked = [Store, Api, Scheduler, Controllers];
        let mut machines = Vec::new();
        let mut add = |kind: &str, count: usize, roles: &[Role]| {
            for number in 1..=count {
                machines.push(Machine {
                    name: format!("{kind}-{number}").leak(),
                    roles: roles.to_vec(),
                });
            }
        };
        match self {
            Self::AllInOne => add("all", 1, &[Store, Api, Scheduler, Controllers, Agent]),
            Self::Single => add("plane", 1, &stacked),
            Self::SingleExternal => {
                add("store", 1, &[Store]);
                add("plane", 1, &plane);
            }
            Self::HaStacked(count) => add("plane", count, &stacked),
            Self::HaExternal(count) => {
                add("store", count, &[Store]);
                add("plane", count, &plane);
            }
            Self::Apart => {
                add("store", 3, &[Store]);
                add("api", 2, &[Api]);
                add("scheduler", 2, &[Scheduler]);
                add("controllers", 2, &[Controllers]);
            }
        }
        if self != Self::AllInOne {
            add("node", nodes, &[Agent]);
        }
        machines
    }
}

impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AllInOne => f.write_str("all-in-one"),
            Self::Single => f.write_str("single"),
            Self::SingleExternal => f.write_str("single-external"),
            Self::HaStacked(count) => write!(f, "ha-stacked-{count}"),
            Self::HaExternal(count) => write!(f, "ha-external-{count}"),
            Self::Apart => f.write_str("apart"),
        }
    }
}

/// A host of the simulation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Hosts live as long as the process, and so do their names.
    pub name: &'static str,
    pub roles: Vec<Role>,
}

impl Machine {
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }
}

/// The names of the machines with a role.
pub fn with_role(machines: &[Machine], role: Role) -> Vec<&'static str> {
    machines
        .iter()
        .filter(|machine| machine.has(role))
        .map(|machine| machine.name)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Role, Topology, with_role};

    #[test]
    fn a_stacked_control_plane_of_three_has_a_member_on_each() {
        let machines = Topology::HaStacked(3).machines(2);
        assert_eq!(
            with_role(&machines, Role::Store),
            ["plane-1", "plane-2", "plane-3"]
        );
        assert_eq!(with_role(&machines, Role::Agent), ["node-1", "node-2"]);
    }

    #[test]
    fn every_name_leads_back_to_its_topology() {
        for topology in Topology::ALL {
            assert_eq!(Topology::parse(&topology.to_string()), Ok(topology));
        }
    }
}
