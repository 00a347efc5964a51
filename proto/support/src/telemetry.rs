//! Logs: one line an event on standard error, filtered by `TRIREME_LOG` (default `info`).

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::FormatTime;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    #[default]
    Text,
    Json,
}

/// Installs the process-wide subscriber. A second call is ignored: the first one wins.
pub fn init(format: Format) {
    let filter = EnvFilter::try_from_env("TRIREME_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_timer(Rfc3339);
    // An error means that a subscriber is already there, which is what we want.
    let _already_set = match format {
        Format::Text => builder.try_init(),
        Format::Json => builder.json().try_init(),
    };
}

struct Rfc3339;

impl FormatTime for Rfc3339 {
    fn format_time(&self, w: &mut tracing_subscriber::fmt::format::Writer<'_>) -> std::fmt::Result {
        write!(w, "{:.6}", jiff::Timestamp::now())
    }
}
