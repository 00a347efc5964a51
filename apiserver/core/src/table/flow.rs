//! API priority and fairness.

use super::access::{NONE, list, name, number, plain, text};
use super::age::age;
use super::{AGE, Printer, integer, name as name_column, text as column};
use serde_json::Value;

pub const SCHEMAS: Printer = Printer {
    columns: &[
        name_column(),
        column("PriorityLevel"),
        integer("MatchingPrecedence"),
        column("DistinguisherMethod"),
        AGE,
        column("MissingPL"),
    ],
    cells: |object, now| {
        let missing = list(object, "/status/conditions")
            .iter()
            .find(|c| text(c, "/type") == "Dangling");
        vec![
            name(object),
            text(object, "/spec/priorityLevelConfiguration/name").into(),
            number(object, "/spec/matchingPrecedence").into(),
            super::access::text_or(object, "/spec/distinguisherMethod/type", NONE).into(),
            age(object, now),
            missing.map_or("?", |c| text(c, "/status")).into(),
        ]
    },
};

pub const LEVELS: Printer = Printer {
    columns: &[
        name_column(),
        column("Type"),
        column("NominalConcurrencyShares"),
        column("Queues"),
        column("HandSize"),
        column("QueueLengthLimit"),
        AGE,
    ],
    cells: |object, now| {
        let of = |pointer: &str| -> Value {
            object
                .pointer(pointer)
                .map_or_else(|| NONE.to_owned(), plain)
                .into()
        };
        vec![
            name(object),
            text(object, "/spec/type").into(),
            of("/spec/limited/nominalConcurrencyShares"),
            of("/spec/limited/limitResponse/queuing/queues"),
            of("/spec/limited/limitResponse/queuing/handSize"),
            of("/spec/limited/limitResponse/queuing/queueLengthLimit"),
            age(object, now),
        ]
    },
};
