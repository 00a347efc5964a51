//! The write pipeline that every change of an object takes.
//!
//! Read, change, default, own fields, admit, validate, write under the revision that was read; when somebody
//! else was quicker, again from the start. Follows registry/generic/registry/store.go (Kubernetes 1.36).

use super::object::{fetch_for_update, set_resource_version, to_storage};
use crate::admission::{self, Operation};
use crate::front::Call;
use crate::services::{self, Reserved};
use crate::state::{State, store_error};
use crate::store::Put;
use crate::user::UserInfo;
use apiserver_core::options::WriteOptions;
use apiserver_core::{ApiError, Resource, deletion, metadata};
use jiff::Timestamp;
use serde_json::Value;

/// Attempts before a conflict is the client's; upstream's patch retry limit.
const ATTEMPTS: usize = 5;

/// Who writes, and how.
pub(crate) struct Writer {
    pub user: UserInfo,
    pub now: Timestamp,
    /// Owner of the written fields.
    pub manager: String,
    pub dry_run: bool,
    /// Empty for the object itself.
    pub subresource: String,
    pub warnings: Vec<String>,
}

impl Writer {
    pub(crate) fn of(call: &Call, options: &WriteOptions) -> Self {
        Self {
            user: call.user.clone(),
            now: call.now,
            manager: call.manager(&options.field_manager),
            dry_run: options.dry_run,
            subresource: call.info.subresource.clone(),
            warnings: Vec::new(),
        }
    }

    /// The same writer, for closures that run while this one is borrowed.
    pub(crate) fn clone_without_warnings(&self) -> Self {
        Self {
            user: self.user.clone(),
            now: self.now,
            manager: self.manager.clone(),
            dry_run: self.dry_run,
            subresource: self.subresource.clone(),
            warnings: Vec::new(),
        }
    }

    /// The server itself, as the loopback user of upstream.
    pub(crate) fn loopback(now: Timestamp) -> Self {
        Self {
            user: UserInfo {
                username: "system:apiserver".to_owned(),
                groups: vec!["system:masters".to_owned(), "system:authenticated".to_owned()],
                ..UserInfo::default()
            },
            now,
            manager: "kube-apiserver".to_owned(),
            dry_run: false,
            subresource: String::new(),
            warnings: Vec::new(),
        }
    }

    pub(crate) fn now_text(&self) -> String {
        deletion::rfc3339(self.now)
    }
}

/// Makes the next state from the present one (`None`: the object isn't there).
pub(crate) trait Change: Send {
    fn next(&mut self, current: Option<&Value>) -> Result<Next, ApiError>;
}

/// A wanted state and how its fields are owned.
pub(crate) struct Next {
    pub object: Value,
    pub ownership: Ownership,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ownership {
    /// The writer owns what changed.
    Update,
    /// `managedFields` are already right: server-side apply computed them.
    Done,
}

impl<F: FnMut(Option<&Value>) -> Result<Next, ApiError> + Send> Change for F {
    fn next(&mut self, current: Option<&Value>) -> Result<Next, ApiError> {
        self(current)
    }
}

#[derive(Debug)]
pub(crate) enum Changed {
    Created(Value),
    Updated(Value),
    /// The change let go of an object that was being deleted; its last state.
    Removed(Value),
}

impl Changed {
    pub(crate) fn object(&self) -> &Value {
        match self {
            Self::Created(object) | Self::Updated(object) | Self::Removed(object) => object,
        }
    }

    pub(crate) fn code(&self) -> u16 {
        match self {
            Self::Created(_) => 201,
            Self::Updated(_) | Self::Removed(_) => 200,
        }
    }
}

/// Changes `namespace/name`, through its subresource if the writer names one.
pub(crate) async fn change_object(
    state: &State,
    resource: &Resource,
    writer: &mut Writer,
    namespace: &str,
    name: &str,
    change: &mut dyn Change,
) -> Result<Changed, ApiError> {
    let key = resource.key(namespace, name);
    for _ in 0..ATTEMPTS {
        let Some((old, revision, lease)) = fetch_for_update(state, resource, namespace, name).await? else {
            let next = change.next(None)?;
            match super::create_object(state, resource, writer, namespace, next.object, next.ownership).await
            {
                // Somebody else created it meanwhile: change that.
                Err(error) if error.reason == apiserver_core::Reason::AlreadyExists => continue,
                done => return done.map(Changed::Created),
            }
        };
        let next = change.next(Some(&old))?;
        let (mut new, reserved) = prepare(state, resource, writer, next, &old).await?;
        if deletion::is_released(&new, resource) {
            if writer.dry_run {
                return Ok(Changed::Removed(new));
            }
            match state
                .store
                .delete(&key, revision)
                .await
                .map_err(|error| store_error(&error))?
            {
                Put::Done { revision } => {
                    set_resource_version(&mut new, revision);
                    services::give_back(state, resource, None, &old).await;
                    return Ok(Changed::Removed(new));
                }
                Put::Conflict(_) => continue,
            }
        }
        if metadata::is_same(&new, &old) {
            return Ok(Changed::Updated(old));
        }
        set_resource_version(&mut new, revision);
        if writer.dry_run {
            return Ok(Changed::Updated(new));
        }
        let bytes = to_storage(&new, resource);
        // A changed event lives on for as long as a new one.
        let lease = if lease == 0 {
            0
        } else {
            state
                .event_leases
                .lease(&state.store)
                .await
                .map_err(|error| store_error(&error))?
        };
        match state
            .store
            .put(&key, &bytes, revision, lease)
            .await
            .map_err(|error| store_error(&error))?
        {
            Put::Done { revision } => {
                set_resource_version(&mut new, revision);
                services::give_back(state, resource, Some(&new), &old).await;
                return Ok(Changed::Updated(new));
            }
            Put::Conflict(_) => reserved.release(state).await,
        }
    }
    Err(ApiError::modified(&resource.group_resource(), name))
}

/// From the wanted state to the one that may be written.
async fn prepare(
    state: &State,
    resource: &Resource,
    writer: &mut Writer,
    next: Next,
    old: &Value,
) -> Result<(Value, Reserved), ApiError> {
    let Next {
        object: mut new,
        ownership,
    } = next;
    metadata::begin_update(&mut new, old, resource)?;
    resource.strategy.default(&mut new);
    if writer.subresource.is_empty() {
        resource.strategy.prepare_for_update(&mut new, old);
    } else {
        resource
            .strategy
            .prepare_for_subresource_update(&writer.subresource, &mut new, old);
    }
    if ownership == Ownership::Update {
        crate::ownership::update(&mut new, Some(old), resource, writer);
    }
    let before_admission = new.clone();
    admission::mutate(state, resource, writer, Operation::Update, &mut new, Some(old)).await?;
    if new != before_admission {
        crate::ownership::update(&mut new, Some(old), resource, writer);
    }
    let reserved = services::reserve(state, resource, writer, &mut new, Some(old)).await?;
    if let Err(error) = check(state, resource, writer, &new, old).await {
        reserved.release(state).await;
        return Err(error);
    }
    writer
        .warnings
        .extend(resource.strategy.warnings(&new, Some(old)));
    writer.warnings.extend(crate::unenforced::warning(resource, &new));
    Ok((new, reserved))
}

/// Everything that may still refuse the finished object.
async fn check(
    state: &State,
    resource: &Resource,
    writer: &mut Writer,
    new: &Value,
    old: &Value,
) -> Result<(), ApiError> {
    metadata::validate_change(new, old, resource, &writer.subresource)?;
    crate::escalation::check(state, resource, writer, new, Some(old)).await?;
    admission::validate(state, resource, writer, Operation::Update, Some(new), Some(old)).await?;
    crate::quota::charge(state, resource, writer, new, Some(old)).await
}
