//! Compiles the program of the hello and pause images: static, small, embedded into the binary. It is no
//! crate of the workspace, because it is built for another place than everything else.

use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=hello");
    println!("cargo::rerun-if-changed=build.rs");
    let variable = |name: &str| std::env::var_os(name).unwrap_or_else(|| panic!("cargo sets {name}"));
    let out = PathBuf::from(variable("OUT_DIR")).join("hello");
    let status = Command::new(variable("RUSTC"))
        .args([
            "hello/main.rs",
            "--crate-name",
            "hello",
            "--crate-type",
            "bin",
            "--edition",
            "2024",
        ])
        .args([
            "-C",
            "target-feature=+crt-static",
            "-C",
            "opt-level=s",
            "-C",
            "panic=abort",
        ])
        .args([
            "-C",
            "strip=symbols",
            "-C",
            "codegen-units=1",
            "-C",
            "lto=fat",
            "-D",
            "warnings",
        ])
        .arg("--target")
        .arg(variable("TARGET"))
        .arg("-o")
        .arg(&out)
        .status()
        .expect("rustc starts");
    assert!(status.success(), "compiling hello/main.rs failed: {status}");
}
