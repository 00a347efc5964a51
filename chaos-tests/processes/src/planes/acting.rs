//! Who schedules and who controls: as the leases of both say.

use crate::faults::{Acting, Duty};
use chaos_store::stage::{Board, Stage};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Client;
use kube::api::Api;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// How often the leases are read.
const LOOK: Duration = Duration::from_millis(150);
const CALL: Duration = Duration::from_secs(1);
const LEASES: [(&str, Duty); 2] = [
    ("kube-scheduler", Duty::Schedule),
    ("kube-controller-manager", Duty::Control),
];

/// Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Seen(Arc<Mutex<Acting>>);

impl Seen {
    /// With the leader of the store, which the board knows.
    pub fn with(&self, board: &Board, names: &[&'static str]) -> Acting {
        let mut acting = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let leader = board.leader();
        let place = leader.and_then(|leader| names.iter().position(|name| *name == leader));
        acting.extend(place.map(|place| (Duty::LeadStore, place)));
        acting
    }

    fn note(&self, duty: Duty, place: Option<usize>) {
        let mut acting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match place {
            Some(place) => acting.insert(duty, place),
            None => acting.remove(&duty),
        };
    }
}

/// Looks until the run is over. What can't be read stays as it was.
pub async fn look(client: Client, names: Vec<&'static str>, board: Board, seen: Seen) {
    let leases: Api<Lease> = Api::namespaced(client, "kube-system");
    while board.stage() < Stage::Done {
        for (name, duty) in LEASES {
            if let Ok(Ok(Some(lease))) = timeout(CALL, leases.get_opt(name)).await {
                let holder = lease
                    .spec
                    .and_then(|spec| spec.holder_identity)
                    .unwrap_or_default();
                // Candidates call themselves by the host's name and something unique.
                let host = holder.rsplit_once('_').map_or("", |(host, _)| host);
                seen.note(duty, names.iter().position(|name| *name == host));
            }
        }
        sleep(LOOK).await;
    }
}
