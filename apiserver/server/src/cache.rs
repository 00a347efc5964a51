//! Watch caches: one a resource, fed by one store watch, serving all lists and watches.
//!
//! Invariants:
//! - One task writes a cache; readers get shared entries that never change.
//! - Everything up to [`WatchCache::revision`] has been applied and handed to every watcher's queue.
//! - Events are handed on in revision order, each once; a watcher that can't keep up is dropped, and its client
//!   resumes from its last resourceVersion.
//!
//! Follows apiserver/pkg/storage/cacher (Kubernetes 1.36).

mod entry;
mod event;
mod filter;
mod reflector;
mod registry;
mod watch_cache;

pub(crate) use entry::{Entry, FieldsOf, stored_bytes, with_resource_version};
pub(crate) use event::{Change, Event, watch_line};
pub(crate) use filter::{EntryPredicate, Filter, LabelPredicate};
pub(crate) use reflector::prefix_end;
pub(crate) use registry::{Caches, ReadError};
pub(crate) use watch_cache::{CacheError, Start, Subscription, WatchCache};
