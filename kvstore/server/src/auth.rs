//! Who asks, and what they may do (etcd `server/auth`).
//!
//! Invariants:
//! - While auth is disabled a request pays one atomic load.
//! - A request that only reads is judged by the same view of the state that answers it; one that writes is
//!   judged when it is applied. So no answer shows what its reader might not see at that moment.
//! - Passwords and tokens are never logged; passwords never leave this member unhashed.
//!
//! Users, roles and the judge itself are in `kvstore_core`; here is what needs a clock, randomness or a
//! connection.

mod access;
mod jwt;
mod jwt_key;
mod keeper;
mod origin;
mod passwords;
mod simple_tokens;
mod token_options;

pub use access::{Access, Caller, Settings};
pub use keeper::AuthKeeper;
pub use origin::Origin;
pub use token_options::AuthError;
