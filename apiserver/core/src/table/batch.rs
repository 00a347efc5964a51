//! Jobs and cron jobs.

use super::access::{NONE, condition, containers, flag, label_selector, name, number, size, text};
use super::age::{age, human_duration, since};
use super::{AGE, Printer, integer, name as name_column, text as column, wide};
use jiff::Timestamp;
use serde_json::Value;

pub const JOBS: Printer = Printer {
    columns: &[
        name_column(),
        column("Status"),
        column("Completions"),
        column("Duration"),
        AGE,
        wide("Containers"),
        wide("Images"),
        wide("Selector"),
    ],
    cells: |object, now| {
        let (names, images) = containers(object, "/spec/template/spec/containers");
        vec![
            name(object),
            status(object).into(),
            completions(object).into(),
            duration(object, now).into(),
            age(object, now),
            names.into(),
            images.into(),
            label_selector(object, "/spec/selector").into(),
        ]
    },
};

pub const CRON_JOBS: Printer = Printer {
    columns: &[
        name_column(),
        column("Schedule"),
        column("Timezone"),
        column("Suspend"),
        integer("Active"),
        column("Last Schedule"),
        AGE,
        wide("Containers"),
        wide("Images"),
        wide("Selector"),
    ],
    cells: |object, now| {
        let (names, images) = containers(object, "/spec/jobTemplate/spec/template/spec/containers");
        let last = match text(object, "/status/lastScheduleTime") {
            "" => NONE.to_owned(),
            _ => since(object, "/status/lastScheduleTime", now),
        };
        let zone = super::access::text_or(object, "/spec/timeZone", NONE);
        vec![
            name(object),
            text(object, "/spec/schedule").into(),
            zone.into(),
            if flag(object, "/spec/suspend") {
                "True"
            } else {
                "False"
            }
            .into(),
            size(object, "/status/active").into(),
            last.into(),
            age(object, now),
            names.into(),
            images.into(),
            label_selector(object, "/spec/jobTemplate/spec/selector").into(),
        ]
    },
};

fn status(job: &Value) -> &'static str {
    let holds = |kind| condition(job, kind) == Some("True");
    if holds("Complete") {
        "Complete"
    } else if holds("Failed") {
        "Failed"
    } else if job.pointer("/metadata/deletionTimestamp").is_some() {
        "Terminating"
    } else if holds("Suspended") {
        "Suspended"
    } else if holds("FailureTarget") {
        "FailureTarget"
    } else if holds("SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    }
}

fn completions(job: &Value) -> String {
    let done = number(job, "/status/succeeded");
    match job.pointer("/spec/completions").and_then(Value::as_i64) {
        Some(wanted) => format!("{done}/{wanted}"),
        None => match number(job, "/spec/parallelism") {
            parallelism if parallelism > 1 => format!("{done}/1 of {parallelism}"),
            _ => format!("{done}/1"),
        },
    }
}

fn duration(job: &Value, now: Timestamp) -> String {
    let time = |pointer| text(job, pointer).parse::<Timestamp>().ok();
    match (time("/status/startTime"), time("/status/completionTime")) {
        (None, _) => String::new(),
        (Some(start), end) => human_duration(end.unwrap_or(now).as_second() - start.as_second()),
    }
}
