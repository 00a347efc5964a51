//! etcd's command line for a member of the store: `etcd FLAGS` becomes `trireme kvstore FLAGS`.
//!
//! Invariants:
//! - Every flag of etcd 3.4 to 3.8 is known. It does what it says, or is logged as having no effect, or is
//!   refused by name with a reason. Nothing that would matter is dropped in silence.
//! - A configuration file counts instead of everything else; a flag counts more than a variable.
//! - What etcd refuses, in whatever combination, is refused here in the same words.
//!
//! Sources: etcd `server/embed/config.go`, `server/etcdmain/config.go`, `pkg/flags`, Go's `flag`.

mod catalogue;
mod command_line;
mod config_file;
mod environment;
mod flag;
mod gateway;
mod help;
mod logging;
mod member;
mod options;
mod readiness;
mod run;
mod settings;
mod transport;
mod url;
mod validation;
mod value;

pub use options::{Options, Refusal};
pub use run::{Surroundings, main, options};
pub use settings::Settings;
pub use url::Url;
