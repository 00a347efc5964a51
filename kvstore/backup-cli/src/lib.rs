//! Backups as commands: save one from a member, look into it, restore it into a new cluster. What etcd has
//! in `etcdctl snapshot save` and `etcdutl snapshot status|restore`, `etcdutl hashkv`, flags included.
//!
//! Invariants:
//! - A file or a data folder appears under its name only when it is complete.
//! - The folder of a restore is that of a member of a new cluster: nothing of the old one's members is in it.

mod client;
mod command;
mod inspect;
mod print;
mod restore;
mod run;
mod save;

pub use client::{Client, ConnectError, ConnectOptions, Token};
pub use command::{Command, CommandError, run};
pub use inspect::{InspectError, history_hash, snapshot_status};
pub use print::WriteOut;
pub use restore::{RestoreError, RestoreOptions, Restored, restore};
pub use run::main;
pub use save::{SaveError, SaveOptions, Saved, save};
