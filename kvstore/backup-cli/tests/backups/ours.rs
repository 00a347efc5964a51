//! Backups of ours, restored into ours.

use super::content::{all, content, fill, revision, write};
use super::stores::{Ours, alone, channel, command, runtime, wait_ready};
use kvstore_backup_cli::{history_hash, snapshot_status};
use kvstore_server::{ClusterPeer, DataDir, MemberConfig};
use kvstore_storage::RocksOptions;
use proto::etcdserverpb::maintenance_client::MaintenanceClient;
use proto::etcdserverpb::watch_client::WatchClient;
use proto::etcdserverpb::watch_request::RequestUnion;
use proto::etcdserverpb::{SnapshotRequest, WatchCreateRequest, WatchRequest};
use std::path::Path;
use test_ports::free_address;

/// A file with the content of [`fill`].
async fn backup(folder: &Path) -> String {
    let member = Ours::start(&alone(&folder.join("first")));
    wait_ready(&member.address).await;
    fill(&member.address, true).await;
    let file = folder.join("file.db");
    let file = file.to_str().unwrap().to_owned();
    command(&["save", &file, "--endpoints", &member.address])
        .await
        .unwrap();
    file
}

#[test]
fn three_members_restore_one_backup_and_serve_it() {
    runtime().block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let file = backup(folder.path()).await;
        let peers: Vec<ClusterPeer> = ["one", "two", "three"]
            .iter()
            .map(|name| ClusterPeer::new(*name, format!("http://{}", free_address())))
            .collect();
        let initial: Vec<String> = peers
            .iter()
            .map(|peer| format!("{}={}", peer.name, peer.peer_urls[0]))
            .collect();
        let initial = initial.join(",");
        let mut configs = Vec::new();
        for peer in &peers {
            let data = folder.path().join(&peer.name);
            let args = [
                "restore",
                &file,
                "--name",
                &peer.name,
                "--data-dir",
                data.to_str().unwrap(),
            ];
            let more = [
                "--initial-cluster",
                &initial,
                "--initial-advertise-peer-urls",
                &peer.peer_urls[0],
            ];
            let token = ["--initial-cluster-token", "restored"];
            command(&[&args[..], &more[..], &token[..]].concat())
                .await
                .unwrap();
            configs.push(MemberConfig {
                cluster_token: "restored".to_owned(),
                peer_listen: Some(peer.peer_urls[0].trim_start_matches("http://").to_owned()),
                initial_cluster: peers.clone(),
                ..MemberConfig::single(
                    &peer.name,
                    DataDir::Directory(data, RocksOptions::default()),
                    &free_address(),
                )
            });
        }
        let members: Vec<Ours> = configs.iter().map(Ours::start).collect();
        for member in &members {
            wait_ready(&member.address).await;
        }
        let before = snapshot_status(Path::new(&file)).unwrap().revision;
        let contents = [
            content(&members[0].address, 2).await,
            content(&members[1].address, 2).await,
            content(&members[2].address, 2).await,
        ];
        assert_eq!(contents[0].revision, before);
        assert_eq!(contents[0], contents[1]);
        assert_eq!(contents[0], contents[2]);
        assert_eq!(write(&members[1].address, "next", "").await, before + 1);
    });
}

#[test]
fn a_bumped_restore_never_shows_an_old_revision_again() {
    runtime().block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let file = backup(folder.path()).await;
        let before = snapshot_status(Path::new(&file)).unwrap().revision;
        let data = folder.path().join("bumped");
        let data = data.to_str().unwrap();
        let args = ["restore", &file, "--data-dir", data, "--bump-revision", "1000000"];
        let refused = command(&args).await.unwrap_err();
        assert!(refused.contains("--mark-compacted"), "{refused}");
        command(&[&args[..], &["--mark-compacted"]].concat())
            .await
            .unwrap();
        let member = Ours::alone(Path::new(data));
        wait_ready(&member.address).await;
        assert_eq!(revision(&member.address).await, before + 1_000_000);

        let (create, requests) = tokio::sync::mpsc::channel(1);
        let watch = WatchCreateRequest {
            key: "key/000".into(),
            start_revision: before + 1,
            ..WatchCreateRequest::default()
        };
        create
            .send(WatchRequest {
                request_union: Some(RequestUnion::CreateRequest(watch)),
            })
            .await
            .unwrap();
        let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
        let mut answers = WatchClient::new(channel(&member.address))
            .watch(requests)
            .await
            .unwrap()
            .into_inner();
        let mut answer = answers.message().await.unwrap().unwrap();
        while !answer.canceled {
            answer = answers.message().await.unwrap().unwrap();
        }
        assert_eq!(answer.compact_revision, before + 1_000_000);
        assert_eq!(write(&member.address, "next", "").await, before + 1_000_001);
    });
}

#[test]
fn what_can_not_be_restored_is_refused_and_leaves_nothing_behind() {
    runtime().block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let file = backup(folder.path()).await;
        let good = std::fs::read(&file).unwrap();
        let data = folder.path().join("data");
        let data = data.to_str().unwrap();
        let bad = folder.path().join("bad.db");
        let path = bad.to_str().unwrap();
        for (at, what) in [
            (100, "a meta page"),
            (good.len() / 2, "the middle"),
            (good.len() - 1, "the hash"),
        ] {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            std::fs::write(&bad, &bytes).unwrap();
            let refused = command(&["restore", path, "--data-dir", data]).await.unwrap_err();
            assert!(refused.contains("checksum does not match"), "{what}: {refused}");
            command(&["status", path]).await.unwrap_err();
        }
        for length in [0, 31, 4_096, good.len() - 32, good.len() - 4_096, good.len() - 1] {
            std::fs::write(&bad, &good[..length]).unwrap();
            let refused = command(&["restore", path, "--data-dir", data]).await.unwrap_err();
            assert!(
                refused.contains("cut short") || refused.contains("checksum does not match"),
                "{length} bytes: {refused}"
            );
        }
        // Cut off, with the check left out on top.
        std::fs::write(&bad, &good[..good.len() / 2]).unwrap();
        let refused = command(&["restore", path, "--data-dir", data, "--skip-hash-check"])
            .await
            .unwrap_err();
        assert!(refused.contains("truncated"), "{refused}");
        assert!(!Path::new(data).exists());
        assert!(!folder.path().join("data.restoring").exists());

        std::fs::create_dir(data).unwrap();
        std::fs::write(Path::new(data).join("somebody's"), "file").unwrap();
        let refused = command(&["restore", &file, "--data-dir", data])
            .await
            .unwrap_err();
        assert!(refused.contains("not empty"), "{refused}");
        let refused = command(&["restore", &file, "--data-dir", "elsewhere", "--name", "other"])
            .await
            .unwrap_err();
        assert!(refused.contains("doesn't name this member"), "{refused}");
        assert!(!Path::new("elsewhere").exists());
    });
}

#[test]
fn an_empty_folder_is_taken() {
    runtime().block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let file = backup(folder.path()).await;
        let data = folder.path().join("data");
        std::fs::create_dir(&data).unwrap();
        command(&["restore", &file, "--data-dir", data.to_str().unwrap()])
            .await
            .unwrap();
        let member = Ours::alone(&data);
        wait_ready(&member.address).await;
        assert_eq!(
            revision(&member.address).await,
            snapshot_status(Path::new(&file)).unwrap().revision
        );
    });
}

#[test]
fn a_backup_under_writes_is_of_one_revision() {
    runtime().block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let member = Ours::start(&alone(&folder.path().join("first")));
        wait_ready(&member.address).await;
        fill(&member.address, true).await;
        let address = member.address.clone();
        let writer = tokio::spawn(async move {
            let mut number = 0_u64;
            loop {
                write(&address, &format!("busy/{}", number % 50), &number.to_string()).await;
                number += 1;
            }
        });
        for round in 0..3 {
            let file = folder.path().join(format!("{round}.db"));
            let path = file.to_str().unwrap();
            command(&["save", path, "--endpoints", &member.address])
                .await
                .unwrap();
            let status = snapshot_status(&file).unwrap();
            let data = folder.path().join(format!("data{round}"));
            command(&["restore", path, "--data-dir", data.to_str().unwrap()])
                .await
                .unwrap();
            let restored = Ours::alone(&data);
            wait_ready(&restored.address).await;
            let (theirs, ours) = (
                all(&member.address, status.revision).await,
                all(&restored.address, 0).await,
            );
            assert_eq!(ours.header.unwrap().revision, status.revision);
            assert_eq!(ours.kvs, theirs.kvs, "the state of revision {}", status.revision);
            assert_eq!(history_hash(&file, 0).unwrap().revision, status.revision);
        }
        writer.abort();
    });
}

#[test]
fn the_stream_counts_down_and_ends_with_the_hash() {
    runtime().block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let member = Ours::start(&alone(&folder.path().join("first")));
        wait_ready(&member.address).await;
        fill(&member.address, true).await;
        let mut client = MaintenanceClient::new(channel(&member.address));
        let mut messages = client.snapshot(SnapshotRequest {}).await.unwrap().into_inner();
        let mut all = Vec::new();
        while let Some(message) = messages.message().await.unwrap() {
            assert_eq!(message.version, "3.6.0");
            all.push(message);
        }
        let hash = all.pop().unwrap();
        assert_eq!((hash.blob.len(), hash.remaining_bytes), (32, 0));
        let mut remaining: u64 = all.iter().map(|message| message.blob.len() as u64).sum();
        assert_eq!(remaining % 4_096, 0);
        for message in &all {
            assert!(message.blob.len() <= 32 << 10);
            remaining -= message.blob.len() as u64;
            assert_eq!(message.remaining_bytes, remaining);
        }
        // A client that goes away in the middle holds up nothing.
        for _ in 0..8 {
            let mut messages = client.snapshot(SnapshotRequest {}).await.unwrap().into_inner();
            messages.message().await.unwrap();
        }
        client.snapshot(SnapshotRequest {}).await.unwrap();
    });
}
