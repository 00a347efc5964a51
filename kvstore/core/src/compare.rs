//! The conditions of a transaction (etcd `server/etcdserver/txn/txn.go`, `applyCompare`).

use crate::key_range::KeyRange;
use crate::range::range;
use crate::read::{Read, ReadError};
use crate::refusal::Error;
use proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use proto::etcdserverpb::{Compare, RangeRequest};
use proto::mvccpb::KeyValue;
use std::cmp::Ordering;

/// Whether all conditions hold. None hold vacuously: an empty list is true.
pub fn all_hold(view: &dyn Read, compares: &[Compare]) -> Result<bool, ReadError> {
    for compare in compares {
        if !holds(view, compare)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn holds(view: &dyn Read, compare: &Compare) -> Result<bool, ReadError> {
    let range_of = KeyRange::new(compare.key.clone(), compare.range_end.clone());
    let found = if range_of.is_empty() {
        Vec::new()
    } else {
        let request = RangeRequest {
            key: compare.key.clone(),
            range_end: compare.range_end.clone(),
            ..RangeRequest::default()
        };
        match range(view, &request) {
            Ok(response) => response.kvs,
            Err(Error::Refused(_)) => return Ok(false),
            Err(Error::Read(error)) => return Err(error),
        }
    };
    if found.is_empty() {
        // A missing key has no value to compare; its numbers are zero.
        return Ok(compare.target() != CompareTarget::Value && holds_for(compare, &KeyValue::default()));
    }
    Ok(found.iter().all(|kv| holds_for(compare, kv)))
}

/// Numbers that name no target or result are taken as etcd takes them: nothing differs, and nothing is asked.
fn holds_for(compare: &Compare, kv: &KeyValue) -> bool {
    let union = compare.target_union.as_ref();
    let ordering = match CompareTarget::try_from(compare.target) {
        Ok(CompareTarget::Value) => match union {
            Some(TargetUnion::Value(value)) => kv.value.cmp(value),
            _ => kv.value.as_ref().cmp(&[]),
        },
        Ok(CompareTarget::Create) => kv.create_revision.cmp(&match union {
            Some(TargetUnion::CreateRevision(revision)) => *revision,
            _ => 0,
        }),
        Ok(CompareTarget::Mod) => kv.mod_revision.cmp(&match union {
            Some(TargetUnion::ModRevision(revision)) => *revision,
            _ => 0,
        }),
        Ok(CompareTarget::Version) => kv.version.cmp(&match union {
            Some(TargetUnion::Version(version)) => *version,
            _ => 0,
        }),
        Ok(CompareTarget::Lease) => kv.lease.cmp(&match union {
            Some(TargetUnion::Lease(lease)) => *lease,
            _ => 0,
        }),
        Err(_) => Ordering::Equal,
    };
    match CompareResult::try_from(compare.result) {
        Ok(CompareResult::Equal) => ordering == Ordering::Equal,
        Ok(CompareResult::NotEqual) => ordering != Ordering::Equal,
        Ok(CompareResult::Greater) => ordering == Ordering::Greater,
        Ok(CompareResult::Less) => ordering == Ordering::Less,
        Err(_) => true,
    }
}
