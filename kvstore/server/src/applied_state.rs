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

#[cfg(test)]
mod tests {
    use super::{read, write};
    use kvstore_core::{APPLIED_KEY, Batch, Overlay, Space};
    use kvstore_storage::{Engine as _, MemoryDisk};
    use proto::raftpb::{Applied, LogId, Membership, StoredMembership, Voters};
    use std::time::Duration;

    #[test]
    fn a_damaged_record_is_refused_or_read_and_never_panics() {
        let engine = MemoryDisk::new().open(Duration::ZERO);
        let applied = Applied {
            log_id: Some(LogId { term: 3, index: 700 }),
            membership: Some(StoredMembership {
                log_id: None,
                membership: Some(Membership {
                    configs: vec![Voters { ids: vec![1, 2, 3] }],
                    ..Membership::default()
                }),
            }),
        };
        let view = engine.view();
        let mut state = Overlay::new(&*view);
        write(&mut state, &applied);
        let batch = state.into_batch();
        drop(view);
        engine.write(&batch).unwrap();
        assert_eq!(read(&*engine.view()).unwrap(), applied);
        let record = engine.view().get(Space::Meta, APPLIED_KEY).unwrap().unwrap();
        let mut refused = 0;
        for at in 0..record.len() {
            for bit in 0..8 {
                let mut damaged = record.to_vec();
                damaged[at] ^= 1 << bit;
                let mut batch = Batch::default();
                batch.put(Space::Meta, APPLIED_KEY, damaged);
                engine.write(&batch).unwrap();
                if let Err(error) = read(&*engine.view()) {
                    assert!(error.to_string().contains("corrupt record in meta"), "{error}");
                    refused += 1;
                }
            }
        }
        assert!(refused > 0);
    }
}
