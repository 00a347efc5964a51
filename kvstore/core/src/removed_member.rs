//! Members that were removed from the cluster: their ids never come back (etcd
//! `server/etcdserver/api/membership`, bucket `members_removed`).

use crate::meta;
use crate::overlay::Overlay;
use crate::read::{Read, ReadError, Space};
use bytes::Bytes;

const REMOVED: &[u8] = b"removed_member/";

/// Whether a member of this id was removed.
///
/// # Errors
/// When the store can't be read.
pub fn is_removed_member(view: &dyn Read, id: u64) -> Result<bool, ReadError> {
    Ok(view.get(Space::Meta, &key(id))?.is_some())
}

/// Notes that a member was removed, and forgets what it said about itself.
pub fn remove_member(state: &mut Overlay<'_>, id: u64) {
    state.put(Space::Meta, key(id), Bytes::new());
    meta::delete_member_attributes(state, id);
}

fn key(id: u64) -> Vec<u8> {
    [REMOVED, &id.to_be_bytes()].concat()
}
