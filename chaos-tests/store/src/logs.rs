//! Logs with simulated times, so that two runs of one seed can be compared line by line.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

struct SimTime;

impl FormatTime for SimTime {
    fn format_time(&self, w: &mut Writer<'_>) -> std::fmt::Result {
        write!(w, "{:>10.3?}", turmoil::sim_elapsed().unwrap_or_default())
    }
}

/// Filtered by `TRIREME_LOG`, default `info`.
pub fn log_to_stderr() {
    let filter = EnvFilter::try_from_env("TRIREME_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_timer(SimTime)
        .init();
}
