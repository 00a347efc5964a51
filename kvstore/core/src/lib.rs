//! The pure core of the store: multi-version state, transactions, leases, compaction, watch matching.
//!
//! Invariants:
//! - Everything here is a function of an ordered key-value view ([`Read`]) and a request; writes come out
//!   as a [`Batch`], events as values. No clock, no randomness, no input or output, no async.
//! - [`apply`] is deterministic: members that apply the same commands hold the same state.
//! - Semantics follow etcd v3 (`server/etcdserver/apply*`, `server/storage/mvcc`), its error texts included.

mod alarm;
mod apply;
mod archive;
mod auth;
mod command;
mod compaction;
mod compare;
mod count;
mod encoding;
mod hash;
mod history;
mod key_range;
mod lease;
mod meta;
mod mutation;
mod overlay;
mod quota;
mod range;
mod read;
mod refusal;
mod removed_member;
mod request_check;
mod txn;
mod usage;
mod verdict;
mod watch_index;

pub use alarm::{ALARM_CORRUPT, ALARM_NOSPACE, alarms, stops_member};
pub use apply::{Applied, Response, apply};
pub use archive::{
    KeptEvent, KeptMeta, each_event, each_lease, restore_derived, restore_event, restore_lease, restore_meta,
};
pub use auth::{
    AuthState, Gate, Identity, Judge, KeptAuth, RightsCache, User, auth_state, credentials, restore_auth,
    role_names, role_permissions, user, user_names,
};
pub use command::{Command, is_read_only};
pub use compaction::{CompactionStep, compaction_step};
pub use hash::{Crc, OnSlice, STATE_HASH_DEFINITION, hash_kv, state_hash};
pub use history::{HistoryPage, PageLimits, history_page};
pub use key_range::KeyRange;
pub use lease::{LeaseRecord, MAX_LEASE_TTL, MIN_LEASE_TTL, effective_ttl, lease, lease_keys, leases};
pub use meta::{APPLIED_KEY, FORMAT, MemberAttributes, Meta, compaction_done, member_attributes};
pub use overlay::Overlay;
pub use quota::{LEASE_COST, put_cost, txn_cost};
pub use range::{EncodedRange, RangeOutcome, encoded_range, range};
pub use read::{Batch, Cursor, Read, ReadError, Space, Write};
pub use refusal::{Code, Error, Refusal};
pub use removed_member::{is_removed_member, remove_member};
pub use request_check::{check_delete, check_put, check_range, check_txn};
pub use txn::read_only_txn;
pub use usage::{StoredBytes, event_bytes, write_added};
pub use verdict::{Verdict, judge};
pub use watch_index::WatchIndex;
