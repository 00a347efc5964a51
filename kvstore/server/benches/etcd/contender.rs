//! A cluster under load: processes that can be measured, killed and started again.

use super::load;
use super::member;
use proto::etcdserverpb::StatusRequest;
use proto::etcdserverpb::maintenance_client::MaintenanceClient;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use support::Env;
use test_ports::free_address;

/// Whose members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Etcd,
    Ours,
}

struct Place {
    name: String,
    folder: PathBuf,
    client: String,
    peer: String,
}

pub struct Contender {
    pub kind: Kind,
    _folder: tempfile::TempDir,
    places: Vec<Place>,
    children: Vec<Option<Child>>,
}

impl Drop for Contender {
    fn drop(&mut self) {
        for child in self.children.iter_mut().flatten() {
            // It may have died by itself; either way it's gone after.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Contender {
    /// Starts members and waits until they take writes.
    pub async fn start(kind: Kind, members: usize) -> Self {
        // Beside the build output: a real disk, where `/tmp` may be memory.
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let places: Vec<Place> = (1..=members)
            .map(|number| Place {
                name: format!("m{number}"),
                folder: folder.path().join(format!("m{number}")),
                client: free_address(),
                peer: free_address(),
            })
            .collect();
        let mut contender = Self {
            kind,
            _folder: folder,
            children: places.iter().map(|_| None).collect(),
            places,
        };
        for member in 0..members {
            contender.start_member(member);
        }
        contender.ready().await;
        contender
    }

    pub fn start_member(&mut self, member: usize) {
        let place = &self.places[member];
        let mut command = match self.kind {
            Kind::Etcd => {
                let (client, peer) = (
                    format!("http://{}", place.client),
                    format!("http://{}", place.peer),
                );
                let cluster: Vec<String> = self
                    .places
                    .iter()
                    .map(|place| format!("{}=http://{}", place.name, place.peer))
                    .collect();
                let mut command = Command::new("etcd");
                command
                    .env("ETCD_UNSUPPORTED_ARCH", std::env::consts::ARCH)
                    .args(["--name", &place.name, "--log-level", "error"])
                    .args(["--quota-backend-bytes", "17179869184"])
                    .arg("--data-dir")
                    .arg(&place.folder)
                    .args([
                        "--listen-client-urls",
                        &client,
                        "--advertise-client-urls",
                        &client,
                    ])
                    .args([
                        "--listen-peer-urls",
                        &peer,
                        "--initial-advertise-peer-urls",
                        &peer,
                    ])
                    .args(["--initial-cluster", &cluster.join(",")]);
                command
            }
            Kind::Ours => {
                let mut command = Command::new(std::env::current_exe().unwrap());
                command
                    .env("TRIREME_LOG", "warn")
                    .args([member::COMMAND, &place.name])
                    .arg(&place.folder)
                    .arg(&place.client);
                if self.places.len() > 1 {
                    for place in &self.places {
                        command.arg(format!("{}={}", place.name, place.peer));
                    }
                } else {
                    command.arg(format!("{}=", place.name));
                }
                command
            }
        };
        let child = command
            .stdout(Stdio::null())
            .stderr(if std::env::var_os("BENCH_LOGS").is_some() {
                Stdio::inherit()
            } else {
                Stdio::null()
            })
            .spawn()
            .expect("the member starts (etcd is Debian's etcd-server)");
        self.children[member] = Some(child);
    }

    pub fn kill_member(&mut self, member: usize) {
        let mut child = self.children[member].take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub fn members(&self) -> usize {
        self.places.len()
    }

    pub fn address(&self, member: usize) -> &str {
        &self.places[member].client
    }

    /// Client addresses of the members that run.
    pub fn addresses(&self) -> Vec<String> {
        let running = self.places.iter().zip(&self.children);
        running
            .filter(|(_, child)| child.is_some())
            .map(|(place, _)| place.client.clone())
            .collect()
    }

    /// Every member answers a write.
    pub async fn ready(&self) {
        for address in self.addresses() {
            let deadline = Instant::now() + Duration::from_secs(120);
            while load::client(&address).put(load::put_request(0, 8)).await.is_err() {
                assert!(Instant::now() < deadline, "{address} doesn't answer");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }

    pub async fn leader(&self) -> usize {
        loop {
            for (member, place) in self.places.iter().enumerate() {
                if self.children[member].is_none() {
                    continue;
                }
                let channel = support::grpc_channel(&Env::production(), &place.client, None);
                if let Ok(status) = MaintenanceClient::new(channel).status(StatusRequest {}).await {
                    let status = status.into_inner();
                    if status
                        .header
                        .is_some_and(|header| header.member_id == status.leader)
                    {
                        return member;
                    }
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn pids(&self) -> impl Iterator<Item = u32> + '_ {
        self.children.iter().flatten().map(Child::id)
    }

    /// User and system time of all members so far.
    pub fn processor_seconds(&self) -> f64 {
        self.pids()
            .map(|pid| {
                let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
                let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
                let ticks = |at: usize| fields.get(at).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
                // The 14th and 15th field, a hundred a second on Linux.
                (ticks(11) + ticks(12)) / 100.0
            })
            .sum()
    }

    /// Resident memory of all members, in MiB.
    pub fn resident_mib(&self) -> f64 {
        self.pids()
            .map(|pid| {
                let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
                let line = status.lines().find(|line| line.starts_with("VmRSS:"));
                let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
                kib.unwrap_or(0.0) / 1024.0
            })
            .sum()
    }
}
