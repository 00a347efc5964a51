//! Who this member is, for the others: its identity, and what it knows of the cluster.

use super::change::Change;
use super::changes::Changes;
use crate::identity::{load_identity, save_identity};
use crate::raft::node_out;
use crate::status;
use kvstore_core::is_removed_member;
use kvstore_storage::{Engine, StorageError};
use proto::raftpb::{
    AdmitRequest, AdmitResponse, ChangeRequest, ChangeResponse, DescribeRequest, DescribeResponse, Identity,
    Standing, members_server,
};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use support::Random;
use tonic::{Request, Response, Status};

/// Keeps the identity, in memory as in the folder.
pub struct Desk {
    engine: Arc<dyn Engine>,
    identity: Mutex<Identity>,
    /// There once the member takes part.
    changes: OnceLock<Changes>,
}

impl Desk {
    /// Takes up the identity that the folder holds; a folder without one gets an incarnation.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn open(engine: Arc<dyn Engine>, random: &Random) -> Result<Self, StorageError> {
        let identity = match load_identity(&*engine)? {
            Some(identity) => identity,
            None => {
                let fresh = Identity {
                    incarnation: random.u64().max(1),
                    ..Identity::default()
                };
                // Before anybody is told of it: a folder is known by it.
                save_identity(&*engine, &fresh)?;
                fresh
            }
        };
        Ok(Self {
            engine,
            identity: Mutex::new(identity),
            changes: OnceLock::new(),
        })
    }

    pub fn identity(&self) -> Identity {
        self.lock().clone()
    }

    /// Who a fresh member will be; only in memory.
    pub fn intend(&self, cluster: u64, member: u64) {
        let mut identity = self.lock();
        identity.cluster = cluster;
        identity.member = member;
    }

    /// Keeps a new identity, durably.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn become_member(&self, identity: Identity) -> Result<(), StorageError> {
        let mut current = self.lock();
        save_identity(&*self.engine, &identity)?;
        *current = identity;
        Ok(())
    }

    /// Keeps a new standing, durably.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn settle(&self, standing: Standing) -> Result<(), StorageError> {
        self.become_member(Identity {
            standing: standing.into(),
            ..self.identity()
        })
    }

    /// The member takes part from now on.
    pub fn open_changes(&self, changes: Changes) {
        // Opened once: a second time would be a fault of ours, and change nothing.
        let _ = self.changes.set(changes);
    }

    fn changes(&self) -> Result<&Changes, Status> {
        self.changes
            .get()
            .ok_or_else(|| Status::unavailable("this member doesn't take part yet"))
    }

    fn lock(&self) -> MutexGuard<'_, Identity> {
        self.identity.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn describe(&self, from: u64) -> Result<DescribeResponse, Status> {
        let identity = self.identity();
        let mut answer = DescribeResponse {
            cluster: identity.cluster,
            member: identity.member,
            incarnation: identity.incarnation,
            standing: identity.standing,
            founders: identity.founders,
            ..DescribeResponse::default()
        };
        if let Some(changes) = self.changes.get() {
            let consensus = changes.consensus();
            let roster = consensus.roster()?;
            let members = roster.members.iter();
            answer.members = members.map(|(id, member)| node_out(*id, &member.node)).collect();
            answer.leader = consensus.view().leader.unwrap_or(0);
            answer.removed = is_removed_member(&*consensus.store().view(), from)
                .map_err(|error| status::unreadable(&error))?;
        }
        Ok(answer)
    }
}

/// The peer protocol's Membership service.
#[derive(Clone)]
pub struct MembershipService {
    desk: Arc<Desk>,
}

impl MembershipService {
    pub fn new(desk: Arc<Desk>) -> Self {
        Self { desk }
    }
}

#[tonic::async_trait]
impl members_server::Members for MembershipService {
    async fn describe(
        &self,
        request: Request<DescribeRequest>,
    ) -> Result<Response<DescribeResponse>, Status> {
        self.desk.describe(request.into_inner().from).map(Response::new)
    }

    async fn admit(&self, request: Request<AdmitRequest>) -> Result<Response<AdmitResponse>, Status> {
        let changes = self.desk.changes()?;
        let consensus = changes.consensus();
        let admitted = consensus.bounded(changes.admit(request.get_ref())).await?;
        Ok(Response::new(match admitted {
            Ok(member) => AdmitResponse {
                refusal: String::new(),
                cluster: consensus.cluster_id,
                member,
            },
            Err(refusal) => AdmitResponse {
                refusal: refusal.to_string(),
                ..AdmitResponse::default()
            },
        }))
    }

    async fn change(&self, request: Request<ChangeRequest>) -> Result<Response<ChangeResponse>, Status> {
        let changes = self.desk.changes()?;
        let request = request.into_inner();
        let repeated = request.repeated;
        let change = Change::requested(request)
            .ok_or_else(|| Status::unimplemented("a change that this release doesn't know"))?;
        let changed = changes
            .consensus()
            .bounded(changes.carry_out(&change, repeated))
            .await?;
        Ok(Response::new(match changed {
            Ok(index) => ChangeResponse {
                refusal: String::new(),
                index,
            },
            Err(refusal) => ChangeResponse {
                refusal: refusal.to_string(),
                index: 0,
            },
        }))
    }
}
