//! Backups of ours, restored into Debian's etcd.

use super::content::{content, fill, write};
use super::stores::{Etcd, Ours, alone, command, etcdctl, runtime, wait_ready};
use kvstore_backup_cli::{history_hash, snapshot_status};

#[test]
fn etcd_restores_a_backup_of_ours_with_every_key_lease_and_revision() {
    runtime().block_on(async {
        for whole in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let member = Ours::start(&alone(&folder.path().join("ours")));
            wait_ready(&member.address).await;
            fill(&member.address, whole).await;
            let theirs = folder.path().join("theirs.db");
            let theirs = theirs.to_str().unwrap();
            etcdctl(&["--endpoints", &member.address, "snapshot", "save", theirs]);
            let ours = folder.path().join("ours.db");
            command(&["save", ours.to_str().unwrap(), "--endpoints", &member.address])
                .await
                .unwrap();

            // Their tools see in both files what ours do.
            let status = etcdctl(&["snapshot", "status", theirs]);
            let found = snapshot_status(&ours).unwrap();
            assert!(
                status.starts_with(&format!("{:x}, {}, ", found.hash, found.revision)),
                "{status}"
            );

            let data = folder.path().join("data");
            etcdctl(&[
                "snapshot",
                "restore",
                theirs,
                "--data-dir",
                data.to_str().unwrap(),
            ]);
            let etcd = Etcd::start(&data);
            wait_ready(&etcd.address).await;
            let hash = history_hash(&ours, 0).unwrap();
            let oldest = if whole { 2 } else { hash.compacted };
            let (mut ours, theirs) = (
                content(&member.address, oldest).await,
                content(&etcd.address, oldest).await,
            );
            if whole {
                ours.compacted.clone_from(&theirs.compacted);
            }
            assert_eq!(theirs, ours);
            let said = etcdctl(&["--endpoints", &etcd.address, "endpoint", "hashkv", "-w", "json"]);
            assert!(
                said.contains(&format!("\"hash\":{},", hash.hash)),
                "{said}: {hash:?}"
            );
            assert_eq!(write(&etcd.address, "next", "").await, ours.revision + 1);
        }
    });
}
