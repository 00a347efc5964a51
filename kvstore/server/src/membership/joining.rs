//! How a fresh folder becomes a member: it founds its cluster with others as fresh, or is admitted to a
//! running one.

use super::desk::Desk;
use super::founding::{Prospect, Step, next_step};
use super::peer_urls::parse_peer_urls;
use crate::config::{ClusterPeer, InitialState, MemberConfig};
use crate::identity::{cluster_id, member_id};
use crate::member::MemberError;
use crate::peers::Peers;
use futures::future::join_all;
use kvstore_core::Refusal;
use proto::raftpb::{
    AdmitRequest, AdmitResponse, DescribeRequest, DescribeResponse, Founder, Identity, Member, Standing,
};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;
use tonic::Code;

/// Another member gets this long to say who it is.
const DESCRIBE_PATIENCE: Duration = Duration::from_secs(1);
/// A leader gets this long to admit a member: it may have to reach a quorum first.
const ADMIT_PATIENCE: Duration = Duration::from_secs(10);
/// Those who could found the cluster without the rest wait for it so long.
const FOUNDING_PATIENCE: Duration = Duration::from_secs(1);
/// How often the others are asked.
const RETRY: Duration = Duration::from_millis(50);
/// How often it is said what is waited for.
const COMPLAIN: Duration = Duration::from_secs(5);

/// The place that the configuration gives this member.
struct Place {
    cluster: u64,
    /// If it founds the cluster.
    member: u64,
    name: String,
    /// Sorted.
    peer_urls: Vec<String>,
    /// All of the initial cluster, this member included.
    initial: Vec<Member>,
}

impl Place {
    fn of(config: &MemberConfig) -> Result<Self, MemberError> {
        let refuse = |text: String| Err(MemberError::Config(text));
        let name = &config.name;
        let mut initial = Vec::new();
        let mut urls = BTreeSet::new();
        for peer in &config.initial_cluster {
            let peer_urls = if config.initial_cluster.len() == 1 && peer.peer_urls.is_empty() {
                Vec::new()
            } else {
                parse_peer_urls(&peer.peer_urls).map_err(|_| {
                    let urls = &peer.peer_urls;
                    MemberError::Config(format!(
                        "the peer URLs of {:?} in the initial cluster are invalid: {urls:?}",
                        peer.name
                    ))
                })?
            };
            if let Some(twice) = peer_urls.iter().find(|url| !urls.insert((*url).clone())) {
                return refuse(format!("initial cluster has duplicate url: {twice}"));
            }
            let peer = ClusterPeer {
                name: peer.name.clone(),
                peer_urls,
            };
            initial.push(Member {
                id: member_id(&config.cluster_token, &peer),
                name: peer.name,
                peer_urls: peer.peer_urls,
                ..Member::default()
            });
        }
        let Some(myself) = initial.iter().find(|member| member.name == *name) else {
            return refuse(format!("the initial cluster doesn't name this member, {name:?}"));
        };
        if !config.peer_advertise.is_empty() && !same_urls(&config.peer_advertise, &myself.peer_urls) {
            return refuse(format!(
                "the initial cluster gives {name:?} other peer URLs than it advertises: {:?}, {:?}",
                myself.peer_urls, config.peer_advertise
            ));
        }
        if config.initial_cluster.len() > 1 && config.all_peer_listeners().is_empty() {
            return refuse("a cluster of several members needs a peer listener".to_owned());
        }
        Ok(Self {
            cluster: cluster_id(&config.cluster_token, &config.initial_cluster),
            member: myself.id,
            name: name.clone(),
            peer_urls: myself.peer_urls.clone(),
            initial,
        })
    }

    fn others(&self) -> impl Iterator<Item = &Member> {
        self.initial.iter().filter(|member| member.id != self.member)
    }

    fn founder(&self, founders: Vec<Founder>, incarnation: u64) -> Identity {
        Identity {
            incarnation,
            standing: Standing::Founder.into(),
            cluster: self.cluster,
            member: self.member,
            initial: self.initial.clone(),
            founders,
            ..Identity::default()
        }
    }
}

fn same_urls(urls: &[String], sorted: &[String]) -> bool {
    let mut urls = urls.to_vec();
    urls.sort_unstable();
    urls == sorted
}

/// Checks that the configuration gives a fresh folder a place; gives the cluster's id and the member's, if it
/// founds the cluster.
///
/// # Errors
/// When the configuration contradicts itself.
pub fn place_of(config: &MemberConfig) -> Result<(u64, u64), MemberError> {
    Place::of(config).map(|place| (place.cluster, place.member))
}

/// Finds the place of a fresh folder; ends when it has one, durably.
///
/// # Errors
/// When the configuration contradicts itself or the cluster, or the disk fails.
pub async fn take_place(config: &MemberConfig, peers: &Peers, desk: &Desk) -> Result<Identity, MemberError> {
    let place = Place::of(config)?;
    let incarnation = desk.identity().incarnation;
    let identity = match config.initial_state {
        InitialState::New => found_or_rejoin(&place, incarnation, peers).await?,
        InitialState::Existing => {
            let patience = config.request_timeout();
            join(&place, incarnation, peers, patience).await?
        }
    };
    desk.become_member(identity.clone())?;
    Ok(identity)
}

async fn found_or_rejoin(place: &Place, incarnation: u64, peers: &Peers) -> Result<Identity, MemberError> {
    let mut prospect = Prospect {
        cluster: place.cluster,
        member: place.member,
        incarnation,
        size: place.initial.len(),
        patience_over: false,
    };
    let mut complained = Instant::now();
    let mut enough_since = None;
    loop {
        let answers = describe_others(place, peers).await;
        let waiting_for = match next_step(&prospect, &answers) {
            Step::Found(founders) => return Ok(place.founder(founders, incarnation)),
            Step::AskAdmission => {
                if let Some(admitted) = ask_admission(place, incarnation, &answers, peers).await {
                    return admitted_as(place, incarnation, admitted);
                }
                "the cluster runs already; its leader is asked to admit this member"
            }
            Step::Wait => "too few of the initial cluster answer",
            Step::WaitForAll => {
                let since = *enough_since.get_or_insert_with(Instant::now);
                prospect.patience_over = since.elapsed() >= FOUNDING_PATIENCE;
                "some of the initial cluster don't answer"
            }
        };
        if complained.elapsed() >= COMPLAIN {
            complained = Instant::now();
            tracing::warn!(answers = answers.len(), "not a member yet: {waiting_for}");
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn join(
    place: &Place,
    incarnation: u64,
    peers: &Peers,
    patience: Duration,
) -> Result<Identity, MemberError> {
    let deadline = Instant::now() + patience;
    loop {
        let answers = describe_others(place, peers).await;
        let running = answers.iter().find(|answer| !answer.members.is_empty());
        let problem = match running.map(|answer| matches_cluster(place, &answer.members)) {
            None => {
                "cannot fetch cluster info from peer urls: could not retrieve cluster information from the \
                     given URLs"
                    .to_owned()
            }
            Some(Err(problem)) => format!("error validating peerURLs: {problem}"),
            Some(Ok(())) => {
                if let Some(admitted) = ask_admission(place, incarnation, &answers, peers).await {
                    return admitted_as(place, incarnation, admitted);
                }
                "the leader hasn't admitted this member in time".to_owned()
            }
        };
        // Who answered may not have heard of the newest changes yet.
        if Instant::now() >= deadline {
            return Err(MemberError::Config(problem));
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// As etcd's `ValidateClusterAndAssignIDs`. One that has been here before, and has lost its folder, comes back by
/// the command that it was always started with, whoever has come and gone since.
fn matches_cluster(place: &Place, members: &[Member]) -> Result<(), String> {
    let comes_back = members.iter().any(|member| {
        // A founder has had its name from the start, one added since was let in with a folder.
        let was_here = !member.name.is_empty() || member.incarnation != 0;
        was_here && same_urls(&member.peer_urls, &place.peer_urls)
    });
    if comes_back {
        return Ok(());
    }
    if members.len() != place.initial.len() {
        return Err(format!(
            "member count is unequal: the cluster has {}, the initial cluster {}",
            members.len(),
            place.initial.len()
        ));
    }
    for member in members {
        let known = place
            .initial
            .iter()
            .any(|initial| same_urls(&member.peer_urls, &initial.peer_urls));
        if !known {
            return Err(format!(
                "PeerURLs: no match found for existing member ({:x}, {:?})",
                member.id, member.peer_urls
            ));
        }
    }
    Ok(())
}

fn admitted_as(place: &Place, incarnation: u64, answer: AdmitResponse) -> Result<Identity, MemberError> {
    if answer.refusal.is_empty() {
        return Ok(Identity {
            incarnation,
            standing: Standing::Admitted.into(),
            cluster: answer.cluster,
            member: answer.member,
            ..Identity::default()
        });
    }
    let reason = if Refusal::from_text(&answer.refusal) == Some(Refusal::MemberNotFound) {
        "none of its members has these peer URLs: add one first".to_owned()
    } else {
        answer.refusal
    };
    Err(MemberError::Config(format!(
        "the cluster runs and doesn't admit {:?} with {:?}: {reason}",
        place.name, place.peer_urls
    )))
}

/// What the others say of themselves; who doesn't answer is left out.
async fn describe_others(place: &Place, peers: &Peers) -> Vec<DescribeResponse> {
    let asked = place.others().map(|member| async move {
        for url in &member.peer_urls {
            let mut client = peers.membership_at(url);
            let describe = client.describe(DescribeRequest { from: 0 });
            match tokio::time::timeout(DESCRIBE_PATIENCE, describe).await {
                Ok(Ok(answer)) => return Some(answer.into_inner()),
                Ok(Err(status)) => tracing::debug!(url, %status, "asking a member who it is"),
                Err(_) => tracing::debug!(url, "asking a member who it is: no answer"),
            }
        }
        None
    });
    join_all(asked).await.into_iter().flatten().collect()
}

/// Asks whoever is said to lead, else everybody; `None`: nobody has decided.
async fn ask_admission(
    place: &Place,
    incarnation: u64,
    answers: &[DescribeResponse],
    peers: &Peers,
) -> Option<AdmitResponse> {
    let leading = answers.iter().flat_map(|answer| {
        let leader = answer.members.iter().filter(|member| member.id == answer.leader);
        leader.flat_map(|member| member.peer_urls.clone())
    });
    let mut urls: Vec<String> = leading.collect();
    urls.extend(place.others().flat_map(|member| member.peer_urls.clone()));
    let mut asked = BTreeSet::new();
    for url in urls {
        if place.peer_urls.contains(&url) || !asked.insert(url.clone()) {
            continue;
        }
        let request = AdmitRequest {
            name: place.name.clone(),
            peer_urls: place.peer_urls.clone(),
            incarnation,
        };
        let mut client = peers.membership_at(&url);
        match tokio::time::timeout(ADMIT_PATIENCE, client.admit(request)).await {
            Ok(Ok(answer)) => return Some(answer.into_inner()),
            Ok(Err(status)) if status.code() == Code::FailedPrecondition => {}
            Ok(Err(status)) => tracing::debug!(url, %status, "asking to be admitted"),
            Err(_) => tracing::debug!(url, "asking to be admitted: no answer"),
        }
    }
    None
}
