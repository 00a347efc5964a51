//! Request counts and durations in the Prometheus text form.

use crate::http::{Response, bytes_response};
use http::StatusCode;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const BUCKETS: [f64; 10] = [0.005, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 15.0, 60.0];

#[derive(Default)]
pub(crate) struct Metrics {
    requests: Mutex<BTreeMap<(String, String, u16), u64>>,
    durations: Mutex<BTreeMap<(String, String), Histogram>>,
}

#[derive(Default)]
struct Histogram {
    buckets: [u64; BUCKETS.len()],
    count: u64,
    sum: f64,
}

impl Metrics {
    pub(crate) fn observe(&self, verb: &str, resource: &str, code: u16, took: Duration) {
        // Unknown paths share a label: clients must not be able to make new ones.
        let resource = if code == 404 { "" } else { resource };
        let key = (verb.to_owned(), resource.to_owned());
        *lock(&self.requests)
            .entry((key.0.clone(), key.1.clone(), code))
            .or_default() += 1;
        if verb == "watch" {
            return;
        }
        let mut durations = lock(&self.durations);
        let histogram = durations.entry(key).or_default();
        let seconds = took.as_secs_f64();
        histogram.count += 1;
        histogram.sum += seconds;
        for (bucket, bound) in histogram.buckets.iter_mut().zip(BUCKETS) {
            *bucket += u64::from(seconds <= bound);
        }
    }

    pub(crate) fn render(&self) -> Response {
        let mut text = String::from("# TYPE apiserver_request_total counter\n");
        // Writing to a String can't fail.
        for ((verb, resource, code), count) in lock(&self.requests).iter() {
            let _ = writeln!(
                text,
                "apiserver_request_total{{verb={verb:?},resource={resource:?},code=\"{code}\"}} {count}"
            );
        }
        text.push_str("# TYPE apiserver_request_duration_seconds histogram\n");
        for ((verb, resource), histogram) in lock(&self.durations).iter() {
            let labels = format!("verb={verb:?},resource={resource:?}");
            for (count, bound) in histogram.buckets.iter().zip(BUCKETS) {
                let _ = writeln!(
                    text,
                    "apiserver_request_duration_seconds_bucket{{{labels},le=\"{bound}\"}} {count}"
                );
            }
            let _ = writeln!(
                text,
                "apiserver_request_duration_seconds_bucket{{{labels},le=\"+Inf\"}} {0}\n\
                 apiserver_request_duration_seconds_sum{{{labels}}} {1}\n\
                 apiserver_request_duration_seconds_count{{{labels}}} {0}",
                histogram.count, histogram.sum
            );
        }
        bytes_response(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
