//! Logs: one line an event, filtered by `TRIREME_LOG` (default [`INFO`]).

mod etcd_format;
mod outputs;

use etcd_format::EtcdFormat;
use outputs::Outputs;
use std::io;
use std::path::PathBuf;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::FormatTime;

/// What raft says of a member that can't be reached, dozens of times a second; the store says it itself, once. For the end
/// of a filter.
pub const SILENCED: &str = "openraft::replication=error,openraft::core::heartbeat=error,\
                            openraft::engine::handler::replication_handler=error";

/// The filter for level `info`, of which raft has dozens of lines for an election.
pub const INFO: &str = "info,openraft=warn";

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    #[default]
    Text,
    Json,
    /// JSON with etcd's keys: `level`, `ts`, `caller`, `msg`, then the event's own.
    Etcd,
}

/// Where log lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    Stderr,
    Stdout,
    /// Appended to.
    File(PathBuf),
}

/// What is logged, how and where.
#[derive(Debug, Clone)]
pub struct Logging {
    pub format: Format,
    /// In the syntax of `TRIREME_LOG`, which counts more.
    pub filter: String,
    pub outputs: Vec<Output>,
}

impl Default for Logging {
    fn default() -> Self {
        Self {
            format: Format::Text,
            filter: format!("{INFO},{SILENCED}"),
            outputs: vec![Output::Stderr],
        }
    }
}

/// Installs the process-wide subscriber, which writes to standard error. A second call is ignored: the
/// first one wins.
pub fn init(format: Format) {
    let logging = Logging {
        format,
        ..Logging::default()
    };
    init_with(&logging).expect("standard error needs no opening");
}

/// As [`init`], with every choice.
///
/// # Errors
/// When a file can't be opened.
pub fn init_with(logging: &Logging) -> io::Result<()> {
    let filter = EnvFilter::try_from_env("TRIREME_LOG").unwrap_or_else(|_| EnvFilter::new(&logging.filter));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(Outputs::open(&logging.outputs)?)
        .with_ansi(false)
        .with_timer(Rfc3339);
    // An error means that a subscriber is already there, which is what we want.
    let _already_set = match logging.format {
        Format::Text => builder.try_init(),
        Format::Json => builder.json().try_init(),
        Format::Etcd => builder.event_format(EtcdFormat).try_init(),
    };
    Ok(())
}

struct Rfc3339;

impl FormatTime for Rfc3339 {
    fn format_time(&self, w: &mut tracing_subscriber::fmt::format::Writer<'_>) -> std::fmt::Result {
        write!(w, "{:.6}", jiff::Timestamp::now())
    }
}
