//! Compiles the contracts with protox: no protoc needed.

use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=etcd");
    println!("cargo:rerun-if-changed=cri");
    println!("cargo:rerun-if-changed=raft");
    compile(
        "etcd",
        &["etcdserverpb.proto", "v3electionpb.proto", "v3lockpb.proto"],
    )?;
    compile("cri", &["runtime.proto"])?;
    if Path::new("raft/raftpb.proto").exists() {
        compile("raft", &["raftpb.proto"])?;
    }
    Ok(())
}

fn compile(folder: &str, files: &[&str]) -> Result<(), Box<dyn std::error::Error>> {
    let descriptors = protox::compile(files, [folder])?;
    // `Bytes` for keys and values: a value is shared, not copied, from the socket to the log.
    tonic_prost_build::configure()
        .bytes(".")
        .compile_fds(descriptors)?;
    Ok(())
}
