//! The wire contracts: etcd v3 (clients and API servers), raft between members, CRI v1 (container runtimes).
//!
//! The `.proto` files under `etcd/` and `cri/` are written by `cargo xtask gen-proto`.

// Generated code is not ours to lint.
#![allow(clippy::all, clippy::pedantic, missing_docs, rustdoc::all)]

mod secret;

/// The messages and services of etcd v3 as a serialized `google.protobuf.FileDescriptorSet`.
pub const ETCD_DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/etcd.descriptors"));

/// Key-value pairs and events.
pub mod mvccpb {
    tonic::include_proto!("mvccpb");
}

/// Users, roles, permissions.
pub mod authpb {
    tonic::include_proto!("authpb");
}

/// Membership records.
pub mod membershippb {
    tonic::include_proto!("membershippb");
}

/// etcd v3: KV, Watch, Lease, Cluster, Maintenance, Auth.
pub mod etcdserverpb {
    tonic::include_proto!("etcdserverpb");
}

/// etcd v3 Election service.
pub mod v3electionpb {
    tonic::include_proto!("v3electionpb");
}

/// etcd v3 Lock service.
pub mod v3lockpb {
    tonic::include_proto!("v3lockpb");
}

/// The protocol between members of the store, and its durable log entries.
pub mod raftpb {
    tonic::include_proto!("raftpb");
}

/// Container runtime interface v1.
pub mod cri {
    tonic::include_proto!("runtime.v1");
}
