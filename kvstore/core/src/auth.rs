//! Users, roles and what they may do (etcd `server/auth/store.go`, `server/etcdserver/apply/auth.go`).
//!
//! Invariants:
//! - Users and roles are part of the replicated state. Every change of them is a command and makes a new
//!   auth revision; only enabling does not, as in etcd.
//! - A command carries who proposed it and at which auth revision, and is judged when it is applied, against
//!   the state it is applied to. So members agree on what was refused.
//! - A password comes in hashed. A token is never state: the server makes it and remembers it.

mod gate;
mod intervals;
mod judge;
mod management;
mod record;
mod rights;

pub use gate::{Gate, RightsCache};
pub use judge::{Identity, Judge};
pub use management::{credentials, role_permissions, run};
pub use record::{AuthState, KeptAuth, User, auth_state, restore_auth, role_names, user, user_names};

#[cfg(test)]
mod tests;
