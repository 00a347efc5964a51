//! Builds `librocksdb.a` the quick way, once, outside every target folder.
//!
//! The crate `librocksdb-sys` would compile some 340 C++ files one by one, about 30 CPU minutes, again
//! for every profile and target folder. The same sources, included from eight generated files (a unity
//! build), take about seven. The crate then links the library through `ROCKSDB_LIB_DIR`, which
//! `.cargo/config.toml` points at the link `.build/rocksdb` that this module makes.
//!
//! - The library is kept under the cache folder by crate version, compiler version and flags: a change of
//!   any of them builds a new one, and two clones share one.
//! - It appears in the cache complete or not at all (written beside, then renamed).
//! - Sources and defines follow the crate's own `build.rs` and `rocksdb_lib_sources.txt`.

use crate::shell;
use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use std::collections::hash_map::DefaultHasher;
use std::fmt::Write as _;
use std::hash::{Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Instant;

/// More files use more cores, fewer parse the headers less often.
const PARTS: usize = 8;
/// One compiler needs up to 1 GiB of memory.
const PARALLEL: usize = 2;

const FLAGS: &[&str] = &[
    "-O2",
    "-fPIC",
    "-std=c++20",
    "-w",
    "-include",
    "cstdint",
    "-DNDEBUG",
    "-DHAVE_ALIGNED_NEW",
    "-DHAVE_UINT128_EXTENSION",
    "-DLZ4=1",
    "-DOS_LINUX",
    "-DROCKSDB_PLATFORM_POSIX",
    "-DROCKSDB_LIB_IO_POSIX",
    "-DROCKSDB_SCHED_GETCPU_PRESENT",
    "-DROCKSDB_AUXV_GETAUXVAL_PRESENT",
    "-DROCKSDB_FALLOCATE_PRESENT",
    "-DROCKSDB_RANGESYNC_PRESENT",
];
/// Hardware CRC32C and carry-less multiplication: on every x86-64 server since 2010.
const FLAGS_X86_64: &[&str] = &["-msse4.2", "-mpclmul"];

/// The folder that holds `librocksdb.a`, built first when there is none yet, and linked to
/// `.build/rocksdb`.
///
/// # Errors
/// When the sources can't be fetched or the compiler fails.
pub fn ensure(root: &Path) -> anyhow::Result<PathBuf> {
    let sources = Sources::locate(root)?;
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "g++".to_owned());
    let version = shell::output(Command::new(&compiler).args(["-dumpfullversion", "-dumpversion"]))
        .context("a C++ compiler is needed; `cargo xtask setup` installs it")?;
    let folder = shell::cache()?.join("rocksdb").join(format!(
        "{}-{compiler}{}-{:08x}",
        sources.version,
        version.trim(),
        fingerprint(&flags()),
    ));
    if folder.join("librocksdb.a").is_file() {
        println!("RocksDB {} is at {}", sources.version, folder.display());
    } else {
        build(&sources, &compiler, &folder)?;
    }
    link(root, &folder)?;
    Ok(folder)
}

/// Where cargo unpacked the C++ sources.
struct Sources {
    version: String,
    crate_folder: PathBuf,
    lz4: PathBuf,
}

impl Sources {
    fn locate(root: &Path) -> anyhow::Result<Self> {
        // Filtered, so that cargo fetches nothing for platforms that we don't build for.
        let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        let text = shell::output(shell::cargo(root).args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--filter-platform",
            &platform,
        ]))?;
        let metadata: Value = serde_json::from_str(&text)?;
        let rocksdb = package(&metadata, "librocksdb-sys")?;
        let lz4 = package(&metadata, "lz4-sys")?;
        Ok(Self {
            version: rocksdb.0,
            crate_folder: rocksdb.1,
            lz4: lz4.1.join("liblz4/lib"),
        })
    }

    /// The C++ files, absolute.
    fn files(&self) -> anyhow::Result<Vec<PathBuf>> {
        let list = self.crate_folder.join("rocksdb_lib_sources.txt");
        let text = std::fs::read_to_string(&list).with_context(|| format!("reading {}", list.display()))?;
        let mut files: Vec<PathBuf> = text
            .split_whitespace()
            // The crate brings its own, with the version filled in.
            .filter(|file| *file != "util/build_version.cc")
            .map(|file| self.crate_folder.join("rocksdb").join(file))
            .collect();
        ensure!(!files.is_empty(), "{} names no file", list.display());
        files.push(self.crate_folder.join("build_version.cc"));
        Ok(files)
    }

    fn includes(&self) -> Vec<String> {
        [
            self.crate_folder.join("rocksdb/include"),
            self.crate_folder.join("rocksdb"),
            self.crate_folder.clone(),
            self.lz4.clone(),
        ]
        .iter()
        .map(|folder| format!("-I{}", folder.display()))
        .collect()
    }
}

/// Version and folder of a locked package.
fn package(metadata: &Value, name: &str) -> anyhow::Result<(String, PathBuf)> {
    let found = metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|package| package["name"] == name)
        .with_context(|| format!("{name} is not among the dependencies"))?;
    let version = found["version"].as_str().context("a package has a version")?;
    let manifest = found["manifest_path"]
        .as_str()
        .context("a package has a manifest")?;
    let folder = Path::new(manifest)
        .parent()
        .context("a manifest is in a folder")?;
    Ok((version.to_owned(), folder.to_owned()))
}

fn flags() -> Vec<&'static str> {
    let mut flags = FLAGS.to_vec();
    if cfg!(target_arch = "x86_64") {
        flags.extend(FLAGS_X86_64);
    }
    flags
}

fn fingerprint(flags: &[&str]) -> u32 {
    let mut hasher = DefaultHasher::new();
    flags.hash(&mut hasher);
    // The upper half is as good as the lower; eight digits keep the path readable.
    (hasher.finish() >> 32) as u32
}

fn build(sources: &Sources, compiler: &str, folder: &Path) -> anyhow::Result<()> {
    let start = Instant::now();
    let mut work = folder.as_os_str().to_owned();
    work.push(format!(".{}.partial", std::process::id()));
    let work = PathBuf::from(work);
    std::fs::create_dir_all(&work).with_context(|| format!("making {}", work.display()))?;
    let files = sources.files()?;
    println!(
        "building RocksDB {} once: {} sources in {PARTS} parts, {PARALLEL} at a time (some minutes)",
        sources.version,
        files.len()
    );
    let mut jobs = Vec::new();
    for (number, part) in files.chunks(files.len().div_ceil(PARTS)).enumerate() {
        let mut text = String::new();
        for file in part {
            writeln!(text, "#include \"{}\"", file.display())?;
        }
        let source = work.join(format!("part{number}.cc"));
        std::fs::write(&source, text)?;
        jobs.push(source);
    }
    let objects: Vec<PathBuf> = jobs.iter().map(|source| source.with_extension("o")).collect();
    compile(&jobs, |source| {
        let mut command = Command::new(compiler);
        command
            .args(flags())
            .args(sources.includes())
            .arg("-c")
            .arg(source)
            .arg("-o")
            .arg(source.with_extension("o"));
        command
    })?;
    shell::run(
        Command::new("ar")
            .arg("crs")
            .arg(work.join("librocksdb.a"))
            .args(&objects),
    )?;
    for leftover in jobs.iter().chain(&objects) {
        std::fs::remove_file(leftover)?;
    }
    match std::fs::rename(&work, folder) {
        Ok(()) => {}
        // Another clone built the same library meanwhile.
        Err(_) if folder.join("librocksdb.a").is_file() => std::fs::remove_dir_all(&work)?,
        Err(error) => return Err(error).with_context(|| format!("moving it to {}", folder.display())),
    }
    println!(
        "RocksDB built in {} at {}",
        shell::seconds(start.elapsed()),
        folder.display()
    );
    Ok(())
}

/// Compiles all sources, [`PARALLEL`] at a time; stops at the first failure.
fn compile(sources: &[PathBuf], command: impl Fn(&Path) -> Command + Sync) -> anyhow::Result<()> {
    let waiting = Mutex::new(sources.iter().rev().collect::<Vec<_>>());
    let next = || waiting.lock().map(|mut list| list.pop()).unwrap_or_default();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..PARALLEL)
            .map(|_| {
                scope.spawn(|| -> anyhow::Result<()> {
                    while let Some(source) = next() {
                        let start = Instant::now();
                        let status = command(source).status().context("starting the C++ compiler")?;
                        if !status.success() {
                            bail!("compiling {} failed: {status}", source.display());
                        }
                        println!("  {} in {}", source.display(), shell::seconds(start.elapsed()));
                    }
                    Ok(())
                })
            })
            .collect();
        for worker in workers {
            match worker.join() {
                Ok(result) => result?,
                Err(_) => bail!("a compile thread panicked"),
            }
        }
        Ok(())
    })
}

/// Points `.build/rocksdb` at `folder`.
fn link(root: &Path, folder: &Path) -> anyhow::Result<()> {
    let link = root.join(".build/rocksdb");
    if std::fs::read_link(&link).is_ok_and(|target| target == folder) {
        return Ok(());
    }
    std::fs::create_dir_all(root.join(".build"))?;
    if link.symlink_metadata().is_ok() {
        std::fs::remove_file(&link).with_context(|| format!("replacing {}", link.display()))?;
    }
    std::os::unix::fs::symlink(folder, &link).with_context(|| format!("making {}", link.display()))
}
