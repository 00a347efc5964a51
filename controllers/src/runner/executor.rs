//! Turns actions into requests.

use super::cache::{Expectation, version};
use super::fence::Fence;
use crate::action::{Action, Body, Deletion, Note, Propagation, Target};
use crate::object::{Key, MetaView, ResourceType};
use futures::FutureExt as _;
use futures::future::{BoxFuture, join_all};
use kube::Client;
use kube::api::{
    DeleteParams, GetParams, ListParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy,
};
use kube::core::{ObjectMeta, Request, Status};
use kubeclient::{EventKind, EventRecorder, LeadershipLost};
use serde::Deserialize;
use serde_json::Value;
use support::Sabotage;

const FIELD_MANAGER: &str = "kube-controller-manager";
/// A slow-start batch stops growing here: this many requests of one plan are under way at once.
const BATCH_MAX: usize = 64;

#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// The plan was made from an outdated view.
    #[error("outdated: {0}")]
    Stale(String),
    /// The namespace is going away: nothing to do in it any more.
    #[error("namespace terminating")]
    NamespaceTerminating,
    #[error("{0}")]
    Refused(Box<Status>),
    #[error("request failed")]
    Transport(#[source] kube::Error),
    #[error("request could not be built")]
    Build(#[from] kube::core::request::Error),
    #[error(transparent)]
    LeadershipLost(#[from] LeadershipLost),
}

pub(super) type Written = Vec<(ResourceType, Key, Expectation)>;

/// The part of an answer that is read.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    metadata: ObjectMeta,
}

pub struct Executor {
    client: Client,
    events: EventRecorder,
    sabotage: Sabotage,
}

impl Executor {
    pub fn new(client: Client, events: EventRecorder, sabotage: Sabotage) -> Self {
        Self {
            client,
            events,
            sabotage,
        }
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Performs one action; what it wrote is added to `written` even if a later part fails.
    pub(super) fn perform<'a>(
        &'a self,
        action: &'a Action,
        fence: &'a Fence,
        written: &'a mut Written,
    ) -> BoxFuture<'a, Result<(), ExecuteError>> {
        async move {
            match action {
                Action::Record(note) => self.record(note),
                Action::Batch(members) => return self.batch(members, fence, written).await,
                Action::Verify(target) => self.verify(target).await?,
                Action::Delete(deletion) => written.extend(self.delete(deletion, fence).await?),
                Action::DeleteCollection { resource, namespace } => {
                    let (all, list) = (DeleteParams::default(), ListParams::default());
                    let request = urls(resource, namespace).delete_collection(&all, &list)?;
                    match fence.write(self.client.request_text(request)).await? {
                        Ok(_) => {}
                        Err(kube::Error::Api(status)) if status.code == 404 => {}
                        Err(error) => return Err(refusal(error)),
                    }
                }
                Action::Create(_)
                | Action::Update(_)
                | Action::UpdateStatus(_)
                | Action::UpdateSubresource(..)
                | Action::Patch { .. } => written.extend(self.write(action, fence).await?),
            }
            Ok(())
        }
        .boxed()
    }

    /// 1, 2, 4, ... at once, so that what fails for all is tried once. Source: `slowStartBatch` (1.36).
    async fn batch(
        &self,
        members: &[Action],
        fence: &Fence,
        written: &mut Written,
    ) -> Result<(), ExecuteError> {
        let mut rest = members;
        let mut size = 1;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(size.min(rest.len()));
            let attempts = now.iter().map(|member| async move {
                let mut wrote = Written::new();
                let done = self.perform(member, fence, &mut wrote).await;
                (wrote, done)
            });
            let mut failed = None;
            for (wrote, done) in join_all(attempts).await {
                written.extend(wrote);
                if let Err(error) = done {
                    failed.get_or_insert(error);
                }
            }
            if let Some(error) = failed {
                return Err(error);
            }
            rest = later;
            size = (size * 2).min(BATCH_MAX);
        }
        Ok(())
    }

    async fn write(&self, action: &Action, fence: &Fence) -> Result<Written, ExecuteError> {
        let post = PostParams {
            dry_run: false,
            field_manager: Some(FIELD_MANAGER.to_owned()),
        };
        let (resource, namespace) = match action {
            Action::Patch { target, .. } => (&target.resource, &target.key.namespace),
            Action::Create(body)
            | Action::Update(body)
            | Action::UpdateStatus(body)
            | Action::UpdateSubresource(body, _) => (&body.resource, &body.key.namespace),
            _ => return Ok(Written::new()),
        };
        let urls = urls(resource, namespace);
        let bytes = |body: &Body| body.value.to_string().into_bytes();
        let request = match action {
            Action::Create(body) => urls.create(&post, bytes(body))?,
            Action::Update(body) => urls.replace(&body.key.name, &post, bytes(body))?,
            Action::UpdateStatus(body) => {
                urls.replace_subresource("status", &body.key.name, &post, bytes(body))?
            }
            Action::UpdateSubresource(body, name) => {
                urls.replace_subresource(name, &body.key.name, &post, bytes(body))?
            }
            Action::Patch {
                target,
                patch,
                subresource,
            } => {
                let params = PatchParams {
                    field_manager: Some(FIELD_MANAGER.to_owned()),
                    ..PatchParams::default()
                };
                let patch: Patch<&Value> = Patch::Merge(patch);
                match subresource {
                    Some(name) => urls.patch_subresource(name, &target.key.name, &params, &patch)?,
                    None => urls.patch(&target.key.name, &params, &patch)?,
                }
            }
            _ => return Ok(Written::new()),
        };
        let answer: Answer = fence
            .write(self.client.request(request))
            .await?
            .map_err(refusal)?;
        let key = Key::new(namespace, answer.metadata.name());
        Ok(version(answer.metadata.resource_version())
            .map(|at| (resource.clone(), key, Expectation::Version(at)))
            .into_iter()
            .collect())
    }

    async fn delete(&self, deletion: &Deletion, fence: &Fence) -> Result<Written, ExecuteError> {
        let target = &deletion.target;
        let params = DeleteParams {
            grace_period_seconds: if self.sabotage.is("deletes-by-force") {
                Some(0)
            } else {
                deletion.grace_seconds
            },
            propagation_policy: deletion.propagation.map(|propagation| match propagation {
                Propagation::Background => PropagationPolicy::Background,
                Propagation::Foreground => PropagationPolicy::Foreground,
                Propagation::Orphan => PropagationPolicy::Orphan,
            }),
            preconditions: Some(Preconditions {
                uid: Some(target.uid.clone()).filter(|uid| !uid.is_empty()),
                resource_version: deletion.resource_version.clone(),
            }),
            ..DeleteParams::default()
        };
        let request = urls(&target.resource, &target.key.namespace).delete(&target.key.name, &params)?;
        match fence.write(self.client.request_text(request)).await? {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(refusal(error)),
        }
        let gone = Expectation::Deletion(target.uid.clone());
        Ok(vec![(target.resource.clone(), target.key.clone(), gone)])
    }

    async fn verify(&self, target: &Target) -> Result<(), ExecuteError> {
        let request =
            urls(&target.resource, &target.key.namespace).get(&target.key.name, &GetParams::default())?;
        let answer: Answer = self.client.request(request).await.map_err(refusal)?;
        if answer.metadata.uid() == target.uid && !answer.metadata.is_terminating() {
            return Ok(());
        }
        let (kind, key) = (&target.resource.kind, &target.key);
        tracing::debug!(answer.kind, "verification failed");
        Err(ExecuteError::Stale(format!(
            "{kind} {key} was replaced or is being deleted"
        )))
    }

    fn record(&self, note: &Note) {
        let kind = if note.warning {
            EventKind::Warning
        } else {
            EventKind::Normal
        };
        self.events
            .event(note.regarding.clone(), kind, note.reason, note.message.clone());
    }
}

fn urls(resource: &ResourceType, namespace: &str) -> Request {
    let root = if resource.group.is_empty() {
        format!("/api/{}", resource.version)
    } else {
        format!("/apis/{}/{}", resource.group, resource.version)
    };
    Request::new(if namespace.is_empty() {
        format!("{root}/{}", resource.plural)
    } else {
        format!("{root}/namespaces/{namespace}/{}", resource.plural)
    })
}

fn refusal(error: kube::Error) -> ExecuteError {
    match error {
        kube::Error::Api(status) if status.code == 409 || status.code == 404 => {
            ExecuteError::Stale(status.message.clone())
        }
        kube::Error::Api(status) if is_namespace_terminating(&status) => ExecuteError::NamespaceTerminating,
        kube::Error::Api(status) => ExecuteError::Refused(status),
        other => ExecuteError::Transport(other),
    }
}

fn is_namespace_terminating(status: &Status) -> bool {
    status.code == 403
        && status.details.as_ref().is_some_and(|details| {
            details
                .causes
                .iter()
                .any(|cause| cause.reason == "NamespaceTerminating")
        })
}
