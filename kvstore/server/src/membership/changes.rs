//! The leader's changes of the membership, one at a time; and how any member asks for one.

use super::admission::{Verdict, Witness, judge};
use super::change::Change;
use super::reconfiguration::{Voter, is_in_sync, may_add, may_promote, may_remove};
use super::roster::{Roster, RosterMember};
use super::steadiness::Steadiness;
use crate::consensus::{Consensus, Progress, Standing};
use crate::raft::PeerNode;
use crate::status;
use futures::FutureExt as _;
use kvstore_core::{Refusal, is_removed_member};
use openraft::ChangeMembers;
use proto::raftpb::AdmitRequest;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use support::Random;
use tokio::sync::Mutex;
use tonic::{Code, Status};

/// A member that has answered within this time is active.
const ACTIVE: Duration = Duration::from_secs(1);
/// A member may be given a vote when it is at most this many entries behind: it takes a moment to fetch
/// them, and until then the others may have to wait for it.
const LEVEL: u64 = 500;
/// How long a promotion waits for the learner to be level before it leaves that to the caretaker.
const LEVEL_PATIENCE: Duration = Duration::from_secs(1);
const RETRY: Duration = Duration::from_millis(10);

/// What a change must keep to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// The quorum must not be put at risk.
    pub strict: bool,
    pub max_learners: usize,
    /// How long a voter must have been heard from to be counted on.
    pub health_interval: Duration,
}

/// A handle on the membership; cheap to clone.
#[derive(Clone)]
pub struct Changes {
    consensus: Consensus,
    rules: Rules,
    random: Random,
    one_at_a_time: Arc<Mutex<()>>,
    steadiness: Arc<Steadiness>,
}

type Changed<T> = Result<Result<T, Refusal>, Status>;

impl Changes {
    pub fn new(consensus: Consensus, rules: Rules, random: Random) -> Self {
        Self {
            consensus,
            rules,
            random,
            one_at_a_time: Arc::default(),
            steadiness: Arc::new(Steadiness::new(rules.health_interval)),
        }
    }

    pub fn consensus(&self) -> &Consensus {
        &self.consensus
    }

    /// Whether it matters for how long the others have been heard from.
    pub fn observes(&self) -> bool {
        self.steadiness.is_asked_for()
    }

    /// Takes note of who is silent, if this member leads.
    pub fn observe(&self) {
        if self.observes() {
            self.steadiness.observe(&self.consensus.standing(), ACTIVE);
        }
    }

    /// An id that no member has or had.
    pub fn new_id(&self) -> u64 {
        // Positive also where it is read as a signed number.
        (self.random.u64() >> 1).max(1)
    }

    /// Has the leader make a change, and waits until this member has applied it.
    ///
    /// # Errors
    /// `Unavailable` when no leader makes it in time.
    pub async fn request(&self, change: &Change) -> Changed<()> {
        let mut repeated = false;
        let changed = self
            .consensus
            .bounded(async {
                loop {
                    match self.request_once(change, repeated).await {
                        Err(status) if is_passing(&status) => {}
                        other => return other,
                    }
                    repeated = true;
                    tokio::time::sleep(RETRY).await;
                }
            })
            .await?;
        match changed {
            Ok(index) => self
                .consensus
                .bounded(self.consensus.applied(index))
                .await
                .map(Ok),
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    async fn request_once(&self, change: &Change, repeated: bool) -> Changed<u64> {
        let leader = self.consensus.view().leader.ok_or_else(status::not_leader)?;
        if leader == self.consensus.id {
            return self.carry_out(change, repeated).boxed().await;
        }
        let mut client = self.consensus.membership_client(leader);
        let answer = client.change(change.request(repeated)).await;
        let answer = answer
            .inspect_err(|status| {
                if status.code() != Code::FailedPrecondition {
                    self.consensus.reconnect(leader);
                }
            })?
            .into_inner();
        if answer.refusal.is_empty() {
            return Ok(Ok(answer.index));
        }
        match Refusal::from_text(&answer.refusal) {
            Some(refusal) => Ok(Err(refusal)),
            None => Err(Status::internal(answer.refusal)),
        }
    }

    /// Makes a change if this member leads; gives the index at which it is made. `repeated`: it may have
    /// been made already.
    ///
    /// # Errors
    /// `FAILED_PRECONDITION`: it doesn't lead.
    pub async fn carry_out(&self, change: &Change, repeated: bool) -> Changed<u64> {
        let _one = self.one_at_a_time.lock().await;
        // Then the roster is as new as what earlier leaders have done.
        let applied = self.consensus.read_index_as_leader().await?;
        let roster = self.consensus.roster()?;
        let promotions = &self.consensus.store().metrics.promotions;
        match self.plan(change, repeated, &roster)? {
            Err(refusal) => {
                if let Change::Promote { .. } = change {
                    promotions.failed(&refusal.to_string());
                }
                Ok(Err(refusal))
            }
            Ok(None) => Ok(Ok(applied)),
            Ok(Some(members)) => {
                if matches!(change, Change::Remove { id } if *id == self.consensus.id) {
                    self.hand_over().await?;
                }
                tracing::info!(?change, "the membership changes");
                let index = self.consensus.change_members(members).await?;
                match change {
                    Change::Promote { id } => {
                        promotions.succeeded();
                        self.give_vote_soon(*id, index).await.map(Ok)
                    }
                    _ => Ok(Ok(index)),
                }
            }
        }
    }

    /// What raft is to be asked for; `None`: it's so already.
    fn plan(
        &self,
        change: &Change,
        repeated: bool,
        roster: &Roster,
    ) -> Changed<Option<ChangeMembers<u64, PeerNode>>> {
        let standing = self.consensus.standing();
        let members = &roster.members;
        let taken = |urls: &[String], but: u64| {
            let others = members.iter().filter(|(id, _)| **id != but);
            let mut theirs = others.flat_map(|(_, member)| &member.node.peer_urls);
            theirs.any(|url| urls.contains(url))
        };
        let refused = |refusal| Ok(Err(refusal));
        match change {
            Change::Add {
                id,
                peer_urls,
                learner,
            } => {
                if let Some(there) = members.get(id) {
                    let same = repeated && there.node.peer_urls == *peer_urls;
                    return if same {
                        Ok(Ok(None))
                    } else {
                        refused(Refusal::MemberExists)
                    };
                }
                if self.is_removed(*id)? {
                    return refused(Refusal::MemberNotFound);
                }
                if self.rules.strict
                    && let Err(refusal) = may_add(&self.voters(roster, &standing), *learner)
                {
                    return refused(refusal);
                }
                if taken(peer_urls, 0) {
                    return refused(Refusal::PeerUrlExists);
                }
                let learners = members.values().filter(|member| member.node.learner).count();
                if *learner && learners >= self.rules.max_learners {
                    return refused(Refusal::TooManyLearners);
                }
                let myself = members.get(&self.consensus.id);
                if myself.is_none_or(|member| member.node.peer_urls.is_empty()) {
                    return Err(Status::internal(
                        "etcdserver: the leader has no peer URL: a new member couldn't reach it",
                    ));
                }
                let node = PeerNode {
                    peer_urls: peer_urls.clone(),
                    learner: *learner,
                    ..PeerNode::default()
                };
                Ok(Ok(Some(ChangeMembers::AddNodes([(*id, node)].into()))))
            }
            Change::Remove { id } => {
                let Some(member) = members.get(id) else {
                    let done = repeated && self.is_removed(*id)?;
                    return if done {
                        Ok(Ok(None))
                    } else {
                        refused(Refusal::MemberNotFound)
                    };
                };
                if self.rules.strict
                    && !member.node.learner
                    && let Err(refusal) = may_remove(&self.voters(roster, &standing), *id)
                {
                    return refused(refusal);
                }
                if standing.voters == [*id] {
                    // Not even without strictness: nobody would be left to lead.
                    return refused(Refusal::NotEnoughStarted);
                }
                Ok(Ok(Some(removal(*id, &standing))))
            }
            Change::Update { id, peer_urls } => {
                let Some(member) = members.get(id) else {
                    return refused(Refusal::MemberNotFound);
                };
                if taken(peer_urls, *id) {
                    return refused(Refusal::PeerUrlExists);
                }
                if member.node.peer_urls == *peer_urls {
                    return Ok(Ok(None));
                }
                let node = PeerNode {
                    peer_urls: peer_urls.clone(),
                    ..member.node.clone()
                };
                Ok(Ok(Some(ChangeMembers::SetNodes([(*id, node)].into()))))
            }
            Change::Promote { id } => {
                let Some(member) = members.get(id) else {
                    return refused(Refusal::MemberNotFound);
                };
                if !member.node.learner {
                    return if repeated {
                        Ok(Ok(None))
                    } else {
                        refused(Refusal::NotLearner)
                    };
                }
                let progress = standing.progress.get(id).copied().unwrap_or_default();
                if !is_in_sync(progress.matching.unwrap_or(0), standing.last_index) {
                    return refused(Refusal::LearnerNotReady);
                }
                if self.rules.strict
                    && let Err(refusal) = may_promote(&self.voters(roster, &standing))
                {
                    return refused(refusal);
                }
                let node = PeerNode {
                    learner: false,
                    ..member.node.clone()
                };
                Ok(Ok(Some(ChangeMembers::SetNodes([(*id, node)].into()))))
            }
        }
    }

    /// Admits a fresh folder that belongs to a member, if this member leads; gives the member's id.
    ///
    /// # Errors
    /// `FAILED_PRECONDITION`: it doesn't lead. `Unavailable`: not now.
    pub async fn admit(&self, request: &AdmitRequest) -> Changed<u64> {
        let _one = self.one_at_a_time.lock().await;
        self.consensus.read_index_as_leader().await?;
        let roster = self.consensus.roster()?;
        let standing = self.consensus.standing();
        let progress = |id| standing.progress.get(&id).copied().unwrap_or_default();
        let judged = judge(
            &roster,
            Witness {
                leader: self.consensus.id,
                met: &|id| progress(id).matching.is_some(),
                alive: &|id| is_active(progress(id)),
            },
            request,
        );
        let verdict = match judged {
            Ok(verdict) => verdict,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let node = |id: u64| PeerNode {
            name: request.name.clone(),
            peer_urls: request.peer_urls.clone(),
            learner: roster.members.get(&id).is_some_and(|member| member.node.learner),
            incarnation: request.incarnation,
        };
        match verdict {
            Verdict::Known(id) => Ok(Ok(id)),
            Verdict::Alive(id) => Err(Status::unavailable(format!("member {id:x} is alive"))),
            Verdict::First(id) => {
                let noted = ChangeMembers::SetNodes([(id, node(id))].into());
                self.consensus.change_members(noted).await?;
                tracing::info!(id = format!("{id:x}"), "a new member's folder is admitted");
                Ok(Ok(id))
            }
            Verdict::Replace(old) => {
                let id = self.new_id();
                let replaced = ChangeMembers::Batch(vec![
                    removal(old, &standing),
                    ChangeMembers::AddNodes([(id, node(old))].into()),
                ]);
                self.consensus.change_members(replaced).await?;
                tracing::warn!(
                    old = format!("{old:x}"),
                    new = format!("{id:x}"),
                    "a member lost its folder and is replaced"
                );
                Ok(Ok(id))
            }
        }
    }

    /// Finishes what an earlier leader left half done, and gives votes to those that wait for one and have
    /// caught up. Gives whether anything is left to tend.
    pub async fn settle(&self) -> Result<bool, Status> {
        let _one = self.one_at_a_time.lock().await;
        let standing = self.consensus.standing();
        if !standing.leads {
            return Ok(false);
        }
        if standing.is_joint {
            if standing.is_committed {
                self.consensus
                    .change_members(ChangeMembers::AddVoterIds(BTreeSet::new()))
                    .await?;
            }
            return Ok(true);
        }
        let waiting: Vec<u64> = waiting(&standing.nodes, &standing.voters);
        for id in &waiting {
            if is_level(&standing, *id) {
                self.give_vote(*id).await?;
            }
        }
        Ok(!waiting.is_empty())
    }

    async fn give_vote(&self, id: u64) -> Result<u64, Status> {
        let index = self
            .consensus
            .change_members(ChangeMembers::AddVoterIds([id].into()))
            .await?;
        tracing::info!(id = format!("{id:x}"), "a member has a vote now");
        Ok(index)
    }

    /// Gives a vote to a promoted member, if it is level soon; else the caretaker will.
    async fn give_vote_soon(&self, id: u64, promoted: u64) -> Result<u64, Status> {
        let level = async {
            while !is_level(&self.consensus.standing(), id) {
                tokio::time::sleep(RETRY).await;
            }
        };
        match tokio::time::timeout(LEVEL_PATIENCE, level).await {
            Ok(()) => self.give_vote(id).await,
            Err(_) => Ok(promoted),
        }
    }

    /// A leader that is to be removed gives its place away first. When it has, the request is for the next
    /// leader; when it can't, raft takes its place away once it is removed.
    async fn hand_over(&self) -> Result<(), Status> {
        let Some(next) = self.consensus.next_leader() else {
            return Ok(());
        };
        match self.consensus.transfer_leader(next, LEVEL_PATIENCE).await {
            Ok(()) => Err(status::not_leader()),
            Err(error) => {
                tracing::warn!(%error, "a leader is removed without handing over");
                Ok(())
            }
        }
    }

    /// Who votes or is to vote.
    fn voters(&self, roster: &Roster, standing: &Standing) -> Vec<Voter> {
        self.observe();
        let voter = |(id, member): (&u64, &RosterMember)| {
            let myself = *id == self.consensus.id;
            let active = myself || standing.progress.get(id).copied().is_some_and(is_active);
            Voter {
                id: *id,
                started: member.is_started() || member.node.incarnation != 0,
                active,
                steady: myself || active && self.steadiness.is_steady(*id, ACTIVE),
            }
        };
        let members = roster.members.iter();
        members
            .filter(|(_, member)| !member.node.learner)
            .map(voter)
            .collect()
    }

    fn is_removed(&self, id: u64) -> Result<bool, Status> {
        is_removed_member(&*self.consensus.store().view(), id).map_err(|error| status::unreadable(&error))
    }
}

/// Whether to look for the leader again: it isn't there, or the request may not have reached it.
fn is_passing(status: &Status) -> bool {
    status.code() == Code::FailedPrecondition || status::is_lost_on_the_way(status)
}

fn is_active(progress: Progress) -> bool {
    progress.silence.is_some_and(|silence| silence <= ACTIVE)
}

fn is_level(standing: &Standing, id: u64) -> bool {
    let Some(progress) = standing.progress.get(&id) else {
        return false;
    };
    let matching = progress.matching.unwrap_or(0);
    is_active(*progress) && matching > 0 && standing.last_index.saturating_sub(matching) <= LEVEL
}

/// Who is to vote and doesn't yet.
fn waiting(nodes: &BTreeMap<u64, PeerNode>, voters: &[u64]) -> Vec<u64> {
    let without = nodes.iter().filter(|(id, _)| !voters.contains(id));
    without
        .filter(|(_, node)| !node.learner)
        .map(|(id, _)| *id)
        .collect()
}

fn removal(id: u64, standing: &Standing) -> ChangeMembers<u64, PeerNode> {
    if standing.voters.contains(&id) {
        ChangeMembers::RemoveVoters([id].into())
    } else {
        ChangeMembers::RemoveNodes([id].into())
    }
}
