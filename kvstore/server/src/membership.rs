//! How members come and go: founding a cluster, joining one, and changing who is in it (etcd
//! `server/etcdserver/{bootstrap,cluster_util,server}.go`, `api/membership`).
//!
//! Invariants:
//! - A member takes part in raft only under an identity that its data folder holds durably.
//! - A fresh folder takes part as a founder only if the others that it needs for a quorum are as fresh, or
//!   have seen this very folder fresh; else it asks the leader to be admitted. So a member whose folder
//!   was lost never votes as if it remembered.
//! - The leader changes one thing at a time. A member is given a vote only once it has caught up: adding one
//!   never costs the cluster its quorum.
//! - The id of a removed member never comes back.

mod admission;
mod caretaker;
mod change;
mod changes;
mod desk;
mod founding;
mod joining;
mod peer_urls;
mod probe;
mod reconfiguration;
mod recovery;
mod roster;
mod steadiness;

pub use caretaker::tend;
pub use change::Change;
pub use changes::{Changes, Rules};
pub use desk::{Desk, MembershipService};
pub use joining::{place_of, take_place};
pub use peer_urls::parse_peer_urls;
pub use probe::watch_removal;
pub use recovery::force_new_cluster;
pub use roster::{Roster, record_membership};
