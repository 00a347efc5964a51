//! Users and roles, as clients meet them. The cases follow etcd's `tests/common/auth_test.go`.

#[path = "auth/certificates.rs"]
mod certificates;
#[path = "auth/client.rs"]
mod client;
#[path = "auth/commands.rs"]
mod commands;
#[path = "auth/differential.rs"]
mod differential;
#[path = "auth/leases.rs"]
mod leases;
#[path = "auth/management.rs"]
mod management;
#[path = "auth/members.rs"]
mod members;
#[path = "auth/permissions.rs"]
mod permissions;
#[path = "auth/tokens.rs"]
mod tokens;
#[path = "auth/watching.rs"]
mod watching;
