//! Performs one action of a plan, in a task of its own.

use super::start::{self, Target};
use super::steps::{self, Done, Shared};
use crate::context::Context;
use k8s_openapi::api::core::v1::PodStatus;
use nodeagent_core::{Action, PodModel, PodObservation};
use std::sync::Arc;

/// What an action works with: the pod as it was when the plan was made.
pub(super) struct Step {
    pub context: Arc<Context>,
    pub model: Arc<PodModel>,
    pub shared: Arc<Shared>,
    pub observed: PodObservation,
    pub removed: bool,
    pub status: PodStatus,
}

impl Step {
    pub async fn perform(self, action: Action) -> Done {
        let Self {
            context,
            model,
            shared,
            observed,
            removed,
            status,
        } = self;
        match action {
            Action::CreateSandbox { attempt } => {
                let result = steps::create_sandbox(&context, &model, &shared, attempt).await;
                Done::Sandbox(result)
            }
            Action::StartContainer {
                name,
                attempt,
                sandbox_id,
            } => {
                let target = Target {
                    name: name.clone(),
                    attempt,
                    sandbox_id,
                };
                let result = start::start(&context, &model, &observed, &shared, &target).await;
                Done::Started { name, result }
            }
            Action::StopContainer {
                id,
                name,
                grace_seconds,
                cause,
            } => {
                if context.env.sabotage.is("deletion-confirmed-early") && model.is_deleted() {
                    steps::confirm_deletion(&context, &model).await;
                }
                let ok = steps::stop_container(
                    &context,
                    &model,
                    &observed,
                    &shared,
                    &id,
                    &name,
                    grace_seconds,
                    &cause,
                )
                .await;
                Done::Stopped { id, ok }
            }
            Action::Resize { id, name } => {
                steps::resize(&context, &model, &id, &name).await;
                Done::Refreshed
            }
            Action::StopSandbox { id } => {
                steps::report(context.runtime.stop_sandbox(&id).await, &model, "stop sandbox");
                Done::Free { id }
            }
            Action::RemoveContainer { id } => {
                steps::report(
                    context.runtime.remove_container(&id).await,
                    &model,
                    "remove container",
                );
                Done::Free { id }
            }
            Action::RemoveSandbox { id } => {
                steps::report(
                    context.runtime.remove_sandbox(&id).await,
                    &model,
                    "remove sandbox",
                );
                Done::Free { id }
            }
            Action::Finalize => Done::Finalized {
                ok: steps::finalize(&context, &model, &status, removed).await,
            },
        }
    }
}
