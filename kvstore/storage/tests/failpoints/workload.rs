//! What a member does to its disk, without the member: appends to the log, syncs, applies, compacts, cuts
//! the log; and the check of what is left of it.
//!
//! Everything follows from the number of the step, so the state after any step can be built again.

use bytes::Bytes;
use kvstore_core::{Command, Meta, Overlay, Space, apply, compaction_step, state_hash};
use kvstore_storage::{Engine, MemoryDisk, RaftLog, StorageError};
use prost::Message as _;
use proto::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, LeaseGrantRequest, LeaseRevokeRequest, PutRequest,
};
use proto::raftpb::{Entry, LeaderId, LogId, Vote, entry::Payload};
use std::sync::Arc;
use std::time::Duration;

/// Where the workload notes how far it has applied.
const APPLIED: &[u8] = b"applied";

/// The command of log entry `index`, from 1 on.
fn command(index: u64) -> Command {
    let key = Bytes::from(format!("key/{}", index * 7 % 13));
    let mut command = Command::default();
    match index % 10 {
        3 => {
            command.delete_range = Some(DeleteRangeRequest {
                key,
                ..DeleteRangeRequest::default()
            });
        }
        5 => {
            command.lease_grant = Some(LeaseGrantRequest {
                id: index.cast_signed(),
                ttl: 60,
            });
        }
        7 => {
            command.lease_revoke = Some(LeaseRevokeRequest {
                id: index.cast_signed() - 12,
            });
        }
        9 => {
            command.compaction = Some(CompactionRequest {
                revision: index.cast_signed() / 2,
                physical: false,
            });
        }
        kind => {
            command.put = Some(PutRequest {
                key,
                value: vec![b'v'; (index % 40) as usize * 10].into(),
                lease: if kind == 6 { index.cast_signed() - 1 } else { 0 },
                ..PutRequest::default()
            });
        }
    }
    command
}

fn entry(index: u64) -> Entry {
    Entry {
        id: Some(LogId { term: 1, index }),
        payload: Some(Payload::Command(command(index).encode_to_vec().into())),
    }
}

fn apply_one(engine: &dyn Engine, index: u64) -> Result<(), StorageError> {
    let batch = {
        let view = engine.view();
        let mut state = Overlay::new(&*view);
        apply(&mut state, &command(index))?;
        state.put(Space::Meta, APPLIED, index.to_be_bytes().to_vec());
        state.into_batch()
    };
    engine.write(&batch)
}

/// How far the state on `engine` is.
pub fn applied(engine: &dyn Engine) -> Result<u64, StorageError> {
    let applied = engine.view().get(Space::Meta, APPLIED)?;
    Ok(applied.map_or(0, |bytes| {
        u64::from_be_bytes(bytes.as_ref().try_into().expect("eight bytes"))
    }))
}

/// Runs the steps from `from` to `to`, like a member that is alone: logged, synced, applied. Calls
/// `acknowledge` when an entry is durable.
pub fn run(
    engine: &Arc<dyn Engine>,
    (from, to): (u64, u64),
    acknowledge: &mut dyn FnMut(u64),
) -> Result<(), StorageError> {
    let log = RaftLog::new(Arc::clone(engine));
    if from == 1 {
        log.save_vote(Vote {
            leader: Some(LeaderId { term: 1, node: 1 }),
            committed: true,
        })?;
    }
    for index in from..=to {
        log.append([entry(index)])?;
        // Some entries are applied before they are durable, as those of a leader with followers are.
        let early = index % 4 == 0;
        if early {
            apply_one(&**engine, index)?;
        }
        engine.sync()?;
        acknowledge(index);
        if !early {
            apply_one(&**engine, index)?;
        }
        if index % 3 == 0 {
            let step = compaction_step(&*engine.view(), 2)?;
            if !step.batch.is_empty() {
                engine.write(&step.batch)?;
            }
        }
        if index % 8 == 0 {
            log.purge(LogId {
                term: 1,
                index: index - 6,
            })?;
        }
    }
    Ok(())
}

/// Opens where `run` left off: applies what is in the log and not in the state.
pub fn recover(engine: &Arc<dyn Engine>) -> Result<u64, StorageError> {
    let log = RaftLog::new(Arc::clone(engine));
    let last = log.last()?.or(log.purged()?).map_or(0, |id| id.index);
    for index in applied(&**engine)? + 1..=last {
        apply_one(&**engine, index)?;
    }
    Ok(last)
}

/// Holds a reopened engine to what `run` was told: `acknowledged` is the last entry that was.
pub fn check(engine: &Arc<dyn Engine>, acknowledged: u64) {
    let log = RaftLog::new(Arc::clone(engine));
    let purged = log.purged().expect("reads").map_or(0, |id| id.index);
    let entries = log.read(0, u64::MAX, usize::MAX).expect("the log is whole");
    let last = entries
        .last()
        .map_or(purged, |entry| entry.id.expect("has one").index);
    assert!(
        last >= acknowledged,
        "{acknowledged} was acknowledged, the log ends at {last}"
    );
    let first = entries
        .first()
        .map_or(last + 1, |entry| entry.id.expect("has one").index);
    assert!(
        first <= purged + 1,
        "the log begins at {first}, was cut at {purged}"
    );
    let expected: Vec<Entry> = (first..=last).map(entry).collect();
    assert_eq!(entries, expected, "the log has no hole");
    let applied = applied(&**engine).expect("reads");
    assert!(applied <= last, "{applied} is applied, the log ends at {last}");
    assert!(
        applied >= purged,
        "{applied} is applied, the log was cut at {purged}"
    );
    if acknowledged > 0 {
        let vote = log.vote().expect("reads").expect("was saved before any entry");
        assert!(vote.committed);
    }
    same_as_rebuilt(&**engine, applied);
    let last = recover(engine).expect("works again");
    same_as_rebuilt(&**engine, last);
}

/// The state on `engine` is what applying the first `applied` entries gives.
fn same_as_rebuilt(engine: &dyn Engine, applied: u64) {
    let twin = MemoryDisk::new().open(Duration::ZERO);
    for index in 1..=applied {
        apply_one(&twin, index).expect("memory works");
    }
    let hash = |engine: &dyn Engine| state_hash(&*engine.view(), &mut || true).expect("reads");
    assert_eq!(
        Meta::read(&*engine.view()).expect("reads"),
        Meta::read(&*twin.view()).expect("reads"),
        "after {applied} entries"
    );
    assert_eq!(hash(engine), hash(&twin), "after {applied} entries");
}
