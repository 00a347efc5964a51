//! What is done with the bytes.

use bytes::Bytes;
use kvstore_core::{
    Batch, Command, KeyRange, Overlay, PageLimits, Space, alarms, apply, check_txn, compaction_step, hash_kv,
    history_page, lease_keys, leases, member_attributes, range, state_hash,
};
use kvstore_storage::{
    Engine, MemoryDisk, MemoryEngine, RaftLog, StagedState, StorageError, decode_entry, each_state_chunk,
};
use prost::Message as _;
use proto::etcdserverpb::{
    AlarmRequest, CompactionRequest, DeleteRangeRequest, LeaseGrantRequest, LeaseRevokeRequest, PutRequest,
    RangeRequest, TxnRequest,
};
use proto::raftpb::StateRecord;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// One of each kind.
pub fn commands(put: PutRequest, txn: TxnRequest) -> Vec<Command> {
    let key = put.key.clone();
    vec![
        Command {
            lease_grant: Some(LeaseGrantRequest { id: 5, ttl: 60 }),
            ..Command::default()
        },
        Command {
            put: Some(put),
            ..Command::default()
        },
        Command {
            txn: Some(txn),
            ..Command::default()
        },
        Command {
            delete_range: Some(DeleteRangeRequest {
                key,
                ..DeleteRangeRequest::default()
            }),
            ..Command::default()
        },
        Command {
            compaction: Some(CompactionRequest {
                revision: 2,
                physical: false,
            }),
            ..Command::default()
        },
        Command {
            alarm: Some(AlarmRequest {
                action: 1,
                member_id: 3,
                alarm: 1,
            }),
            ..Command::default()
        },
        Command {
            lease_revoke: Some(LeaseRevokeRequest { id: 5 }),
            ..Command::default()
        },
    ]
}

/// A small state with something in every space.
fn state() -> MemoryEngine {
    let engine = MemoryDisk::new().open(Duration::ZERO);
    let put = |key: &'static str, lease| Command {
        put: Some(PutRequest {
            key: key.into(),
            value: key.into(),
            lease,
            ..PutRequest::default()
        }),
        ..Command::default()
    };
    let leased = commands(PutRequest::default(), TxnRequest::default()).swap_remove(0);
    let all = [leased, put("a", 0), put("a/key", 5), put("b\0", 0), put("a", 0)];
    let batch = {
        let view = engine.view();
        let mut state = Overlay::new(&*view);
        for command in &all {
            apply(&mut state, command)
                .expect("readable")
                .reply
                .expect("allowed");
        }
        state.into_batch()
    };
    engine.write(&batch).expect("memory works");
    engine
}

static STATE: LazyLock<MemoryEngine> = LazyLock::new(state);

/// The records of that state.
pub fn real_records() -> Vec<(Space, Vec<u8>, Vec<u8>)> {
    let view = STATE.view();
    let mut records = Vec::new();
    for space in Space::STATE {
        let mut cursor = view.cursor(space);
        cursor.seek(&[]).expect("memory works");
        while let Some((key, value)) = cursor.entry() {
            records.push((space, key.to_vec(), value.to_vec()));
            cursor.advance().expect("memory works");
        }
    }
    records
}

pub fn log_record(bytes: &[u8]) {
    if let Err(error) = decode_entry(9, Bytes::copy_from_slice(bytes)) {
        assert!(!error.to_string().is_empty());
    }
}

/// A vote or a purge bound.
pub fn raft_state(bytes: &[u8]) {
    let engine = Arc::new(MemoryDisk::new().open(Duration::ZERO));
    let mut batch = Batch::default();
    for key in [&b"vote"[..], b"purged"] {
        batch.put(Space::RaftState, key, bytes.to_vec());
    }
    batch.put(Space::Log, bytes.to_vec(), bytes.to_vec());
    engine.write(&batch).expect("memory works");
    let log = RaftLog::new(engine);
    // Either is fine; what matters is that they come back.
    let _ = (
        log.vote(),
        log.purged(),
        log.last(),
        log.read(0, u64::MAX, usize::MAX),
    );
}

/// A command as a client or another member may have written it, past the checks of the services.
pub fn command(bytes: &[u8]) {
    let Ok(command) = Command::decode(bytes) else {
        return;
    };
    if let Some(txn) = &command.txn {
        // What a service refuses never gets into the log.
        if check_txn(txn, 128).is_err() {
            return;
        }
    }
    let view = STATE.view();
    let mut state = Overlay::new(&*view);
    let applied = apply(&mut state, &command).expect("the state itself is whole");
    let engine = MemoryDisk::new().open(Duration::ZERO);
    engine.write(&state.into_batch()).expect("memory works");
    assert!(applied.events.is_empty() || applied.reply.is_ok());
}

/// A record of the state that is damaged, or one that came with a snapshot: everything that reads it.
pub fn state_record(bytes: &[u8]) {
    let Ok(record) = StateRecord::decode(bytes) else {
        return;
    };
    let engine: Arc<dyn Engine> = Arc::new(MemoryDisk::new().open(Duration::ZERO));
    let mut staged = StagedState::begin(Arc::clone(&engine)).expect("memory works");
    each_state_chunk::<StorageError>(&*STATE.view(), |records| staged.add(records)).expect("memory works");
    if staged.add(vec![record]).is_err() {
        // Of a space that isn't state.
        return;
    }
    staged.promote().expect("memory works");
    let view = engine.view();
    let everything = || KeyRange::new(Bytes::from_static(b"\0"), Bytes::from_static(b"\0"));
    for revision in [0, 3] {
        let request = RangeRequest {
            key: everything().start,
            range_end: Bytes::from_static(b"\0"),
            revision,
            ..RangeRequest::default()
        };
        let _ = range(&*view, &request);
    }
    let limits = PageLimits {
        revisions: 100,
        bytes: 1 << 20,
    };
    let _ = history_page(&*view, &everything(), (1, 10), true, limits);
    let _ = (
        leases(&*view),
        lease_keys(&*view, 5),
        alarms(&*view),
        member_attributes(&*view),
    );
    let _ = (hash_kv(&*view, 0, &mut || true), state_hash(&*view, &mut || true));
    for command in commands(
        PutRequest {
            key: "a".into(),
            ..PutRequest::default()
        },
        TxnRequest::default(),
    ) {
        let mut state = Overlay::new(&*view);
        let _ = apply(&mut state, &command);
    }
    let mut compact = Overlay::new(&*view);
    let command = Command {
        compaction: Some(CompactionRequest {
            revision: 4,
            physical: false,
        }),
        ..Command::default()
    };
    let _ = apply(&mut compact, &command);
    let batch = compact.into_batch();
    drop(view);
    engine.write(&batch).expect("memory works");
    let _ = compaction_step(&*engine.view(), 100);
}
