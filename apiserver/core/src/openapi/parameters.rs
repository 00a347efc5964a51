//! Query parameters of operations.

/// One parameter.
pub(super) struct Parameter {
    pub name: &'static str,
    /// `string`, `boolean`, `integer`
    pub ty: &'static str,
    pub description: &'static str,
}

const fn parameter(name: &'static str, ty: &'static str, description: &'static str) -> Parameter {
    Parameter {
        name,
        ty,
        description,
    }
}

pub(super) const PRETTY: Parameter =
    parameter("pretty", "string", "If 'true', the output is pretty printed.");

pub(super) const LIST: [Parameter; 10] = [
    parameter(
        "allowWatchBookmarks",
        "boolean",
        "Asks a watch for bookmark events.",
    ),
    parameter(
        "continue",
        "string",
        "The token of a previous page, to get the next one.",
    ),
    parameter(
        "fieldSelector",
        "string",
        "Restricts the objects by their fields. Defaults to everything.",
    ),
    parameter(
        "labelSelector",
        "string",
        "Restricts the objects by their labels. Defaults to everything.",
    ),
    parameter("limit", "integer", "The largest number of objects in one page."),
    parameter("resourceVersion", "string", "How recent the objects have to be."),
    parameter(
        "resourceVersionMatch",
        "string",
        "How resourceVersion is applied to a list.",
    ),
    parameter(
        "sendInitialEvents",
        "boolean",
        "Starts a watch with the objects that exist, then a bookmark.",
    ),
    parameter("timeoutSeconds", "integer", "The longest duration of the call."),
    parameter("watch", "boolean", "Watches for changes instead of listing."),
];

const DRY_RUN: Parameter = parameter("dryRun", "string", "With 'All', nothing is persisted.");

pub(super) const WRITE: [Parameter; 3] = [
    DRY_RUN,
    parameter(
        "fieldManager",
        "string",
        "The name of the actor that makes the changes.",
    ),
    parameter(
        "fieldValidation",
        "string",
        "What to do with unknown and duplicate fields: Ignore, Warn (the default) or Strict.",
    ),
];

pub(super) const FORCE: Parameter = parameter(
    "force",
    "boolean",
    "Takes conflicting fields from other managers. Only for apply patches.",
);

pub(super) const DELETE: [Parameter; 5] = [
    DRY_RUN,
    parameter(
        "gracePeriodSeconds",
        "integer",
        "Seconds before the object is deleted.",
    ),
    parameter(
        "ignoreStoreReadErrorWithClusterBreakingPotential",
        "boolean",
        "Deletes an object that cannot be read from the store.",
    ),
    parameter(
        "orphanDependents",
        "boolean",
        "Deprecated: use propagationPolicy.",
    ),
    parameter(
        "propagationPolicy",
        "string",
        "What becomes of dependents: Orphan, Background or Foreground.",
    ),
];
