//! Project automation, run as `cargo xtask <task>`.

mod gen_proto;

use anyhow::{Context as _, bail};
use std::path::Path;

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .context("xtask lives in deploy/xtask")?;
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["gen-proto", facts] => gen_proto::run(Path::new(facts), root),
        other => bail!("unknown task {other:?}; tasks: gen-proto FACTS_DIR"),
    }
}
