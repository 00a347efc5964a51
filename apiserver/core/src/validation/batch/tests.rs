use serde_json::{Value, json};

use super::{cron_job_create, job, job_update};
use crate::field_error::ErrorList;
use crate::strategy::built_in;
use crate::tree;

fn texts(errors: ErrorList) -> Vec<String> {
    errors.into_iter().map(|error| error.to_string()).collect()
}

fn new_job(spec: Value) -> Value {
    let mut job = json!({"metadata": {"name": "j", "uid": "u"}, "spec": {"template": {"spec":
        {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}});
    for (field, value) in spec.as_object().unwrap() {
        match field.as_str() {
            "restartPolicy" => job["spec"]["template"]["spec"]["restartPolicy"] = value.clone(),
            field => job["spec"][field] = value.clone(),
        }
    }
    let strategy = built_in("batch", "jobs");
    strategy.default(&mut job);
    strategy.prepare_for_create(&mut job);
    job
}

#[test]
fn problems_of_jobs_read_as_upstream() {
    assert_eq!(texts(job(&new_job(json!({})))), Vec::<String>::new());
    let cases = [
        (
            json!({"restartPolicy": "Always"}),
            "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"",
        ),
        (
            json!({"parallelism": -1}),
            "spec.parallelism: Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            json!({"completionMode": "Indexed", "parallelism": 1}),
            "spec.completions: Required value: when completion mode is Indexed",
        ),
        (
            json!({"maxFailedIndexes": 1, "backoffLimitPerIndex": 1, "completionMode": "Indexed"}),
            "",
        ),
        (
            json!({"podFailurePolicy": {"rules": [{"action": "FailJob", "onExitCodes":
                {"operator": "In", "values": [0]}}]}}),
            "spec.podFailurePolicy.rules[0].onExitCodes.values[0]: Invalid value: 0: must not be 0 for the In operator",
        ),
        (
            json!({"completionMode": "Indexed", "completions": 5, "successPolicy": {"rules":
                [{"succeededIndexes": "0,2-3", "succeededCount": 4}]}}),
            "spec.successPolicy.rules[0].succeededCount: Invalid value: 4: must be less than or equal to 3 (the \
             number of indexes in the specified succeededIndexes field)",
        ),
        (
            json!({"completionMode": "Indexed", "completions": 5, "successPolicy": {"rules":
                [{"succeededIndexes": "3-2"}]}}),
            "spec.successPolicy.rules[0].succeededIndexes: Invalid value: \"3-2\": error parsing succeededIndexes: \
             non-increasing order, previous: -1, current: 3",
        ),
    ];
    for (spec, expected) in cases {
        let expected: &[&str] = if expected.is_empty() { &[] } else { &[expected] };
        assert_eq!(texts(job(&new_job(spec.clone()))), expected, "{spec}");
    }
}

#[test]
fn a_job_keeps_its_template_unless_it_waits_to_start() {
    let old = new_job(json!({"suspend": true}));
    let mut new = old.clone();
    new["spec"]["template"]["spec"]["nodeSelector"] = json!({"a": "b"});
    new["spec"]["suspend"] = json!(false);
    assert_eq!(texts(job_update(&new, &old)), Vec::<String>::new());
    let mut started = old.clone();
    started["status"] = json!({"startTime": "2026-01-01T00:00:00Z"});
    let errors = texts(job_update(&new, &started));
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(
        errors[0].starts_with("spec.template: Invalid value: "),
        "{errors:?}"
    );
    assert!(errors[0].ends_with(": field is immutable"), "{errors:?}");
    new["spec"]["template"] = old["spec"]["template"].clone();
    new["spec"]["completions"] = json!(7);
    assert_eq!(
        texts(job_update(&new, &old)),
        ["spec.completions: Invalid value: 7: field is immutable"]
    );
}

#[test]
fn problems_of_cron_jobs_read_as_upstream() {
    let cron = |field: &str, value: Value| {
        let mut object = json!({"metadata": {"name": "c"}, "spec": {"schedule": "* * * * *", "jobTemplate":
            {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}}}});
        match field {
            "name" => tree::set(&mut object, &["metadata", "name"], value),
            field => object["spec"][field] = value,
        }
        built_in("batch", "cronjobs").default(&mut object);
        texts(cron_job_create(&object))
    };
    assert_eq!(cron("suspend", json!(true)), Vec::<String>::new());
    let cases = [
        (
            "schedule",
            json!("* * * *"),
            "spec.schedule: Invalid value: \"* * * *\": expected exactly 5 fields, found 4: [* * * *]",
        ),
        ("schedule", json!(""), "spec.schedule: Required value"),
        (
            "schedule",
            json!("TZ=UTC * * * * *"),
            "spec.schedule: Invalid value: \"TZ=UTC * * * * *\": cannot use TZ or CRON_TZ in schedule, use timeZone \
             field instead",
        ),
        (
            "timeZone",
            json!("Local"),
            "spec.timeZone: Invalid value: \"Local\": timeZone must be an explicit time zone as defined in \
             https://www.iana.org/time-zones",
        ),
        (
            "concurrencyPolicy",
            json!("Maybe"),
            "spec.concurrencyPolicy: Unsupported value: \"Maybe\": supported values: \"Allow\", \"Forbid\", \"Replace\"",
        ),
    ];
    for (field, value, expected) in cases {
        assert_eq!(cron(field, value), [expected]);
    }
    let long = "a".repeat(53);
    assert_eq!(
        cron("name", json!(long)),
        [format!(
            "metadata.name: Invalid value: \"{long}\": must be no more than 52 characters"
        )]
    );
}
