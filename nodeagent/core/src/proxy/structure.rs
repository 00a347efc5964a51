//! The fixed shapes: one map and one chain for each number of endpoints and way of choosing among them.

use std::fmt::Write as _;

/// Marks connections whose source must become the node's: their clients are outside of the cluster.
pub(super) const MASQUERADE_MARK: u32 = 0x4000;
/// Clients that one affinity map remembers; the oldest are forgotten first.
const AFFINITY_CLIENTS: usize = 65_535;

/// What the packet's destination is matched by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Match {
    /// Address, protocol and port of a Service.
    Address,
    /// Protocol and port on any address of the node.
    NodePort,
}

/// How one endpoint is chosen among `endpoints`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Structure {
    pub(super) by: Match,
    pub(super) endpoints: usize,
    /// Seconds that a client stays with its endpoint; `None` chooses anew for each connection.
    pub(super) affinity: Option<u32>,
    pub(super) masquerade: bool,
}

impl Structure {
    pub(super) fn chain(self) -> String {
        let by = match self.by {
            Match::Address => "addr",
            Match::NodePort => "port",
        };
        let affinity = self
            .affinity
            .map_or_else(String::new, |seconds| format!("_a{seconds}"));
        let masquerade = if self.masquerade { "_m" } else { "" };
        format!("{by}{}{affinity}{masquerade}", self.endpoints)
    }

    /// The map from a frontend and an index to an endpoint.
    pub(super) fn endpoint_map(self) -> String {
        match (self.by, self.affinity) {
            (Match::Address, None) => format!("ep{}", self.endpoints),
            (Match::NodePort, None) => format!("npep{}", self.endpoints),
            // Keyed by mark, whose type doesn't depend on the number of endpoints; index from 1, as an
            // unset mark is 0.
            (Match::Address, Some(_)) => "epmark".to_owned(),
            (Match::NodePort, Some(_)) => "npepmark".to_owned(),
        }
    }

    /// The index of the first endpoint.
    pub(super) fn first_index(self) -> usize {
        usize::from(self.affinity.is_some())
    }

    fn destination(self) -> &'static str {
        match self.by {
            Match::Address => "ip daddr . meta l4proto . th dport",
            Match::NodePort => "meta l4proto . th dport",
        }
    }

    /// Statements that add the structure to `table`; sent once for each.
    pub(super) fn definition(self, table: &str) -> String {
        let mut out = String::new();
        let (chain, map, destination, count) = (
            self.chain(),
            self.endpoint_map(),
            self.destination(),
            self.endpoints,
        );
        // Writing to a String can't fail.
        let _ = match self.affinity {
            None => writeln!(
                out,
                "add map ip {table} {map} {{ typeof {destination} . numgen random mod {count} : ip daddr . th dport; }}"
            ),
            Some(_) => writeln!(
                out,
                "add map ip {table} {map} {{ typeof {destination} . meta mark : ip daddr . th dport; }}"
            ),
        };
        let _ = writeln!(out, "add chain ip {table} {chain}");
        let mut rule = |text: String| {
            let _ = writeln!(out, "add rule ip {table} {chain} {text}");
        };
        if self.masquerade {
            rule(format!("ct mark set {MASQUERADE_MARK:#x}"));
        }
        let Some(seconds) = self.affinity else {
            rule(format!(
                "dnat ip to {destination} . numgen random mod {count} map @{map}"
            ));
            return out;
        };
        let clients = format!(
            "clients_{}_{seconds}",
            match self.by {
                Match::Address => "addr",
                Match::NodePort => "port",
            }
        );
        let client = match self.by {
            Match::Address => "ip saddr . ip daddr . th dport",
            Match::NodePort => "ip saddr . th dport",
        };
        rule(format!("meta mark set {client} map @{clients}"));
        rule(format!("dnat ip to {destination} . meta mark map @{map}"));
        rule(format!("meta mark set numgen random mod {count} offset 1"));
        rule(format!("update @{clients} {{ {client} : meta mark }}"));
        rule(format!("dnat ip to {destination} . meta mark map @{map}"));
        format!(
            "add map ip {table} {clients} {{ typeof {client} : meta mark; flags dynamic,timeout; timeout {seconds}s; \
             size {AFFINITY_CLIENTS}; }}\n{out}"
        )
    }
}
