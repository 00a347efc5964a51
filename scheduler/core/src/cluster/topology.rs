//! The values of one node label, as small numbers: counting by topology becomes indexing.

use super::NodeSlot;
use std::collections::BTreeMap;

/// The number of a node without the label.
pub const NO_VALUE: u32 = u32::MAX;

#[derive(Debug, Default)]
pub struct Topology {
    ids: BTreeMap<String, u32>,
    of_node: Vec<u32>,
}

impl Topology {
    /// The number of the node's value, or [`NO_VALUE`].
    pub fn of(&self, node: NodeSlot) -> u32 {
        self.of_node.get(node).copied().unwrap_or(NO_VALUE)
    }

    /// Numbers are below this.
    #[allow(clippy::len_without_is_empty, reason = "nobody asks")]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    pub(super) fn set(&mut self, node: NodeSlot, value: Option<&str>) {
        if self.of_node.len() <= node {
            self.of_node.resize(node + 1, NO_VALUE);
        }
        self.of_node[node] = match value {
            None => NO_VALUE,
            Some(value) => match self.ids.get(value) {
                Some(&id) => id,
                None => {
                    let id = u32::try_from(self.ids.len()).unwrap_or(NO_VALUE - 1);
                    self.ids.insert(value.to_owned(), id);
                    id
                }
            },
        };
    }
}
