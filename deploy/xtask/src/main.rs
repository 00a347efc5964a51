//! Project automation, run as `cargo xtask <task>`.
//!
//! `verify` only reads and judges, `fix` mends. Nothing here depends on RocksDB, so that the task that
//! builds it runs on a fresh clone.

mod bench;
mod edges;
mod gen_kubeschema;
mod gen_proto;
mod rocksdb;
mod setup;
mod shell;
mod up;
mod verify;

use anyhow::{Context as _, bail};
use std::path::Path;

const TASKS: &str = "\
tasks:
  up [ARGS]        install what is missing, build, install the binary and start a cluster
  setup            install the Debian packages that building and running need
  rocksdb          build the RocksDB library once, outside the target folder
  verify           format, crate edges, lints, tests, docs, dependency policy; changes nothing
  fix              format and apply the lints' suggestions
  bench            what a cluster costs: time, memory, processor; [--release]; needs root
  gen-proto FACTS  write proto/ from tables of published facts
  gen-kubeschema FACTS  write proto/kubeschema/data from tables of published facts";

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    // Not as it was when this was compiled: build output may serve several checkouts.
    let here = std::env::var_os("CARGO_MANIFEST_DIR").context("to be run as `cargo xtask`")?;
    let root = Path::new(&here)
        .ancestors()
        .nth(2)
        .context("xtask lives in deploy/xtask")?;
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["up", rest @ ..] => up::run(root, rest),
        ["setup"] => setup::run(),
        ["rocksdb"] => rocksdb::ensure(root).map(|_| ()),
        ["verify", rest @ ..] => verify::run(root, rest),
        ["bench"] => bench::run(root, false),
        ["bench", "--release"] => bench::run(root, true),
        ["fix"] => verify::fix(root),
        ["gen-kubeschema", facts] => gen_kubeschema::run(Path::new(facts), root),
        ["gen-proto", facts] => gen_proto::run(Path::new(facts), root),
        [] => bail!("no task given\n{TASKS}"),
        other => bail!("unknown task {other:?}\n{TASKS}"),
    }
}
