//! The same requests to Debian's etcd and to ours: the answers must be the same.

#[path = "differential/limits.rs"]
mod limits;
#[path = "differential/requests.rs"]
mod requests;
#[path = "differential/stores.rs"]
mod stores;
#[path = "differential/watches.rs"]
mod watches;

use super::harness::{runtime, single};
use proto::etcdserverpb::PutRequest;
use requests::{Generator, Step};
pub use stores::Etcd;
use stores::{Answer, Store};
use support::Random;
use tokio::sync::mpsc;

const SEEDS: std::ops::Range<u64> = 0..1500;
const STEPS: usize = 8;
/// After this many seeds the events are compared too.
const EPOCH: u64 = 50;
/// How far ours may be ahead of etcd.
const AHEAD: usize = 64;

/// What ours did; etcd must do the same.
enum Done {
    Step {
        seed: u64,
        number: usize,
        step: Step,
        answer: Answer,
    },
    Events {
        seed: u64,
        from: i64,
        to: i64,
        events: Vec<String>,
    },
}

#[test]
fn answers_equal_those_of_etcd() {
    let etcd = Etcd::start();
    let node = single();
    runtime().block_on(async {
        let mut theirs = Store::at(&etcd.address);
        let ours = Store::at(&node.address);
        theirs.ready().await;
        let (done, mut to_do) = mpsc::channel(AHEAD);
        let going_ahead = tokio::spawn(go_ahead(ours, done));
        while let Some(done) = to_do.recv().await {
            match done {
                Done::Step {
                    seed,
                    number,
                    step,
                    answer,
                } => {
                    let expected = theirs.run(&step).await;
                    assert_eq!(answer, expected, "seed {seed}, step {number}: {step:?}");
                }
                Done::Events {
                    seed,
                    from,
                    to,
                    events,
                } => {
                    let expected = theirs.events(from, to).await;
                    for (at, (got, expected)) in events.iter().zip(&expected).enumerate() {
                        assert_eq!(got, expected, "event {at} from {from}, after seed {seed}");
                    }
                    assert_eq!(events.len(), expected.len(), "from {from}, after seed {seed}");
                }
            }
        }
        going_ahead.await.unwrap();
    });
}

/// Runs all sequences on our store.
async fn go_ahead(mut ours: Store, done: mpsc::Sender<Done>) {
    ours.ready().await;
    let mut generator = Generator {
        random: Random::seeded(0),
        revision: 1,
    };
    let mut kept_from = 1;
    for seed in SEEDS {
        generator.random = Random::seeded(seed);
        for number in 0..=STEPS {
            let step = if number < STEPS {
                generator.step()
            } else if seed % EPOCH == EPOCH - 1 {
                Step::Put(PutRequest {
                    key: "e".into(),
                    ..PutRequest::default()
                })
            } else {
                break;
            };
            let answer = ours.run(&step).await;
            generator.revision = generator.revision.max(answer.1);
            if let Step::Compact(request) = &step
                && answer.1 > 0
            {
                kept_from = kept_from.max(request.revision);
            }
            let step = Done::Step {
                seed,
                number,
                step,
                answer,
            };
            // The other side ends early only with a failure of its own.
            if done.send(step).await.is_err() {
                return;
            }
        }
        if seed % EPOCH == EPOCH - 1 {
            // Older etcd loses tombstones at the compacted revision itself (etcd issue 19179); ours keeps them, as
            // etcd does from 3.6 on.
            let (from, to) = (kept_from + 1, generator.revision);
            let events = ours.events(from, to).await;
            let events = Done::Events {
                seed,
                from,
                to,
                events,
            };
            if done.send(events).await.is_err() {
                return;
            }
        }
    }
}
