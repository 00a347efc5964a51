//! How long the streams of watches take to hand on what they have (etcd `server/etcdserver/api/v3rpc/watch.go`,
//! `sendLoop`). A client that reads slowly shows here.

use super::build::{Builder, DISK};
use prometheus::Histogram;
use std::time::Duration;

pub struct WatchingMetrics {
    messages: Histogram,
    per_event: Histogram,
    answers: Histogram,
    progress: Histogram,
}

impl WatchingMetrics {
    pub fn new(builder: &Builder) -> Self {
        let histogram = |name: &str, help: &str| {
            let name = format!("etcd_debugging_server_watch_send_loop_{name}");
            builder.histogram(&name, help, DISK)
        };
        Self {
            messages: histogram(
                "watch_stream_duration_seconds",
                "The total duration in seconds of running through the send loop watch stream response all events.",
            ),
            per_event: histogram(
                "watch_stream_duration_per_event_seconds",
                "The average duration in seconds of running through the send loop watch stream response, per event.",
            ),
            answers: histogram(
                "control_stream_duration_seconds",
                "The total duration in seconds of running through the send loop control stream response.",
            ),
            progress: histogram(
                "progress_duration_seconds",
                "The total duration in seconds of running through the progress loop control stream response.",
            ),
        }
    }

    /// A message with events was handed on.
    pub fn sent(&self, events: usize, took: Duration) {
        self.messages.observe(took.as_secs_f64());
        if events > 0 {
            self.per_event.observe(took.as_secs_f64() / events as f64);
        }
    }

    /// A request to begin or to end a watch was answered.
    pub fn answered(&self, took: Duration) {
        self.answers.observe(took.as_secs_f64());
    }

    /// The idle watchers of a stream were given notice.
    pub fn noticed(&self, took: Duration) {
        self.progress.observe(took.as_secs_f64());
    }
}
