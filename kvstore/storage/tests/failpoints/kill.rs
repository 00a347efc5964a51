//! Processes that die in the middle of it, or run into a limit: real writes that fail.
//!
//! The test starts itself again as the victim. It tells on its output what is acknowledged.

use super::workload;
use kvstore_storage::{Engine, RocksEngine, RocksOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

const FOLDER: &str = "KVSTORE_FAILPOINTS_FOLDER";
const LIMITED: &str = "KVSTORE_FAILPOINTS_LIMITED";
const STEPS: u64 = 100_000;

fn open(path: &Path) -> Arc<dyn Engine> {
    // Small buffers, so that files are written and compacted all the time; under a limit the usual ones, so
    // that it is the write-ahead log that runs into it.
    if std::env::var_os(LIMITED).is_some() {
        return Arc::new(RocksEngine::open(path, RocksOptions::default()).expect("opens"));
    }
    let options = RocksOptions {
        write_buffers: 128 << 10,
        max_wal: 1 << 20,
        ..RocksOptions::default()
    };
    Arc::new(RocksEngine::open(path, options).expect("opens"))
}

/// The victim, when this process was started as one; nothing otherwise.
#[test]
fn victim() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let engine = open(Path::new(&folder));
    let last = workload::recover(&engine).expect("recovers");
    println!("\nSTART {last}");
    let mut out = std::io::stdout().lock();
    let outcome = workload::run(&engine, (last + 1, STEPS), &mut |index| {
        // One write of a whole line: a killed process leaves no half of one that could be misread.
        out.write_all(format!("ACK {index}.\n").as_bytes())
            .expect("the parent listens");
        out.flush().expect("the parent listens");
    });
    match outcome {
        Ok(()) => println!("\nDONE"),
        Err(error) => println!("\nFAILED {error}; {:?}", engine.failure()),
    }
}

/// Starts a victim, by way of a shell command if any.
fn start(folder: &Path, shell: Option<&str>) -> std::process::Child {
    let test = std::env::current_exe().expect("there is one");
    let arguments = ["--exact", "kill::victim", "--nocapture", "--test-threads=1"];
    let mut command = match shell {
        None => Command::new(&test),
        Some(limits) => {
            let mut command = Command::new("sh");
            command
                .args(["-c", &format!("{limits}; exec \"$0\" \"$@\"")])
                .arg(&test);
            command
        }
    };
    command
        .args(arguments)
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts")
}

fn acknowledged(line: &str) -> Option<u64> {
    line.strip_prefix("ACK ")?.strip_suffix('.')?.parse().ok()
}

#[test]
fn a_killed_process_loses_nothing_that_it_acknowledged() {
    let folder = tempfile::tempdir().expect("temp dir");
    let mut last = 0;
    // After how many acknowledgements it dies: different places, the same in every run.
    for (round, patience) in [1_u64, 7, 64, 200, 450, 33].into_iter().enumerate() {
        let mut child = start(folder.path(), None);
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let mut seen = 0;
        for line in output.lines() {
            let Ok(line) = line else { break };
            if let Some(index) = acknowledged(&line) {
                last = index;
                seen += 1;
                if seen == patience {
                    // A moment in which it gets somewhere, different every time.
                    std::thread::sleep(Duration::from_micros(300 * round as u64));
                    child.kill().expect("runs");
                }
            }
        }
        child.wait().expect("ends");
        assert!(seen >= patience, "round {round}: only {seen} acknowledgements");
        workload::check(&open(folder.path()), last);
    }
}

#[test]
fn a_disk_that_takes_no_more_stops_the_store_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("temp dir");
    // A limit on the size of files (in blocks of 512 bytes): writes past it fail, like those to a full disk.
    let mut child = start(
        folder.path(),
        Some("trap '' XFSZ; ulimit -f 400; export KVSTORE_FAILPOINTS_LIMITED=1"),
    );
    let output = BufReader::new(child.stdout.take().expect("piped"));
    let (mut last, mut failed, mut said) = (0, None, Vec::new());
    for line in output.lines() {
        let line = line.expect("text");
        if let Some(index) = acknowledged(&line) {
            last = index;
            continue;
        }
        failed = failed.or_else(|| line.strip_prefix("FAILED ").map(str::to_owned));
        said.push(line);
    }
    let status = child.wait().expect("ends");
    let failed = failed.unwrap_or_else(|| panic!("{status} after {last}: {said:?}"));
    assert!(failed.contains("File too large"), "{failed}");
    assert!(failed.contains("Poisoned"), "{failed}");
    assert!(last > 100, "only {last} acknowledgements");
    // There is room again.
    workload::check(&open(folder.path()), last);
}
