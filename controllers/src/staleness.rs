//! Controllers made to work from outdated views, through crashes between two writes and with answers that get lost,
//! must still end where a quiet run ends, with nothing doubled. The idea is Sieve's (OSDI 2022): its three
//! perturbations are stale views, missed intermediate states, and crashes half-way through a plan.
//!
//! A seed decides everything. Kept from the real runner: within one life a controller's views never go back, and show
//! what it has surely written. With a new life views may be older than all that was written before, which is worse than
//! what the runner allows.
//!
//! Here are the plans alone. Whole controllers, with runner, caches and elections, are put to the same test in
//! `tests/staleness`.

mod fake_api;
mod life;
mod scenarios;
