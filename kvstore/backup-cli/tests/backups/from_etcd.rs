//! Backups of Debian's etcd, restored into ours.

use super::content::{Content, content, fill, write};
use super::stores::{Etcd, Ours, command, etcdctl, runtime, wait_ready};
use kvstore_backup_cli::{history_hash, snapshot_status};
use std::path::Path;

/// Fills an etcd, saves it with its own tool and with ours, and says what was in it.
async fn backed_up(folder: &Path, whole: bool) -> Content {
    let etcd = Etcd::start(&folder.join("etcd"));
    wait_ready(&etcd.address).await;
    fill(&etcd.address, whole).await;
    let theirs = folder.join("theirs.db");
    etcdctl(&[
        "--endpoints",
        &etcd.address,
        "snapshot",
        "save",
        theirs.to_str().unwrap(),
    ]);
    let ours = folder.join("ours.db");
    command(&[
        "save",
        ours.to_str().unwrap(),
        "--endpoints",
        &format!("http://{}", etcd.address),
    ])
    .await
    .unwrap();
    let oldest = if whole { 2 } else { oldest(&ours) };
    content(&etcd.address, oldest).await
}

fn oldest(file: &Path) -> i64 {
    history_hash(file, 0).unwrap().compacted
}

#[test]
fn a_backup_of_etcd_comes_back_with_every_key_lease_and_revision() {
    runtime().block_on(async {
        for whole in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let theirs = backed_up(folder.path(), whole).await;
            for file in ["theirs.db", "ours.db"] {
                let file = folder.path().join(file);
                let data = file.with_extension("data");
                command(&[
                    "restore",
                    file.to_str().unwrap(),
                    "--data-dir",
                    data.to_str().unwrap(),
                ])
                .await
                .unwrap();
                let member = Ours::alone(&data);
                wait_ready(&member.address).await;
                let oldest = if whole { 2 } else { oldest(&file) };
                let mut ours = content(&member.address, oldest).await;
                // A store that was never compacted has nothing before revision 2: etcd answers with nothing.
                if whole {
                    ours.compacted.clone_from(&theirs.compacted);
                }
                assert_eq!(ours, theirs);
                assert_eq!(write(&member.address, "next", "").await, theirs.revision + 1);
            }
        }
    });
}

#[test]
fn status_and_hash_are_those_that_etcd_gives() {
    runtime().block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let etcd = Etcd::start(&folder.path().join("etcd"));
        wait_ready(&etcd.address).await;
        fill(&etcd.address, true).await;
        let file = folder.path().join("ours.db");
        let file = file.to_str().unwrap();
        command(&["save", file, "--endpoints", &etcd.address])
            .await
            .unwrap();
        let theirs = etcdctl(&["snapshot", "status", file]);
        let ours = snapshot_status(Path::new(file)).unwrap();
        let theirs: Vec<&str> = theirs.trim().split(", ").collect();
        assert_eq!(theirs[0], format!("{:x}", ours.hash));
        assert_eq!(theirs[1], ours.revision.to_string());
        let hash = history_hash(Path::new(file), 0).unwrap();
        let theirs = etcdctl(&["--endpoints", &etcd.address, "endpoint", "hashkv", "-w", "json"]);
        assert!(
            theirs.contains(&format!("\"hash\":{},", hash.hash)),
            "{theirs}: {hash:?}"
        );
        let earlier = history_hash(Path::new(file), 100).unwrap();
        let theirs = etcdctl(&[
            "--endpoints",
            &etcd.address,
            "endpoint",
            "hashkv",
            "--rev",
            "100",
            "-w",
            "json",
        ]);
        assert!(
            theirs.contains(&format!("\"hash\":{},", earlier.hash)),
            "{theirs}: {earlier:?}"
        );
    });
}

#[test]
fn a_copy_from_a_data_folder_is_restored_when_its_hash_is_not_asked_for() {
    runtime().block_on(async {
        let folder = tempfile::tempdir().unwrap();
        {
            let etcd = Etcd::start(&folder.path().join("etcd"));
            wait_ready(&etcd.address).await;
            fill(&etcd.address, true).await;
            // etcd commits to the file ten times a second; a backup waits for that.
            etcdctl(&[
                "--endpoints",
                &etcd.address,
                "snapshot",
                "save",
                folder.path().join("x").to_str().unwrap(),
            ]);
        }
        let file = folder.path().join("etcd/member/snap/db");
        let file = file.to_str().unwrap();
        let data = folder.path().join("data");
        let data = data.to_str().unwrap();
        let refused = command(&["restore", file, "--data-dir", data]).await.unwrap_err();
        assert!(refused.contains("--skip-hash-check"), "{refused}");
        command(&["restore", file, "--data-dir", data, "--skip-hash-check"])
            .await
            .unwrap();
        let member = Ours::alone(Path::new(data));
        wait_ready(&member.address).await;
        write(&member.address, "next", "").await;
    });
}

#[test]
fn users_and_roles_come_along() {
    runtime().block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let etcd = Etcd::start(&folder.path().join("etcd"));
        wait_ready(&etcd.address).await;
        let at = |address: &str, words: &[&str]| {
            let mut all = vec!["--endpoints", address];
            all.extend(words);
            etcdctl(&all)
        };
        at(&etcd.address, &["user", "add", "root:secret"]);
        at(&etcd.address, &["role", "add", "root"]);
        at(&etcd.address, &["user", "grant-role", "root", "root"]);
        at(&etcd.address, &["user", "add", "reader:open"]);
        at(&etcd.address, &["role", "add", "readers"]);
        at(
            &etcd.address,
            &["role", "grant-permission", "readers", "read", "k"],
        );
        at(&etcd.address, &["user", "grant-role", "reader", "readers"]);
        at(&etcd.address, &["put", "k", "v"]);
        at(&etcd.address, &["auth", "enable"]);
        let file = folder.path().join("file.db");
        let file = file.to_str().unwrap();
        let save = [
            "save",
            file,
            "--endpoints",
            &etcd.address,
            "--user",
            "root:secret",
        ];
        command(&save).await.unwrap();
        let check = |address: &str| {
            assert_eq!(at(address, &["--user", "reader:open", "get", "k"]), "k\nv\n");
            let users = at(address, &["--user", "root:secret", "user", "list"]);
            assert_eq!(users, "reader\nroot\n");
            let refused = std::process::Command::new("etcdctl")
                .env("ETCDCTL_API", "3")
                .args(["--endpoints", address, "--user", "reader:open", "put", "k", "w"])
                .output()
                .unwrap();
            let refused = String::from_utf8_lossy(&refused.stderr).into_owned();
            assert!(refused.contains("permission denied"), "{refused}");
        };
        let data = folder.path().join("data");
        command(&["restore", file, "--data-dir", data.to_str().unwrap()])
            .await
            .unwrap();
        let member = Ours::alone(&data);
        wait_ready(&member.address).await;
        check(&member.address);
        // And from ours into another of ours.
        let again = folder.path().join("again.db");
        let again = again.to_str().unwrap();
        let save = [
            "save",
            again,
            "--endpoints",
            &member.address,
            "--user",
            "root:secret",
        ];
        command(&save).await.unwrap();
        let data = folder.path().join("again");
        command(&["restore", again, "--data-dir", data.to_str().unwrap()])
            .await
            .unwrap();
        let member = Ours::alone(&data);
        wait_ready(&member.address).await;
        check(&member.address);
    });
}
