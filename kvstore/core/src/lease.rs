//! Leases in the replicated state: grants and the keys attached. When one expires is the leader's
//! business, by a clock that the core does not have.

use crate::key_range::KeyRange;
use crate::mutation::Mutation;
use crate::overlay::Overlay;
use crate::read::{Batch, Read, ReadError, Space};
use crate::refusal::{Error, Refusal};
use bytes::{Buf as _, Bytes};
use proto::mvccpb::Event;

/// The least time to live: smaller wishes are raised (etcd: 1.5 election timeouts, 2 s by default).
pub const MIN_LEASE_TTL: i64 = 2;
/// The greatest (etcd `lease.MaxLeaseTTL`).
pub const MAX_LEASE_TTL: i64 = 9_000_000_000;

/// A granted lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseRecord {
    pub id: i64,
    /// Time to live as granted, in seconds.
    pub ttl: i64,
}

/// What a wish for `ttl` seconds gives.
pub fn effective_ttl(ttl: i64) -> i64 {
    ttl.max(MIN_LEASE_TTL)
}

/// # Errors
/// When the store can't be read.
pub fn lease(view: &dyn Read, id: i64) -> Result<Option<LeaseRecord>, ReadError> {
    view.get(Space::Leases, &id.to_be_bytes())?
        .map(|value| parse(&id.to_be_bytes(), &value))
        .transpose()
}

/// All leases.
///
/// # Errors
/// When the store can't be read.
pub fn leases(view: &dyn Read) -> Result<Vec<LeaseRecord>, ReadError> {
    let mut found = Vec::new();
    let mut cursor = view.cursor(Space::Leases);
    cursor.seek(&[])?;
    while let Some((key, value)) = cursor.entry() {
        found.push(parse(key, value)?);
        cursor.advance()?;
    }
    Ok(found)
}

/// The keys attached to a lease, sorted.
///
/// # Errors
/// When the store can't be read.
pub fn lease_keys(view: &dyn Read, id: i64) -> Result<Vec<Bytes>, ReadError> {
    let prefix = id.to_be_bytes();
    let mut found = Vec::new();
    let mut cursor = view.cursor(Space::LeaseKeys);
    cursor.seek(&prefix)?;
    while let Some((key, _)) = cursor.entry() {
        let Some(key) = key.strip_prefix(&prefix) else {
            break;
        };
        found.push(Bytes::copy_from_slice(key));
        cursor.advance()?;
    }
    Ok(found)
}

/// Grants a lease; gives its time to live.
pub fn grant(state: &mut Overlay<'_>, id: i64, ttl: i64) -> Result<i64, Error> {
    if ttl > MAX_LEASE_TTL {
        return Err(Refusal::LeaseTtlTooLarge.into());
    }
    // A server picks the id before it proposes; zero never gets here.
    if id == 0 {
        return Err(Refusal::LeaseNotFound.into());
    }
    if lease(state, id)?.is_some() {
        return Err(Refusal::LeaseExists.into());
    }
    let ttl = effective_ttl(ttl);
    state.put(
        Space::Leases,
        id.to_be_bytes().to_vec(),
        ttl.to_be_bytes().to_vec(),
    );
    Ok(ttl)
}

/// Deletes a lease and all its keys in one revision, in key order.
pub fn revoke(state: &mut Overlay<'_>, id: i64) -> Result<Vec<Event>, Error> {
    if lease(state, id)?.is_none() {
        return Err(Refusal::LeaseNotFound.into());
    }
    let keys = lease_keys(state, id)?;
    let mut mutation = Mutation::begin(state)?;
    for key in keys {
        mutation.delete(&KeyRange::new(key, Bytes::new()))?;
    }
    let (_, events) = mutation.finish();
    state.delete(Space::Leases, id.to_be_bytes().to_vec());
    Ok(events)
}

pub fn attach(state: &mut Overlay<'_>, id: i64, key: &[u8]) {
    if id != 0 {
        state.put(Space::LeaseKeys, attachment(id, key), Bytes::new());
    }
}

pub fn detach(state: &mut Overlay<'_>, id: i64, key: &[u8]) {
    if id != 0 {
        state.delete(Space::LeaseKeys, attachment(id, key));
    }
}

fn attachment(id: i64, key: &[u8]) -> Vec<u8> {
    [&id.to_be_bytes()[..], key].concat()
}

/// Adds a lease to a state under construction.
pub fn write(batch: &mut Batch, record: LeaseRecord) {
    batch.put(
        Space::Leases,
        record.id.to_be_bytes().to_vec(),
        record.ttl.to_be_bytes().to_vec(),
    );
}

/// Attaches a key in a state under construction.
pub fn attach_in(batch: &mut Batch, id: i64, key: &[u8]) {
    batch.put(Space::LeaseKeys, attachment(id, key), Bytes::new());
}

pub fn parse(mut key: &[u8], mut value: &[u8]) -> Result<LeaseRecord, ReadError> {
    if key.len() != 8 || value.len() != 8 {
        return Err(ReadError::corrupt(Space::Leases, "lease record"));
    }
    Ok(LeaseRecord {
        id: key.get_i64(),
        ttl: value.get_i64(),
    })
}
