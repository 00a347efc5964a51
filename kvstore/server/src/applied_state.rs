//! How far the log has been applied, kept with the state itself.

use bytes::Bytes;
use kvstore_core::{APPLIED_KEY, Overlay, Read, ReadError, Space};
use prost::Message as _;
use proto::raftpb::Applied;

/// What `view` has applied; the default in an empty store.
pub fn read(view: &dyn Read) -> Result<Applied, ReadError> {
    match view.get(Space::Meta, APPLIED_KEY)? {
        None => Ok(Applied::default()),
        Some(bytes) => Applied::decode(bytes).map_err(|error| ReadError::corrupt(Space::Meta, error)),
    }
}

/// Records it in the same batch as what was applied.
pub fn write(state: &mut Overlay<'_>, applied: &Applied) {
    state.put(Space::Meta, APPLIED_KEY, Bytes::from(applied.encode_to_vec()));
}
