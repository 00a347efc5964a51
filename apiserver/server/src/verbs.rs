//! What can be done to resources: one file a verb, the same for all of them.

mod create;
mod delete;
mod delete_collection;
mod get;
mod list;
mod object;
mod patch;
mod selection;
mod tables;
mod update;
mod watch;
mod write;

pub(crate) use create::{create, create_object};
pub(crate) use delete::delete;
pub(crate) use delete::delete_object;
pub(crate) use delete_collection::delete_collection;
pub(crate) use get::get;
pub(crate) use list::list;
pub(crate) use object::{convert, fetch, fetch_for_update};
pub(crate) use patch::patch;
pub(crate) use tables::{table_of_one, table_options};
pub(crate) use update::update;
pub(crate) use watch::watch;
pub(crate) use write::{Next, Ownership, Writer, change_object};
