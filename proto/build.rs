//! Compiles the contracts with protox: no protoc needed.

use prost_types::FileDescriptorSet;
use protox::prost::Message as _;
use std::path::{Path, PathBuf};

/// Messages with passwords or tokens: what is written of them to a log is up to `src/secret.rs`.
const SECRET: [&str; 6] = [
    ".authpb.User",
    ".etcdserverpb.AuthUserAddRequest",
    ".etcdserverpb.AuthUserChangePasswordRequest",
    ".etcdserverpb.AuthenticateRequest",
    ".etcdserverpb.AuthenticateResponse",
    ".etcdserverpb.InternalAuthenticateRequest",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=etcd");
    println!("cargo:rerun-if-changed=cri");
    println!("cargo:rerun-if-changed=raft");
    let etcd = compile(
        "etcd",
        &["etcdserverpb.proto", "v3electionpb.proto", "v3lockpb.proto"],
    )?;
    // For the JSON gateway, which reads and writes messages by their descriptors.
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("etcd.descriptors"), etcd.encode_to_vec())?;
    compile("cri", &["runtime.proto"])?;
    if Path::new("raft/raftpb.proto").exists() {
        compile("raft", &["raftpb.proto"])?;
    }
    Ok(())
}

fn compile(folder: &str, files: &[&str]) -> Result<FileDescriptorSet, Box<dyn std::error::Error>> {
    let descriptors = protox::compile(files, [folder])?;
    // `Bytes` for keys and values: a value is shared, not copied, from the socket to the log.
    tonic_prost_build::configure()
        .bytes(".")
        .skip_debug(SECRET)
        .compile_fds(descriptors.clone())?;
    Ok(descriptors)
}
