//! A member of the store, alone: `kvstore FLAGS` is `trireme kvstore FLAGS`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    kvstore_cli::main("kvstore", &arguments)
}
