//! A directory whose contents change all at once, as kubelet `pkg/volume/util/atomic_writer.go` makes it:
//! files live in a directory of their own version, `..data` points to it, names point through `..data`.

use nodeagent_core::FileEntry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, chown, symlink};
use std::path::Path;

const DATA: &str = "..data";
const NEXT: &str = "..data_tmp";

pub(super) fn swap(
    directory: &Path,
    files: &BTreeMap<String, FileEntry>,
    group: Option<i64>,
    version: &str,
) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755))?;
    let old = fs::read_link(directory.join(DATA)).ok();
    if let Some(old) = &old
        && holds_exactly(&directory.join(old), files)
    {
        return Ok(());
    }
    let name = format!("..{version}");
    let fresh = directory.join(&name);
    write_all(&fresh, files, group)?;
    // Gone unless an earlier swap was cut off here.
    let _ = fs::remove_file(directory.join(NEXT));
    symlink(&name, directory.join(NEXT))?;
    fs::rename(directory.join(NEXT), directory.join(DATA))?;
    link_names(directory, files)?;
    if let Some(old) = old.filter(|old| *old != Path::new(&name)) {
        fs::remove_dir_all(directory.join(old))?;
    }
    Ok(())
}

fn holds_exactly(directory: &Path, files: &BTreeMap<String, FileEntry>) -> bool {
    let same = files
        .iter()
        .all(|(path, file)| fs::read(directory.join(path)).is_ok_and(|data| data == file.data));
    same && count(directory).is_ok_and(|n| n == files.len())
}

fn count(directory: &Path) -> io::Result<usize> {
    let mut found = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        found += if entry.file_type()?.is_dir() {
            count(&entry.path())?
        } else {
            1
        };
    }
    Ok(found)
}

fn write_all(fresh: &Path, files: &BTreeMap<String, FileEntry>, group: Option<i64>) -> io::Result<()> {
    let _ = fs::remove_dir_all(fresh);
    fs::DirBuilder::new().mode(0o755).create(fresh)?;
    for (path, file) in files {
        let path = fresh.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        // The group that a pod's volumes belong to can read what it is given.
        let mode = if group.is_some() {
            file.mode | 0o040
        } else {
            file.mode
        };
        let mut options = fs::OpenOptions::new();
        let mut out = options.write(true).create_new(true).mode(0o600).open(&path)?;
        io::Write::write_all(&mut out, &file.data)?;
        if let Some(group) = group.and_then(|g| u32::try_from(g).ok()) {
            chown(&path, None, Some(group))?;
        }
        // After the owner: a change of owner clears bits.
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

fn link_names(directory: &Path, files: &BTreeMap<String, FileEntry>) -> io::Result<()> {
    let wanted: BTreeSet<&str> = files.keys().filter_map(|path| path.split('/').next()).collect();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let Some(text) = name.to_str() else { continue };
        if !text.starts_with("..") && !wanted.contains(text) {
            fs::remove_file(directory.join(text))?;
        }
    }
    for name in wanted {
        let link = directory.join(name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA).join(name), link)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::swap;
    use nodeagent_core::FileEntry;
    use std::collections::BTreeMap;
    use std::fs;

    fn files(list: &[(&str, &str)]) -> BTreeMap<String, FileEntry> {
        let entry = |text: &str| FileEntry {
            data: text.as_bytes().to_vec(),
            mode: 0o644,
        };
        list.iter().map(|(p, t)| ((*p).to_owned(), entry(t))).collect()
    }

    #[test]
    fn readers_see_one_version_after_the_other_and_nothing_of_the_last() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path();
        swap(path, &files(&[("a", "1"), ("d/b", "1")]), None, "v1").expect("a swap");
        assert_eq!(fs::read_to_string(path.join("d/b")).expect("b"), "1");
        swap(path, &files(&[("a", "2")]), None, "v2").expect("a swap");
        assert_eq!(fs::read_to_string(path.join("a")).expect("a"), "2");
        assert!(!path.join("d").exists());
        assert!(!path.join("..v1").exists());
        swap(path, &files(&[("a", "2")]), None, "v3").expect("no change");
        assert!(path.join("..v2").exists());
    }
}
