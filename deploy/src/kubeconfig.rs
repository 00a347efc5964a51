//! The user's kubeconfig: one context, cluster and user of ours among whatever else is there.
//!
//! - Entries that aren't ours stay as they are; the file is replaced atomically, with mode 0600.
//! - The file is the first of `$KUBECONFIG`, else `~/.kube/config`, as kubectl writes it.

use crate::files;
use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_yaml_ng::{Mapping, Value};
use std::path::{Path, PathBuf};
use support::tls::Identity;

/// How to reach a cluster, and as whom.
pub struct Entry<'a> {
    /// Name of the context, the cluster and the user.
    pub name: &'a str,
    /// `host:port`.
    pub server: &'a str,
    pub ca_pem: &'a str,
    pub identity: &'a Identity,
}

/// # Errors
/// When no home folder is known.
pub fn path() -> anyhow::Result<PathBuf> {
    if let Some(list) = std::env::var_os("KUBECONFIG")
        && let Some(first) = std::env::split_paths(&list).find(|path| !path.as_os_str().is_empty())
    {
        return Ok(first);
    }
    let home = std::env::var_os("HOME").context("neither KUBECONFIG nor HOME is set")?;
    Ok(PathBuf::from(home).join(".kube/config"))
}

/// Adds or replaces the entry and makes it the current context.
///
/// # Errors
/// When the file is there but no kubeconfig, or can't be written.
pub fn add(path: &Path, entry: &Entry<'_>) -> anyhow::Result<()> {
    change(path, |config| {
        let server = format!("https://{}", entry.server);
        let cluster = mapping([
            ("certificate-authority-data", STANDARD.encode(entry.ca_pem).into()),
            ("server", server.into()),
        ]);
        let user = mapping([
            (
                "client-certificate-data",
                STANDARD.encode(&entry.identity.cert_pem).into(),
            ),
            ("client-key-data", STANDARD.encode(&entry.identity.key_pem).into()),
        ]);
        let context = mapping([("cluster", entry.name.into()), ("user", entry.name.into())]);
        put(config, "clusters", "cluster", entry.name, cluster)?;
        put(config, "users", "user", entry.name, user)?;
        put(config, "contexts", "context", entry.name, context)?;
        config.insert("current-context".into(), entry.name.into());
        Ok(())
    })
}

/// Takes the entry out; when it was the current context, there is none afterwards.
///
/// # Errors
/// As [`add`].
pub fn remove(path: &Path, name: &str) -> anyhow::Result<()> {
    if !path.exists() {
        return Ok(());
    }
    change(path, |config| {
        for list in ["clusters", "users", "contexts"] {
            if let Some(Value::Sequence(entries)) = config.get_mut(list) {
                entries.retain(|entry| entry["name"] != *name);
            }
        }
        if config
            .get("current-context")
            .is_some_and(|current| *current == *name)
        {
            config.insert("current-context".into(), "".into());
        }
        Ok(())
    })
}

fn change(path: &Path, edit: impl FnOnce(&mut Mapping) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    };
    let mut config = match serde_yaml_ng::from_str(&text) {
        Ok(Value::Null) => mapping([("apiVersion", "v1".into()), ("kind", "Config".into())]),
        Ok(Value::Mapping(mapping)) => mapping,
        // Never overwrite what we don't understand.
        _ => bail!("{} is not a kubeconfig; it stays as it is", path.display()),
    };
    edit(&mut config).with_context(|| format!("changing {}", path.display()))?;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    }
    files::write(path, serde_yaml_ng::to_string(&config)?.as_bytes(), files::SECRET)
}

fn put(config: &mut Mapping, list: &str, key: &str, name: &str, value: Mapping) -> anyhow::Result<()> {
    let entries = config.entry(list.into()).or_insert(Value::Sequence(Vec::new()));
    if entries.is_null() {
        *entries = Value::Sequence(Vec::new());
    }
    let Value::Sequence(entries) = entries else {
        bail!("`{list}` is not a list")
    };
    let entry = mapping([("name", name.into()), (key, value.into())]).into();
    match entries.iter_mut().find(|entry| entry["name"] == *name) {
        Some(old) => *old = entry,
        None => entries.push(entry),
    }
    Ok(())
}

fn mapping<const N: usize>(entries: [(&str, Value); N]) -> Mapping {
    entries
        .into_iter()
        .map(|(key, value)| (key.into(), value))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Entry, add, remove};
    use serde_yaml_ng::Value;
    use support::tls::Identity;

    const THEIRS: &str = "apiVersion: v1\nkind: Config\nclusters:\n- name: prod\n  cluster: {server: https://prod}\n\
                          users: []\ncontexts: null\ncurrent-context: prod\npreferences: {colors: true}\n";

    fn load(path: &std::path::Path) -> Value {
        serde_yaml_ng::from_str(&std::fs::read_to_string(path).expect("a file")).expect("yaml")
    }

    #[test]
    fn other_entries_survive_adding_and_removing_ours() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config");
        std::fs::write(&path, THEIRS).expect("written");
        let identity = Identity {
            cert_pem: "cert".to_owned(),
            key_pem: "key".to_owned(),
        };
        let entry = Entry {
            name: "trireme",
            server: "10.200.0.1:6443",
            ca_pem: "ca",
            identity: &identity,
        };
        add(&path, &entry).expect("added");
        add(&path, &entry).expect("added again");
        let config = load(&path);
        assert_eq!(config["current-context"], "trireme");
        assert_eq!(config["clusters"].as_sequence().expect("a list").len(), 2);
        assert_eq!(
            config["clusters"][1]["cluster"]["server"],
            "https://10.200.0.1:6443"
        );
        assert_eq!(config["preferences"]["colors"], true);

        remove(&path, "trireme").expect("removed");
        let config = load(&path);
        assert_eq!(config["clusters"].as_sequence().expect("a list").len(), 1);
        assert_eq!(config["current-context"], "");
    }

    #[test]
    fn a_file_that_is_no_kubeconfig_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config");
        std::fs::write(&path, "just text").expect("written");
        assert!(remove(&path, "trireme").is_err());
        assert_eq!(std::fs::read_to_string(&path).expect("a file"), "just text");
    }
}
