//! The file format of go.etcd.io/bbolt, version 2, as far as a backup needs it: whole files are written in
//! one go and read in order.
//!
//! A file is a row of pages. Pages 0 and 1 are copies of the meta page, which names the root of a tree of
//! leaf and branch pages; a page with much in it has overflow pages behind it. Values of the root tree are
//! buckets: the root of a tree of their own, or, when small, that tree's only page itself.
//!
//! All numbers are little endian: bbolt writes them as the machine has them, and every machine that etcd
//! supports has them so.
//!
//! Source of the layout: bbolt `internal/common/{page,meta,bucket,inode}.go`, release 1.4.

mod page;
mod reader;
mod writer;

pub use reader::{Bucket, Database, FormatError, Source};
pub use writer::{BoltWriter, WriteError};
