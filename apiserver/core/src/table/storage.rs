//! Volumes, claims, classes, CSI, dynamic resource allocation.

use super::access::{NONE, UNSET, condition, entries, flag, list, name, plain, size, text, text_or};
use super::age::age;
use super::{AGE, Column, Printer, integer, name as name_column, text as column, wide};
use serde_json::Value;

/// `Name` and `Age` only.
pub const NAME_AND_AGE: Printer = Printer {
    columns: &[name_column(), AGE],
    cells: |object, now| vec![name(object), age(object, now)],
};

const ATTRIBUTES_CLASS: Column = column("VolumeAttributesClass");

pub const VOLUMES: Printer = Printer {
    columns: &[
        name_column(),
        column("Capacity"),
        column("Access Modes"),
        column("Reclaim Policy"),
        column("Status"),
        column("Claim"),
        column("StorageClass"),
        ATTRIBUTES_CLASS,
        column("Reason"),
        AGE,
        wide("VolumeMode"),
    ],
    cells: |object, now| {
        let claim = match text(object, "/spec/claimRef/name") {
            "" => String::new(),
            claim => format!("{}/{claim}", text(object, "/spec/claimRef/namespace")),
        };
        vec![
            name(object),
            text(object, "/spec/capacity/storage").into(),
            access_modes(object, "/spec/accessModes").into(),
            text(object, "/spec/persistentVolumeReclaimPolicy").into(),
            phase(object).into(),
            claim.into(),
            text(object, "/spec/storageClassName").into(),
            text_or(object, "/spec/volumeAttributesClassName", UNSET).into(),
            text(object, "/status/reason").into(),
            age(object, now),
            text_or(object, "/spec/volumeMode", UNSET).into(),
        ]
    },
};

pub const CLAIMS: Printer = Printer {
    columns: &[
        name_column(),
        column("Status"),
        column("Volume"),
        column("Capacity"),
        column("Access Modes"),
        column("StorageClass"),
        ATTRIBUTES_CLASS,
        AGE,
        wide("VolumeMode"),
    ],
    cells: |object, now| {
        let bound = !text(object, "/spec/volumeName").is_empty();
        let (capacity, modes) = if bound {
            (
                text(object, "/status/capacity/storage"),
                access_modes(object, "/status/accessModes"),
            )
        } else {
            ("", String::new())
        };
        vec![
            name(object),
            phase(object).into(),
            text(object, "/spec/volumeName").into(),
            capacity.into(),
            modes.into(),
            text(object, "/spec/storageClassName").into(),
            text_or(object, "/spec/volumeAttributesClassName", UNSET).into(),
            age(object, now),
            text_or(object, "/spec/volumeMode", UNSET).into(),
        ]
    },
};

pub const CLASSES: Printer = Printer {
    columns: &[
        name_column(),
        column("Provisioner"),
        column("ReclaimPolicy"),
        column("VolumeBindingMode"),
        column("AllowVolumeExpansion"),
        AGE,
    ],
    cells: |object, now| {
        let is_default = [
            "storageclass.kubernetes.io~1is-default-class",
            "storageclass.beta.kubernetes.io~1is-default-class",
        ]
        .iter()
        .any(|key| text(object, &format!("/metadata/annotations/{key}")) == "true");
        let suffix = if is_default { " (default)" } else { "" };
        vec![
            format!("{}{suffix}", text(object, "/metadata/name")).into(),
            text(object, "/provisioner").into(),
            text_or(object, "/reclaimPolicy", "Delete").into(),
            text_or(object, "/volumeBindingMode", "Immediate").into(),
            flag(object, "/allowVolumeExpansion").to_string().into(),
            age(object, now),
        ]
    },
};

pub const ATTRIBUTES_CLASSES: Printer = Printer {
    columns: &[name_column(), column("DriverName"), AGE],
    cells: |object, now| vec![name(object), text(object, "/driverName").into(), age(object, now)],
};

pub const ATTACHMENTS: Printer = Printer {
    columns: &[
        name_column(),
        column("Attacher"),
        column("PV"),
        column("Node"),
        column("Attached"),
        AGE,
    ],
    cells: |object, now| {
        vec![
            name(object),
            text(object, "/spec/attacher").into(),
            text(object, "/spec/source/persistentVolumeName").into(),
            text(object, "/spec/nodeName").into(),
            flag(object, "/status/attached").to_string().into(),
            age(object, now),
        ]
    },
};

pub const CSI_DRIVERS: Printer = Printer {
    columns: &[
        name_column(),
        column("AttachRequired"),
        column("PodInfoOnMount"),
        column("StorageCapacity"),
        column("TokenRequests"),
        column("RequiresRepublish"),
        column("Modes"),
        AGE,
    ],
    cells: |object, now| {
        let attach = object
            .pointer("/spec/attachRequired")
            .and_then(Value::as_bool)
            .unwrap_or(true);
        let audiences: Vec<&str> = list(object, "/spec/tokenRequests")
            .iter()
            .map(|t| text(t, "/audience"))
            .collect();
        let tokens = if audiences.is_empty() {
            UNSET.to_owned()
        } else {
            audiences.join(",")
        };
        let modes: Vec<String> = list(object, "/spec/volumeLifecycleModes")
            .iter()
            .map(plain)
            .collect();
        vec![
            name(object),
            attach.to_string().into(),
            flag(object, "/spec/podInfoOnMount").to_string().into(),
            flag(object, "/spec/storageCapacity").to_string().into(),
            tokens.into(),
            flag(object, "/spec/requiresRepublish").to_string().into(),
            super::access::joined(modes).into(),
            age(object, now),
        ]
    },
};

pub const CSI_NODES: Printer = Printer {
    columns: &[name_column(), integer("Drivers"), AGE],
    cells: |object, now| {
        vec![
            name(object),
            size(object, "/spec/drivers").into(),
            age(object, now),
        ]
    },
};

pub const CSI_CAPACITIES: Printer = Printer {
    columns: &[name_column(), column("StorageClassName"), column("Capacity")],
    cells: |object, _| {
        vec![
            name(object),
            text(object, "/storageClassName").into(),
            text_or(object, "/capacity", UNSET).into(),
        ]
    },
};

pub const RESOURCE_CLAIMS: Printer = Printer {
    columns: &[name_column(), column("State"), AGE],
    cells: |object, now| vec![name(object), claim_state(object).into(), age(object, now)],
};

pub const RESOURCE_SLICES: Printer = Printer {
    columns: &[
        name_column(),
        column("Node"),
        column("Driver"),
        column("Pool"),
        AGE,
    ],
    cells: |object, now| {
        vec![
            name(object),
            text_or(object, "/spec/nodeName", UNSET).into(),
            text(object, "/spec/driver").into(),
            text(object, "/spec/pool/name").into(),
            age(object, now),
        ]
    },
};

fn phase(object: &Value) -> &str {
    if object.pointer("/metadata/deletionTimestamp").is_some() {
        "Terminating"
    } else {
        text(object, "/status/phase")
    }
}

fn access_modes(object: &Value, pointer: &str) -> String {
    let short = |mode: &Value| match mode.as_str() {
        Some("ReadWriteOnce") => "RWO",
        Some("ReadOnlyMany") => "ROX",
        Some("ReadWriteMany") => "RWX",
        Some("ReadWriteOncePod") => "RWOP",
        _ => NONE,
    };
    list(object, pointer)
        .iter()
        .map(short)
        .collect::<Vec<_>>()
        .join(",")
}

fn claim_state(claim: &Value) -> String {
    let mut states = Vec::new();
    if claim.pointer("/metadata/deletionTimestamp").is_some() {
        states.push("deleted");
    }
    let allocated = !entries(claim, "/status/allocation").is_empty();
    let reserved = size(claim, "/status/reservedFor") > 0;
    if !allocated && condition(claim, "Allocated").is_none() {
        states.push("pending");
    } else {
        states.push("allocated");
        if reserved {
            states.push("reserved");
        }
    }
    states.join(",")
}
