//! The loads.

use super::contender::Contender;
use super::load::{self, Measured, client, key, load, put_request};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};
use proto::authpb::{Permission, permission};
use proto::etcdserverpb::auth_client::AuthClient;
use proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use proto::etcdserverpb::kv_client::KvClient;
use proto::etcdserverpb::request_op::Request as Op;
use proto::etcdserverpb::watch_client::WatchClient;
use proto::etcdserverpb::watch_request::RequestUnion;
use proto::etcdserverpb::{
    AuthEnableRequest, AuthRoleAddRequest, AuthRoleGrantPermissionRequest, AuthUserAddRequest,
    AuthUserGrantRoleRequest, AuthenticateRequest, CompactionRequest, Compare, PutRequest, RangeRequest,
    RequestOp, TxnRequest, WatchCreateRequest, WatchRequest,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::Channel;

type Prepare = for<'a> fn(&'a mut Contender, usize) -> BoxFuture<'a, ()>;
type Run = for<'a> fn(&'a mut Contender, usize) -> BoxFuture<'a, Measured>;

pub struct Work {
    pub name: &'static str,
    /// Not measured.
    pub prepare: Prepare,
    pub run: Run,
}

const MANY: (usize, usize) = (1_000, 100);

pub const WORKS: &[Work] = &[
    Work {
        name: "put-1 256 B, 1 client",
        prepare: nothing,
        run: |c, scale| puts(c, (1, 1), 20 * scale).boxed(),
    },
    Work {
        name: "put-100 clients",
        prepare: nothing,
        run: |c, scale| puts(c, (100, 100), 200 * scale).boxed(),
    },
    Work {
        name: "auth: 100 clients put, known by tokens",
        prepare: nothing,
        run: |c, scale| puts_of_a_user(c, 200 * scale).boxed(),
    },
    Work {
        name: "put-1000 clients, 100 conns",
        prepare: nothing,
        run: |c, scale| puts(c, MANY, 400 * scale).boxed(),
    },
    Work {
        name: "get-1 linearizable, 1 client",
        prepare: |c, _| fill(c, 1_000, 256).boxed(),
        run: |c, scale| gets(c, (1, 1), 30 * scale).boxed(),
    },
    Work {
        name: "get-1000 linearizable",
        prepare: |c, _| fill(c, 1_000, 256).boxed(),
        run: |c, scale| gets(c, MANY, 500 * scale).boxed(),
    },
    Work {
        name: "range-10k keys, 4 clients",
        prepare: |c, _| fill(c, 10_000, 256).boxed(),
        run: |c, scale| ranges(c, 0, 3 * scale).boxed(),
    },
    Work {
        name: "limit-500 of many, 8 clients",
        prepare: |c, scale| fill(c, 10_000 * scale, 256).boxed(),
        run: |c, scale| ranges(c, 500, 5 * scale).boxed(),
    },
    Work {
        name: "mixed like Kubernetes",
        prepare: |c, _| fill(c, 2_000, 2_048).boxed(),
        run: |c, scale| mixed(c, 100 * scale).boxed(),
    },
    Work {
        name: "watch-1000 on one prefix",
        prepare: nothing,
        run: |c, scale| watchers(c, 1_000, 10 * scale, Watched::Prefix).boxed(),
    },
    Work {
        name: "watch-10k on one prefix",
        prepare: nothing,
        run: |c, scale| watchers(c, 10_000, scale, Watched::Prefix).boxed(),
    },
    Work {
        name: "watch-100k on single keys",
        prepare: nothing,
        run: |c, scale| watchers(c, 100_000, 200 * scale, Watched::Keys).boxed(),
    },
    Work {
        name: "compaction: 100 clients put beside it",
        prepare: nothing,
        run: |c, scale| beside_compaction(c, scale).boxed(),
    },
    Work {
        name: "failover",
        prepare: nothing,
        run: |c, scale| failover(c, (scale / 10).max(3)).boxed(),
    },
    Work {
        name: "memory of many keys of 1 KiB",
        prepare: nothing,
        run: |c, scale| memory(c, 10_000 * scale).boxed(),
    },
    Work {
        name: "restart with many keys",
        prepare: |c, scale| fill(c, 20_000 * scale, 64).boxed(),
        run: |c, _| restart(c).boxed(),
    },
    Work {
        name: "growth: put beside many keys",
        prepare: |c, scale| fill(c, 20_000 * scale, 2_048).boxed(),
        run: |c, scale| puts(c, (100, 100), 100 * scale).boxed(),
    },
];

fn nothing(_: &mut Contender, _: usize) -> BoxFuture<'_, ()> {
    futures::future::ready(()).boxed()
}

/// Writes keys 0 to `keys`, in transactions of many puts.
async fn fill(contender: &mut Contender, keys: usize, value: usize) {
    const BATCH: usize = 100;
    load(
        &contender.addresses(),
        (16, 8),
        keys.div_ceil(BATCH),
        move |mut kv, number| async move {
            let puts = (number * BATCH..(number + 1) * BATCH).map(|key| RequestOp {
                request: Some(Op::RequestPut(put_request(key, value))),
            });
            let request = TxnRequest {
                success: puts.collect(),
                ..TxnRequest::default()
            };
            // A full queue on the other side is no reason to give up.
            while kv.txn(request.clone()).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        },
    )
    .await;
}

async fn puts(contender: &mut Contender, clients: (usize, usize), total: usize) -> Measured {
    load(
        &contender.addresses(),
        clients,
        total,
        |mut kv, number| async move {
            kv.put(put_request(number, 256)).await.unwrap();
        },
    )
    .await
}

/// Puts by one user through a role, with authentication on.
async fn puts_of_a_user(contender: &mut Contender, total: usize) -> Measured {
    let token = sign_in(contender).await;
    let measured = load(
        &contender.addresses(),
        (100, 100),
        total,
        move |mut kv, number| {
            let request = put_as(&token, put_request(number, 256));
            async move {
                kv.put(request).await.unwrap();
            }
        },
    )
    .await;
    assert!(
        client(contender.address(0)).put(put_request(0, 1)).await.is_err(),
        "a stranger may write"
    );
    measured
}

/// Turns authentication on, where it is off, and gives the token of a user who may write.
async fn sign_in(contender: &Contender) -> AsciiMetadataValue {
    let mut auth = AuthClient::new(load::channel(contender.address(0)));
    let credentials = |name: &str| AuthenticateRequest {
        name: name.to_owned(),
        password: "secret".to_owned(),
    };
    // Refused in a second round, where everything is there already; what matters is the sign-in at the end.
    for (user, role) in [("root", "root"), ("writer", "writing")] {
        let add = AuthUserAddRequest {
            name: user.to_owned(),
            password: "secret".to_owned(),
            ..AuthUserAddRequest::default()
        };
        let _known = auth.user_add(add).await;
        let _known = auth
            .role_add(AuthRoleAddRequest {
                name: role.to_owned(),
            })
            .await;
        let grant = AuthUserGrantRoleRequest {
            user: user.to_owned(),
            role: role.to_owned(),
        };
        let _known = auth.user_grant_role(grant).await;
    }
    let permission = Permission {
        perm_type: permission::Type::Readwrite as i32,
        key: "/registry/".into(),
        range_end: "/registry0".into(),
    };
    let _known = auth
        .role_grant_permission(AuthRoleGrantPermissionRequest {
            name: "writing".to_owned(),
            perm: Some(permission),
        })
        .await;
    let _on = auth.auth_enable(AuthEnableRequest {}).await;
    let answer = auth.authenticate(credentials("writer")).await.unwrap();
    let token: AsciiMetadataValue = answer.into_inner().token.parse().unwrap();
    // A member that has not heard of all this yet would refuse.
    for address in contender.addresses() {
        while client(&address)
            .put(put_as(&token, put_request(0, 1)))
            .await
            .is_err()
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    token
}

fn put_as(token: &AsciiMetadataValue, put: PutRequest) -> tonic::Request<PutRequest> {
    let mut request = tonic::Request::new(put);
    request.metadata_mut().insert("token", token.clone());
    request
}

/// Writes 5,000 versions a percent of scale, of 10,000 keys, and has them compacted while clients go on putting.
async fn beside_compaction(contender: &mut Contender, scale: usize) -> Measured {
    for _ in 0..scale.div_ceil(2) {
        fill(contender, 10_000, 256).await;
    }
    let mut kv = client(contender.address(0));
    let header = kv.range(everything(1)).await.unwrap().into_inner().header;
    let request = CompactionRequest {
        revision: header.unwrap().revision,
        // Not waited for: etcd drops a connection that is only pinged for as long as this takes.
        physical: false,
    };
    kv.compact(request).await.unwrap();
    puts(contender, (100, 100), 200 * scale).await
}

async fn gets(contender: &mut Contender, clients: (usize, usize), total: usize) -> Measured {
    load(
        &contender.addresses(),
        clients,
        total,
        |mut kv, number| async move {
            let request = RangeRequest {
                key: key(number % 1_000),
                ..RangeRequest::default()
            };
            assert_eq!(kv.range(request).await.unwrap().into_inner().kvs.len(), 1);
        },
    )
    .await
}

fn everything(limit: i64) -> RangeRequest {
    RangeRequest {
        key: "/registry/pods/".into(),
        range_end: "/registry/pods0".into(),
        limit,
        ..RangeRequest::default()
    }
}

async fn ranges(contender: &mut Contender, limit: i64, total: usize) -> Measured {
    let clients = if limit == 0 { 4 } else { 8 };
    load(
        &contender.addresses(),
        (clients, clients),
        total,
        move |mut kv, _| async move {
            let answer = kv.range(everything(limit)).await.unwrap().into_inner();
            let expected = if limit == 0 { 10_000 } else { limit as usize };
            assert_eq!(answer.kvs.len(), expected);
            assert!(answer.count >= answer.kvs.len() as i64);
        },
    )
    .await
}

/// Creates, status updates, lease-like renewals, reads and paged lists, with four watches open.
async fn mixed(contender: &mut Contender, total: usize) -> Measured {
    let seen = Arc::new(AtomicU64::new(0));
    let watches = open_watches(&contender.addresses(), 4, 1, Watched::Prefix, &seen).await;
    let created = Arc::new(AtomicU64::new(0));
    // Keys of an earlier round must not be created again.
    let round = Instant::now().elapsed().as_nanos() ^ u128::from(std::process::id());
    let measured = load(&contender.addresses(), (100, 20), total, move |mut kv, number| {
        let created = Arc::clone(&created);
        async move {
            match number % 20 {
                // A create: absent before.
                0..4 => {
                    let id = created.fetch_add(1, Ordering::Relaxed);
                    let key = format!("/registry/pods/created/{round:x}-{id:08}");
                    guarded_put(&mut kv, key.into(), 0, 2_048).await;
                }
                // A status update: read, then write if unchanged.
                4..12 => {
                    let key = key(number * 7919 % 2_000);
                    let revision = mod_revision(&mut kv, key.clone()).await;
                    guarded_put(&mut kv, key, revision, 2_048).await;
                }
                // A node's lease.
                12..17 => {
                    let key: Bytes = format!("/registry/leases/node-{}", number % 200).into();
                    let revision = mod_revision(&mut kv, key.clone()).await;
                    guarded_put(&mut kv, key, revision, 300).await;
                }
                17..19 => {
                    mod_revision(&mut kv, key(number * 31 % 2_000)).await;
                }
                _ => {
                    kv.range(everything(100)).await.unwrap();
                }
            }
        }
    })
    .await;
    drop(watches);
    measured
}

async fn mod_revision(kv: &mut KvClient<Channel>, key: Bytes) -> i64 {
    let request = RangeRequest {
        key,
        ..RangeRequest::default()
    };
    let answer = kv.range(request).await.unwrap().into_inner();
    answer.kvs.first().map_or(0, |kv| kv.mod_revision)
}

/// As the API server writes: only if the key is as it was seen. Losing a race is fine.
async fn guarded_put(kv: &mut KvClient<Channel>, key: Bytes, revision: i64, value: usize) {
    let compare = Compare {
        result: CompareResult::Equal as i32,
        target: CompareTarget::Mod as i32,
        key: key.clone(),
        target_union: Some(TargetUnion::ModRevision(revision)),
        ..Compare::default()
    };
    let put = PutRequest {
        key: key.clone(),
        value: Bytes::from(vec![b'y'; value]),
        ..PutRequest::default()
    };
    let get = RangeRequest {
        key,
        ..RangeRequest::default()
    };
    let op = |request| RequestOp {
        request: Some(request),
    };
    let request = TxnRequest {
        compare: vec![compare],
        success: vec![op(Op::RequestPut(put))],
        failure: vec![op(Op::RequestRange(get))],
    };
    kv.txn(request).await.unwrap();
}

/// What watchers look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Watched {
    /// Each at the prefix of all pods.
    Prefix,
    /// Each at a pod of its own.
    Keys,
}

impl Watched {
    /// What the watcher of that number looks at.
    fn range(self, number: usize) -> (Bytes, Bytes) {
        match self {
            Self::Prefix => ("/registry/pods/".into(), "/registry/pods0".into()),
            Self::Keys => (key(number), Bytes::new()),
        }
    }
}

/// Opens watches; each event seen is counted. They end when the handles are dropped.
async fn open_watches(
    addresses: &[String],
    streams: usize,
    watches_per_stream: usize,
    watched: Watched,
    seen: &Arc<AtomicU64>,
) -> Vec<(
    tokio::sync::mpsc::Sender<WatchRequest>,
    tokio::task::JoinHandle<()>,
)> {
    let channels: Vec<Channel> = (0..streams.min(20))
        .map(|number| load::channel(&addresses[number % addresses.len()]))
        .collect();
    let mut handles = Vec::new();
    for stream in 0..streams {
        let (sender, receiver) = tokio::sync::mpsc::channel(watches_per_stream + 1);
        for number in 0..watches_per_stream {
            let (key, range_end) = watched.range(stream * watches_per_stream + number);
            let create = WatchCreateRequest {
                key,
                range_end,
                ..WatchCreateRequest::default()
            };
            let request = WatchRequest {
                request_union: Some(RequestUnion::CreateRequest(create)),
            };
            sender.send(request).await.unwrap();
        }
        let requests = tokio_stream::wrappers::ReceiverStream::new(receiver);
        let mut client =
            WatchClient::new(channels[stream % channels.len()].clone()).max_decoding_message_size(256 << 20);
        let mut responses = client.watch(requests).await.unwrap().into_inner();
        let mut created = 0;
        while created < watches_per_stream {
            let response = responses.next().await.unwrap().unwrap();
            created += usize::from(response.created);
        }
        let seen = Arc::clone(seen);
        let task = tokio::spawn(async move {
            while let Some(Ok(response)) = responses.next().await {
                seen.fetch_add(response.events.len() as u64, Ordering::Relaxed);
            }
        });
        handles.push((sender, task));
    }
    handles
}

/// A flat-out writer and many watchers: deliveries a second, until the last one has come.
async fn watchers(contender: &mut Contender, watchers: usize, total: usize, watched: Watched) -> Measured {
    let seen = Arc::new(AtomicU64::new(0));
    let opened = Instant::now();
    let watches = open_watches(&contender.addresses(), 100, watchers / 100, watched, &seen).await;
    let opened = opened.elapsed();
    let start = Instant::now();
    let mut measured = load(
        &contender.addresses(),
        (100, 20),
        total,
        |mut kv, number| async move {
            kv.put(put_request(number, 256)).await.unwrap();
        },
    )
    .await;
    let wanted = match watched {
        Watched::Prefix => total * watchers,
        Watched::Keys => total.min(watchers),
    } as u64;
    while seen.load(Ordering::Relaxed) < wanted {
        assert!(start.elapsed() < Duration::from_secs(300), "events are missing");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    measured.rate = wanted as f64 / start.elapsed().as_secs_f64();
    measured.note = format!(
        "[{:?} opened in {opened:.1?}, {:.0} MiB resident]",
        contender.kind,
        contender.resident_mib()
    );
    drop(watches);
    measured
}

/// Kill -9 of the leader, to the first write that another member acknowledges.
async fn failover(contender: &mut Contender, times: usize) -> Measured {
    let mut latencies = Vec::new();
    for number in 0..times {
        contender.ready().await;
        let leader = contender.leader().await;
        contender.kill_member(leader);
        let killed = Instant::now();
        let others = contender.addresses();
        let attempts = others.iter().map(|address| {
            let mut kv = client(address);
            async move {
                loop {
                    let attempt = kv.put(put_request(number, 256));
                    if let Ok(Ok(_)) = tokio::time::timeout(Duration::from_millis(500), attempt).await {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
            .boxed()
        });
        futures::future::select_all(attempts).await;
        latencies.push(killed.elapsed());
        contender.start_member(leader);
    }
    latencies.sort_unstable();
    Measured {
        rate: 1.0 / latencies[latencies.len() / 2].as_secs_f64(),
        latencies,
        ..Measured::default()
    }
}

async fn memory(contender: &mut Contender, keys: usize) -> Measured {
    let start = Instant::now();
    fill(contender, keys, 1_024).await;
    let rate = keys as f64 / start.elapsed().as_secs_f64();
    Measured {
        rate,
        note: format!(
            "[{:?} {:.0} MiB resident]",
            contender.kind,
            contender.resident_mib()
        ),
        ..Measured::default()
    }
}

/// Kill -9 of all members, to the first linearizable read.
async fn restart(contender: &mut Contender) -> Measured {
    for member in 0..contender.members() {
        contender.kill_member(member);
    }
    let start = Instant::now();
    for member in 0..contender.members() {
        contender.start_member(member);
    }
    let mut kv = client(contender.address(0));
    while kv.range(everything(1)).await.is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let took = start.elapsed();
    Measured {
        rate: 1.0 / took.as_secs_f64(),
        latencies: vec![took],
        ..Measured::default()
    }
}
