//! Bytes from disk and network that are not what they should be: every decoder says so, none panics.
//!
//! The targets are plain functions of bytes, as a coverage-guided fuzzer wants them; here they are fed with
//! random bytes and with damaged copies of real ones, from a fixed seed.

#[path = "decoders/targets.rs"]
mod targets;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use prost::Message as _;
use proto::etcdserverpb::{PutRequest, RequestOp, TxnRequest, request_op};
use proto::raftpb::{Entry, LogId, StateRecord, entry::Payload};

/// How a real message is damaged.
#[derive(Debug, Clone)]
enum Damage {
    Flip(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Insert(prop::sample::Index, Vec<u8>),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        3 => (any::<prop::sample::Index>(), 0_u8..8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        1 => any::<prop::sample::Index>().prop_map(Damage::Cut),
        1 => (any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 1..6))
            .prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
    ]
}

fn damaged(mut bytes: Vec<u8>, damages: &[Damage]) -> Vec<u8> {
    for damage in damages {
        match damage {
            Damage::Flip(at, bit) if !bytes.is_empty() => {
                let at = at.index(bytes.len());
                bytes[at] ^= 1 << bit;
            }
            Damage::Flip(..) => {}
            Damage::Cut(at) => bytes.truncate(at.index(bytes.len() + 1)),
            Damage::Insert(at, more) => {
                let at = at.index(bytes.len() + 1);
                bytes.splice(at..at, more.iter().copied());
            }
        }
    }
    bytes
}

/// Feeds `target` with damaged copies of `real`, and with noise.
fn feed(real: &[Vec<u8>], target: fn(&[u8])) {
    let config = Config {
        cases: 600,
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]));
    let noise = prop::collection::vec(any::<u8>(), 0..80);
    let input = prop_oneof![
        3 => (prop::sample::select(real.to_vec()), prop::collection::vec(damage(), 0..4))
            .prop_map(|(bytes, damages)| damaged(bytes, &damages)),
        1 => noise,
    ];
    let outcome = runner.run(&input, |bytes| {
        target(&bytes);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

fn put() -> PutRequest {
    PutRequest {
        key: "a/key".into(),
        value: vec![0xfe; 20].into(),
        lease: 5,
        ..PutRequest::default()
    }
}

fn commands() -> Vec<Vec<u8>> {
    let txn = TxnRequest {
        success: vec![RequestOp {
            request: Some(request_op::Request::RequestPut(put())),
        }],
        ..TxnRequest::default()
    };
    targets::commands(put(), txn)
        .iter()
        .map(prost::Message::encode_to_vec)
        .collect()
}

#[test]
fn records_of_the_log() {
    let real: Vec<Vec<u8>> = commands()
        .into_iter()
        .map(|command| {
            let entry = Entry {
                id: Some(LogId { term: 3, index: 9 }),
                payload: Some(Payload::Command(command.into())),
            };
            kvstore_storage::encode_entry(&entry).to_vec()
        })
        .collect();
    feed(&real, targets::log_record);
}

#[test]
fn commands_of_clients() {
    feed(&commands(), targets::command);
}

#[test]
fn records_of_the_state() {
    let mut real = Vec::new();
    for (space, key, value) in targets::real_records() {
        let record = StateRecord {
            space: space.number() as u32,
            key: key.into(),
            value: value.into(),
        };
        real.push(record.encode_to_vec());
    }
    feed(&real, targets::state_record);
}

#[test]
fn votes_and_purge_bounds() {
    let vote = proto::raftpb::Vote {
        leader: Some(proto::raftpb::LeaderId { term: 1, node: 2 }),
        committed: true,
    };
    feed(
        &[vote.encode_to_vec(), LogId { term: 1, index: 2 }.encode_to_vec()],
        targets::raft_state,
    );
}
