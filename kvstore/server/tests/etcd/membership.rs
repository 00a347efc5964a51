//! Members that come, go, lose their folders and are restarted, under clients that go on.

#[path = "membership/seats.rs"]
mod seats;

use super::harness::{get_prefix, kv, put, put_soon, until};
use kvstore_server::{ClusterPeer, DataDir, InitialState, Member, MemberConfig};
use kvstore_storage::MemoryDisk;
use proto::etcdserverpb::{
    MemberListRequest, MemberUpdateRequest, MoveLeaderRequest, RangeRequest, StatusRequest,
};
use seats::{Seat, Writer, assert_kept, assert_level, founders, joiner, leader, precondition, refusal, run};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::Env;
use test_ports::free_address;
use tonic::Code;

#[test]
fn a_learner_joins_is_promoted_and_removed() {
    run(async {
        let seats = founders(&["one", "two", "three"]);
        put_soon(seats[0].address(), "k", "v").await;
        let mut four = joiner("four", &[&seats[0], &seats[1], &seats[2]]);
        let mut bad = four.peer.clone();
        bad.peer_urls = vec!["four:2380".to_owned()];
        assert_eq!(
            refusal(seats[0].add(&bad, true).await),
            (
                Code::InvalidArgument,
                "etcdserver: given member URLs are invalid".to_owned()
            )
        );
        assert_eq!(
            refusal(seats[0].add(&seats[1].peer, true).await),
            precondition("Peer URLs already exists")
        );

        let added = seats[0].add(&four.peer, true).await.unwrap();
        assert_eq!(added.header.unwrap().revision, 0);
        let id = added.member.unwrap().id;
        let listed = added.members.iter().find(|member| member.id == id).unwrap();
        assert!(listed.is_learner && listed.name.is_empty() && listed.client_ur_ls.is_empty());
        assert_eq!(added.members.len(), 4);
        let fifth = ClusterPeer::new("five", "http://127.0.0.1:1");
        assert_eq!(
            refusal(seats[1].add(&fifth, true).await),
            precondition("too many learner members in cluster")
        );
        assert_eq!(
            refusal(seats[1].promote(id).await),
            precondition("can only promote a learner member which is in sync with leader")
        );
        assert_eq!(
            refusal(seats[1].promote(seats[0].id().await).await),
            precondition("can only promote a learner member")
        );
        assert_eq!(
            refusal(seats[2].promote(17).await),
            (Code::NotFound, "etcdserver: member not found".to_owned())
        );

        four.start();
        assert_eq!(four.id().await, id);
        let unsupported = precondition("rpc not supported for learner");
        until("the learner has the data", async || {
            let request = RangeRequest {
                key: "k".into(),
                serializable: true,
                ..RangeRequest::default()
            };
            let answer = kv(four.address()).range(request).await.unwrap().into_inner();
            (answer.count == 1).then_some(())
        })
        .await;
        assert_eq!(refusal(put(four.address(), "k", "w").await), unsupported);
        assert_eq!(refusal(get_prefix(four.address(), "k").await), unsupported);
        let mut client = four.cluster();
        let listed = client
            .member_list(MemberListRequest { linearizable: false })
            .await;
        assert_eq!(listed.unwrap().into_inner().members.len(), 4);
        let refused = client.member_list(MemberListRequest { linearizable: true }).await;
        assert_eq!(refusal(refused), unsupported);
        let status = four
            .maintenance()
            .status(StatusRequest {})
            .await
            .unwrap()
            .into_inner();
        assert!(status.is_learner);
        let refused = until("a leader is asked while it is one", async || {
            let leads = leader(&seats).await;
            let request = MoveLeaderRequest { target_id: id };
            let refused = refusal(seats[leads].maintenance().move_leader(request).await);
            (refused != precondition("not leader")).then_some(refused)
        });
        assert_eq!(refused.await, precondition("bad leader transferee"));

        until("the learner is promoted", async || {
            seats[2].promote(id).await.ok()
        })
        .await;
        put_soon(four.address(), "k", "w").await;
        let mut status = four
            .maintenance()
            .status(StatusRequest {})
            .await
            .unwrap()
            .into_inner();
        assert!(!status.is_learner);
        status.errors.clear();
        assert_level(&[&seats[0], &seats[1], &seats[2], &four]).await;

        let left = seats[1].remove(id).await.unwrap();
        assert_eq!(left.members.len(), 3);
        let told = "the member has been permanently removed from the cluster";
        assert_eq!(four.error().await, told);
        four.node = None;
        // And it isn't forgotten.
        let again = Member::new(four.config.clone(), Env::production());
        assert_eq!(again.err().unwrap().to_string(), told);
        put_soon(seats[0].address(), "k", "x").await;
    });
}

#[test]
fn a_cluster_grows_from_one_to_three_and_never_waits_for_who_is_not_there() {
    run(async {
        let mut one = Seat::new("one");
        one.start();
        put_soon(one.address(), "k/1", "v").await;
        let mut two = joiner("two", &[&one]);
        // Not before the first has made itself known.
        until("a second is added", async || one.add(&two.peer, false).await.ok()).await;
        // Writes go on although the new member isn't there.
        put(one.address(), "k/2", "v").await.unwrap();
        let unstarted = ClusterPeer::new("nobody", "http://127.0.0.1:1");
        assert_eq!(
            refusal(one.add(&unstarted, false).await),
            precondition("re-configuration failed due to not enough started members")
        );
        two.start();
        put_soon(two.address(), "k/3", "v").await;
        until("the second is started", async || {
            one.members()
                .await
                .iter()
                .all(|member| !member.name.is_empty())
                .then_some(())
        })
        .await;
        let mut three = joiner("three", &[&one, &two]);
        until("a third is added", async || {
            two.add(&three.peer, false).await.ok()
        })
        .await;
        three.start();
        put_soon(three.address(), "k/4", "v").await;
        until("all are started", async || {
            let members = three.members().await;
            (members.len() == 3 && members.iter().all(|member| !member.name.is_empty())).then_some(())
        })
        .await;
        assert_level(&[&one, &two, &three]).await;
        // Started is who votes: one may go.
        one.kill();
        put_soon(two.address(), "k/5", "v").await;
        assert_eq!(get_prefix(three.address(), "k/").await.unwrap().count, 5);
    });
}

#[test]
fn a_removed_leader_hands_over_first() {
    run(async {
        let seats = founders(&["one", "two", "three"]);
        put_soon(seats[0].address(), "k/0", "v").await;
        let leads = leader(&seats).await;
        let via = &seats[(leads + 1) % 3];
        let writer = Writer::start("w", vec![via.address().to_owned()]);
        let id = seats[leads].id().await;
        until("the leader is removed", async || via.remove(id).await.ok()).await;
        assert_eq!(
            seats[leads].error().await,
            "the member has been permanently removed from the cluster"
        );
        let acknowledged = writer.finish().await;
        assert_kept(&seats[(leads + 2) % 3], "w", &acknowledged).await;
        assert_eq!(via.members().await.len(), 2);
        // It was one of two now: the last but one may go, the last not.
        let other = seats[(leads + 2) % 3].id().await;
        until("one of two is removed", async || via.remove(other).await.ok()).await;
        assert_eq!(
            refusal(via.remove(via.id().await).await),
            precondition("re-configuration failed due to not enough started members")
        );
        put_soon(via.address(), "k/1", "v").await;
    });
}

#[test]
fn a_wiped_member_rejoins_by_its_own_command() {
    run(async {
        let mut seats = founders(&["one", "two", "three"]);
        for seat in &seats {
            put_soon(seat.address(), "k", "v").await;
        }
        until("all are published", async || {
            let members = seats[0].members().await;
            members.iter().all(|member| !member.name.is_empty()).then_some(())
        })
        .await;
        for wiped in [leader(&seats).await, (leader(&seats).await + 1) % 3] {
            let before = seats[wiped].id().await;
            let others: Vec<String> = (0..3)
                .filter(|at| *at != wiped)
                .map(|at| seats[at].address().to_owned())
                .collect();
            let writer = Writer::start(&format!("w{wiped}"), others);
            seats[wiped].kill();
            seats[wiped].wipe();
            seats[wiped].start();
            // It answers linearizably, so it has all of it.
            put_soon(seats[wiped].address(), "k", "again").await;
            let acknowledged = writer.finish().await;
            assert_kept(&seats[wiped], &format!("w{wiped}"), &acknowledged).await;
            let after = seats[wiped].id().await;
            assert_ne!(before, after, "who forgot is somebody else");
            let members = until("the new one is published", async || {
                let members = seats[wiped].members().await;
                members
                    .iter()
                    .all(|member| !member.name.is_empty())
                    .then_some(members)
            })
            .await;
            assert_eq!(members.len(), 3);
            assert!(
                members
                    .iter()
                    .all(|member| !member.is_learner && member.id != before)
            );
            assert_level(&[&seats[0], &seats[1], &seats[2]]).await;
        }
    });
}

#[test]
fn who_is_no_member_is_not_let_in() {
    run(async {
        let seats = founders(&["one", "two", "three"]);
        put_soon(seats[0].address(), "k", "v").await;
        // Nobody has added it.
        let mut four = joiner("four", &[&seats[0], &seats[1], &seats[2]]);
        four.start();
        let error = four.error().await;
        assert!(error.contains("member count is unequal"), "{error}");
        // Nor is it one because it says that the cluster is new.
        four.node = None;
        four.config.initial_state = InitialState::New;
        four.start();
        let error = four.error().await;
        assert!(
            error.contains("none of its members has these peer URLs"),
            "{error}"
        );
        // Added, but under another address than it says.
        let other = ClusterPeer::new("four", "http://127.0.0.1:1");
        until("a member is added", async || {
            seats[0].add(&other, false).await.ok()
        })
        .await;
        four.node = None;
        four.config.initial_state = InitialState::Existing;
        four.start();
        let error = four.error().await;
        assert!(
            error.contains("PeerURLs: no match found for existing member"),
            "{error}"
        );
        assert_eq!(seats[0].members().await.len(), 4);
        // Its folder isn't another member's.
        four.node = None;
        let mut thief = seats[1].config.clone();
        thief.data_dir = DataDir::Simulated(MemoryDisk::new(), Duration::ZERO);
        thief.name = "nobody".to_owned();
        assert!(Member::new(thief, Env::production()).is_err());
    });
}

#[test]
fn a_folder_of_another_member_is_refused() {
    run(async {
        let mut seats = founders(&["one", "two", "three"]);
        put_soon(seats[0].address(), "k", "v").await;
        until("the first has applied who its members are", async || {
            (seats[0].members().await.len() == 3).then_some(())
        })
        .await;
        seats[0].kill();
        let swapped = MemberConfig {
            data_dir: seats[0].config.data_dir.clone(),
            ..seats[1].config.clone()
        };
        let error = Member::new(swapped, Env::production()).err().unwrap().to_string();
        assert!(error.contains("the data folder is of member"), "{error}");
    });
}

#[test]
fn a_survivor_is_made_a_cluster_of_its_own() {
    run(async {
        let mut seats = founders(&["one", "two", "three"]);
        for number in 0..20 {
            put_soon(seats[number % 3].address(), &format!("k/{number:02}"), "v").await;
        }
        assert_level(&[&seats[0], &seats[1], &seats[2]]).await;
        for seat in &mut seats {
            seat.kill();
        }
        seats[1].config.force_new_cluster = true;
        seats[1].start();
        put_soon(seats[1].address(), "k/20", "v").await;
        assert_eq!(get_prefix(seats[1].address(), "k/").await.unwrap().count, 21);
        let members = seats[1].members().await;
        assert_eq!(members.len(), 1);
        // From then on as usual.
        seats[1].kill();
        seats[1].config.force_new_cluster = false;
        seats[1].start();
        put_soon(seats[1].address(), "k/21", "v").await;
        let mut four = joiner("four", &[&seats[1]]);
        until("a member is added", async || {
            seats[1].add(&four.peer, false).await.ok()
        })
        .await;
        four.start();
        put_soon(four.address(), "k/22", "v").await;
        assert_level(&[&seats[1], &four]).await;
        // Those that were left behind are told.
        seats[0].start();
        assert!(seats[0].error().await.contains("permanently removed"));
    });
}

#[test]
fn a_member_that_is_down_keeps_others_out_and_can_be_removed() {
    run(async {
        let mut seats = founders(&["one", "two", "three"]);
        for seat in &seats {
            put_soon(seat.address(), "k", "v").await;
        }
        until("all are published", async || {
            let members = seats[0].members().await;
            members.iter().all(|member| !member.name.is_empty()).then_some(())
        })
        .await;
        let down = seats[2].id().await;
        seats[2].kill();
        put_soon(seats[0].address(), "k", "v").await;
        let four = joiner("four", &[]);
        let unhealthy = (Code::Unavailable, "etcdserver: unhealthy cluster".to_owned());
        // Asked so that nobody is added before.
        until("a member that is down is noticed", async || {
            (refusal(seats[0].add(&seats[1].peer, false).await) == unhealthy).then_some(())
        })
        .await;
        assert_eq!(refusal(seats[0].add(&four.peer, false).await), unhealthy);
        assert_eq!(refusal(seats[0].remove(seats[1].id().await).await), unhealthy);
        let left = seats[0].remove(down).await.unwrap();
        assert_eq!(left.members.len(), 2);
        assert_eq!(
            refusal(seats[0].remove(down).await),
            (Code::NotFound, "etcdserver: member not found".to_owned())
        );
        seats[2].start();
        assert!(seats[2].error().await.contains("permanently removed"));
    });
}

#[test]
fn a_member_moves_to_another_address() {
    run(async {
        let mut seats = founders(&["one", "two", "three"]);
        put_soon(seats[0].address(), "k/0", "v").await;
        let moving = (leader(&seats).await + 1) % 3;
        let id = seats[moving].id().await;
        let stay = (moving + 1) % 3;
        let address = free_address();
        let update = MemberUpdateRequest {
            id,
            peer_ur_ls: vec![format!("http://{address}")],
        };
        seats[moving].kill();
        until("the address is changed", async || {
            seats[stay].cluster().member_update(update.clone()).await.ok()
        })
        .await;
        // The configuration of the others still has the old one.
        seats[moving].config.peer_listen = Some(address);
        seats[moving].start();
        put_soon(seats[moving].address(), "k/1", "v").await;
        assert_level(&[&seats[0], &seats[1], &seats[2]]).await;
        assert_eq!(seats[moving].id().await, id);
        for at in [moving, stay] {
            let members = seats[at].members().await;
            let moved = members.iter().find(|member| member.id == id).unwrap();
            assert_eq!(moved.peer_ur_ls, update.peer_ur_ls);
        }
        // Also when the one that stayed is led by others, and after its own restart.
        seats[stay].kill();
        seats[stay].start();
        put_soon(seats[stay].address(), "k/2", "v").await;
        assert_level(&[&seats[0], &seats[1], &seats[2]]).await;
    });
}

#[test]
fn a_rolling_restart_fails_no_write() {
    run(async {
        let mut seats = founders(&["one", "two", "three"]);
        put_soon(seats[0].address(), "k", "v").await;
        let endpoints: Vec<String> = seats.iter().map(|seat| seat.address().to_owned()).collect();
        let writers: Vec<Writer> = (0..3)
            .map(|number| {
                let mut endpoints = endpoints.clone();
                endpoints.rotate_left(number);
                Writer::start(&format!("w{number}"), endpoints)
            })
            .collect();
        for round in 0..2 {
            for (at, seat) in seats.iter_mut().enumerate() {
                let node = seat.node.take().unwrap();
                tokio::task::spawn_blocking(move || node.stop()).await.unwrap();
                seat.start();
                put_soon(seat.address(), "k", &format!("{round}/{at}")).await;
            }
        }
        for (number, writer) in writers.into_iter().enumerate() {
            let acknowledged = writer.finish().await;
            for seat in &seats {
                assert_kept(seat, &format!("w{number}"), &acknowledged).await;
            }
        }
        assert_level(&[&seats[0], &seats[1], &seats[2]]).await;
    });
}

#[test]
fn writes_resume_soon_after_the_leader_is_killed() {
    run(async {
        let mut seats = founders(&["one", "two", "three"]);
        put_soon(seats[0].address(), "k", "v").await;
        let pauses = Arc::new(Mutex::new(Vec::new()));
        for round in 0..5 {
            let leads = leader(&seats).await;
            seats[leads].kill();
            let since = Instant::now();
            put_soon(seats[(leads + 1) % 3].address(), "k", &round.to_string()).await;
            pauses.lock().unwrap().push(since.elapsed());
            seats[leads].start();
            put_soon(seats[leads].address(), "k", "back").await;
        }
        let mut pauses = pauses.lock().unwrap().clone();
        pauses.sort_unstable();
        eprintln!("writes go on after {pauses:?}");
    });
}

/// Debian's etcdctl.
fn etcdctl(seat: &Seat, args: &[&str]) -> Result<String, String> {
    let output = Command::new("etcdctl")
        .env("ETCDCTL_API", "3")
        .args(["--endpoints", seat.address(), "--command-timeout", "30s"])
        .args(args)
        .output()
        .expect("etcdctl is installed (Debian's etcd-client)");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stderr))
    }
}

#[test]
fn etcdctl_changes_the_members() {
    run(async {
        let seats = founders(&["one", "two", "three"]);
        put_soon(seats[0].address(), "k", "v").await;
        let mut four = joiner("four", &[&seats[0], &seats[1], &seats[2]]);
        until("all are published", async || {
            let members = seats[0].members().await;
            members.iter().all(|member| !member.name.is_empty()).then_some(())
        })
        .await;
        let url = four.peer.peer_urls[0].clone();
        let flag = format!("--peer-urls={url}");
        let added = until("a learner is added", async || {
            etcdctl(&seats[0], &["member", "add", "four", &flag, "--learner"]).ok()
        })
        .await;
        let id = added.split_whitespace().nth(1).unwrap().to_owned();
        assert!(
            added.starts_with(&format!("Member {id:>16} added to cluster ")),
            "{added}"
        );
        assert!(
            added.contains("ETCD_NAME=\"four\"\nETCD_INITIAL_CLUSTER=\""),
            "{added}"
        );
        assert!(added.contains(&format!("four={url}")), "{added}");
        assert!(
            added.contains("ETCD_INITIAL_CLUSTER_STATE=\"existing\""),
            "{added}"
        );
        let listed = etcdctl(&seats[1], &["member", "list"]).unwrap();
        assert!(
            listed.contains(&format!("{id}, unstarted, , {url}, , true\n")),
            "{listed}"
        );
        let json = etcdctl(&seats[1], &["member", "list", "-w", "json"]).unwrap();
        assert!(json.contains("\"isLearner\":true"), "{json}");
        let refused = etcdctl(&seats[1], &["member", "promote", &id]).unwrap_err();
        assert!(
            refused.contains("can only promote a learner member which is in sync with leader"),
            "{refused}"
        );
        four.start();
        let promoted = until("the learner is promoted", async || {
            etcdctl(&seats[2], &["member", "promote", &id]).ok()
        })
        .await;
        assert!(
            promoted.starts_with(&format!("Member {id:>16} promoted in cluster ")),
            "{promoted}"
        );
        let leads = leader(&seats).await;
        let moved = until("the leader moves", async || {
            let leads = leader(&seats).await;
            etcdctl(&seats[leads], &["move-leader", &id]).ok()
        })
        .await;
        assert!(moved.starts_with("Leadership transferred from "), "{moved}");
        let listed = etcdctl(&seats[leads], &["member", "list"]).unwrap();
        let client = four.config.client_advertise[0].clone();
        assert!(
            listed.contains(&format!("{id}, started, four, {url}, {client}, false\n")),
            "{listed}"
        );
        let updated = etcdctl(&seats[0], &["member", "update", &id, &flag]).unwrap();
        assert!(
            updated.starts_with(&format!("Member {id:>16} updated in cluster ")),
            "{updated}"
        );
        let removed = until("the new leader is removed", async || {
            etcdctl(&seats[0], &["member", "remove", &id]).ok()
        })
        .await;
        assert!(
            removed.starts_with(&format!("Member {id:>16} removed from cluster ")),
            "{removed}"
        );
        assert!(four.error().await.contains("permanently removed"));
        let refused = etcdctl(&seats[0], &["member", "remove", &id]).unwrap_err();
        assert!(refused.contains("etcdserver: member not found"), "{refused}");
    });
}
