//! The command line.

use crate::client::{ConnectError, ConnectOptions};
use crate::inspect::{self, InspectError};
use crate::print::{self, WriteOut};
use crate::restore::{self, RestoreError, RestoreOptions};
use crate::save::{self, SaveError, SaveOptions};
use clap::{Args, Subcommand};
use std::path::PathBuf;
use support::Env;

/// Backups of the store, in etcd's snapshot file format.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Save a backup of a member's state to a file
    Save(Save),
    /// Say what a backup holds
    Status(Status),
    /// Restore a backup into the data folder of a member of a new cluster
    Restore(Restore),
    /// Hash the history in a backup, as etcd's `HashKV` does
    Hashkv(HashKv),
}

#[derive(Debug, Clone, Args)]
pub struct Save {
    /// The file to write
    pub file: PathBuf,
    /// Client address of the member, one: a backup is of one member's state
    #[arg(long, default_value = "127.0.0.1:2379", env = "ETCDCTL_ENDPOINTS")]
    pub endpoints: String,
    /// Certificate of the authority that the member is to be known by
    #[arg(long, value_name = "FILE", env = "ETCDCTL_CACERT")]
    pub cacert: Option<PathBuf>,
    /// This client's certificate
    #[arg(long, value_name = "FILE", env = "ETCDCTL_CERT", requires = "key")]
    pub cert: Option<PathBuf>,
    /// Its private key
    #[arg(long, value_name = "FILE", env = "ETCDCTL_KEY", requires = "cert")]
    pub key: Option<PathBuf>,
    /// `name[:password]` of a user with the role root
    #[arg(long, env = "ETCDCTL_USER")]
    pub user: Option<String>,
    /// The user's password, when it doesn't stand behind the name
    #[arg(long, env = "ETCDCTL_PASSWORD", hide_env_values = true, requires = "user")]
    pub password: Option<String>,
}

#[derive(Debug, Clone, Args)]
pub struct Status {
    pub file: PathBuf,
    #[arg(short, long, value_enum, default_value_t)]
    pub write_out: WriteOut,
}

#[derive(Debug, Clone, Args)]
pub struct HashKv {
    pub file: PathBuf,
    /// Up to which revision; 0 is the newest
    #[arg(long, default_value_t = 0)]
    pub rev: i64,
    #[arg(short, long, value_enum, default_value_t)]
    pub write_out: WriteOut,
}

#[derive(Debug, Clone, Args)]
pub struct Restore {
    pub file: PathBuf,
    /// The folder to make; `NAME.etcd` when not given
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,
    /// Name of the member
    #[arg(long, default_value = "default")]
    pub name: String,
    /// `name=peer-url,…` of all members of the new cluster
    #[arg(long, default_value = "default=http://localhost:2380")]
    pub initial_cluster: String,
    /// Tells clusters with the same peer URLs apart
    #[arg(long, default_value = "etcd-cluster")]
    pub initial_cluster_token: String,
    /// Peer URLs of this member, as the initial cluster has them
    #[arg(long, default_value = "http://localhost:2380", value_delimiter = ',')]
    pub initial_advertise_peer_urls: Vec<String>,
    /// Take a file without a checksum (a copy from a data folder), or with a wrong one
    #[arg(long)]
    pub skip_hash_check: bool,
    /// How much to raise the newest revision, so that clients never see one go back
    #[arg(long, default_value_t = 0)]
    pub bump_revision: u64,
    /// Let everything up to the raised revision count as compacted; goes with --bump-revision
    #[arg(long)]
    pub mark_compacted: bool,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Save(#[from] SaveError),
    #[error(transparent)]
    Inspect(#[from] InspectError),
    #[error(transparent)]
    Restore(#[from] RestoreError),
}

/// Runs a command; its answer goes to standard output.
///
/// # Errors
/// The command's own.
pub async fn run(command: Command, env: &Env) -> Result<(), CommandError> {
    match command {
        Command::Save(options) => {
            let connect = ConnectOptions {
                endpoint: options.endpoints,
                cacert: options.cacert,
                identity: options.cert.zip(options.key),
                user: options.user,
                password: options.password,
            };
            let options = SaveOptions { file: options.file };
            let client = connect.client(env).await?;
            let saved = save::save(client, &options).await?;
            println!("Snapshot saved at {}", options.file.display());
            if !saved.version.is_empty() {
                println!("Server version {}", saved.version);
            }
        }
        Command::Status(options) => {
            let status = inspect::snapshot_status(&options.file)?;
            print!("{}", print::status(&status, options.write_out));
        }
        Command::Hashkv(options) => {
            let hash = inspect::history_hash(&options.file, options.rev)?;
            print!("{}", print::history_hash(&hash, options.write_out));
        }
        Command::Restore(options) => {
            let data_dir = options
                .data_dir
                .unwrap_or_else(|| PathBuf::from(format!("{}.etcd", options.name)));
            let restored = restore::restore(&RestoreOptions {
                file: options.file,
                data_dir: data_dir.clone(),
                name: options.name,
                initial_cluster: options.initial_cluster,
                initial_cluster_token: options.initial_cluster_token,
                peer_urls: options.initial_advertise_peer_urls,
                skip_hash_check: options.skip_hash_check,
                bump_revision: options.bump_revision,
                mark_compacted: options.mark_compacted,
            })?;
            println!(
                "restored revision {} into {}: member {:x} of cluster {:x}",
                restored.revision,
                data_dir.display(),
                restored.member,
                restored.cluster
            );
        }
    }
    Ok(())
}
