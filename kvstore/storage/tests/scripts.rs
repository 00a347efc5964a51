//! Stories of the store's semantics: commands and what they come to, in `tests/scripts/*.txt`.
//!
//! A script is a list of paragraphs. Lines that begin with `#` tell the story, `> ` begins a command, and what
//! follows is what it comes to. With `KVSTORE_SCRIPTS=write` the answers are written instead of compared.
//!
//! Commands (`KEY` may hold `\0` and `\xff`; `END` is a key, or `*` for no end):
//! ```text
//! put KEY VALUE [lease=N] [prev] [keep-value] [keep-lease]     get KEY [END] [rev=N] [limit=N] [count] [keys]
//! del KEY [END] [prev]                                             [desc] [by=version|create|mod|value]
//! txn [if COMPARE, ..] [then OP; ..] [else OP; ..]                 [min-mod=N] [max-create=N]
//!     COMPARE: version|create|mod|lease|value of KEY = | > | < | != NUMBER or VALUE
//! grant ID TTL    revoke ID    leases    attached ID
//! compact REV     clean [EVENTS]         disk      hash      watch KEY [END] from=REV [prev]
//! ```
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use kvstore_core::{
    Command, Error, KeyRange, Meta, Overlay, PageLimits, Refusal, Response, Space, apply, check_delete,
    check_put, check_range, check_txn, compaction_step, hash_kv, history_page, lease_keys, leases, range,
};
use kvstore_storage::{Engine, MemoryDisk};
use proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use proto::etcdserverpb::request_op::Request;
use proto::etcdserverpb::response_op;
use proto::etcdserverpb::{
    CompactionRequest, Compare, DeleteRangeRequest, LeaseGrantRequest, LeaseRevokeRequest, PutRequest,
    RangeRequest, RangeResponse, RequestOp, ResponseOp, TxnRequest,
};
use proto::mvccpb::KeyValue;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

struct Stage {
    engine: Box<dyn Engine>,
}

impl Stage {
    fn new() -> Self {
        Self {
            engine: Box::new(MemoryDisk::new().open(Duration::ZERO)),
        }
    }

    /// What a command line comes to, as lines.
    fn run(&self, line: &str) -> String {
        let words = Words::of(line);
        let answer = match words.verb() {
            "txn" => self.txn(line.trim_start_matches("txn").trim()),
            "get" => {
                let request = words.range();
                check_range(&request)
                    .map_err(Error::from)
                    .and_then(|()| range(&*self.engine.view(), &request))
                    .map(|found| show_range(&found))
            }
            "put" => {
                let request = words.put();
                check_put(&request).map_err(Error::from).and_then(|()| {
                    self.apply(Command {
                        put: Some(request),
                        ..Command::default()
                    })
                })
            }
            "del" => {
                let request = words.delete();
                check_delete(&request).map_err(Error::from).and_then(|()| {
                    self.apply(Command {
                        delete_range: Some(request),
                        ..Command::default()
                    })
                })
            }
            "grant" => self.apply(Command {
                lease_grant: Some(LeaseGrantRequest {
                    id: words.number(1),
                    ttl: words.number(2),
                }),
                ..Command::default()
            }),
            "revoke" => self.apply(Command {
                lease_revoke: Some(LeaseRevokeRequest { id: words.number(1) }),
                ..Command::default()
            }),
            "compact" => self.apply(Command {
                compaction: Some(CompactionRequest {
                    revision: words.number(1),
                    physical: false,
                }),
                ..Command::default()
            }),
            "clean" => Ok(self.clean(words.0.get(1).map_or(1000, |_| words.number(1) as usize))),
            "leases" => {
                let found = leases(&*self.engine.view()).unwrap();
                Ok(lines(
                    found
                        .iter()
                        .map(|lease| format!("lease {} ttl {}", lease.id, lease.ttl)),
                ))
            }
            "attached" => {
                let found = lease_keys(&*self.engine.view(), words.number(1)).unwrap();
                Ok(lines(found.iter().map(|key| text(key))))
            }
            "disk" => Ok(self.disk()),
            "hash" => hash_kv(&*self.engine.view(), 0, &mut || true).map(|crc| {
                let crc = crc.unwrap();
                format!(
                    "hash {:08x} to {} compacted {}",
                    crc.hash, crc.revision, crc.compacted
                )
            }),
            "watch" => self.watch(&words),
            other => panic!("no such command: {other}"),
        };
        match answer {
            Ok(shown) if shown.is_empty() => "nothing".to_owned(),
            Ok(shown) => shown,
            Err(error) => format!("refused: {error}"),
        }
    }

    fn apply(&self, command: Command) -> Result<String, Error> {
        let view = self.engine.view();
        let mut state = Overlay::new(&*view);
        let applied = apply(&mut state, &command).unwrap();
        self.engine.write(&state.into_batch()).unwrap();
        let mut out = match applied.reply? {
            Response::Put(answer) => lines(answer.prev_kv.iter().map(|kv| format!("before: {}", show(kv)))),
            Response::DeleteRange(answer) => {
                let gone = answer.prev_kvs.iter().map(|kv| format!("before: {}", show(kv)));
                lines([format!("deleted {}", answer.deleted)].into_iter().chain(gone))
            }
            Response::Txn(answer) => {
                let verdict = if answer.succeeded { "succeeded" } else { "failed" };
                lines(
                    [verdict.to_owned(), show_ops(&answer.responses, 1)]
                        .into_iter()
                        .filter(|l| !l.is_empty()),
                )
            }
            Response::LeaseGrant(answer) => format!("lease {} ttl {}", answer.id, answer.ttl),
            _ => String::new(),
        };
        for event in &applied.events {
            let kind = if event.r#type == 0 { "PUT" } else { "DELETE" };
            let _ = write!(out, "\nevent {kind} {}", show(event.kv.as_ref().unwrap()));
        }
        let _ = write!(out, "\nrevision {}", applied.revision);
        Ok(out.trim_start().to_owned())
    }

    /// One step of at most `events` events.
    fn clean(&self, events: usize) -> String {
        let step = compaction_step(&*self.engine.view(), events).unwrap();
        self.engine.write(&step.batch).unwrap();
        if step.finished { "finished" } else { "more to do" }.to_owned()
    }

    /// How many versions are on disk.
    fn disk(&self) -> String {
        let view = self.engine.view();
        let count = |space| {
            let mut cursor = view.cursor(space);
            cursor.seek(&[]).unwrap();
            let mut count = 0;
            while cursor.entry().is_some() {
                count += 1;
                cursor.advance().unwrap();
            }
            count
        };
        format!(
            "{} in the order of revisions, {} in the order of keys, {} live",
            count(Space::History),
            count(Space::Keys),
            count(Space::Live)
        )
    }

    /// As a watcher that is behind is caught up, two revisions at a time.
    fn watch(&self, words: &Words) -> Result<String, Error> {
        let view = self.engine.view();
        let meta = Meta::read(&*view).unwrap();
        let mut next = words.value("from").unwrap();
        if next < meta.compacted {
            return Err(Refusal::Compacted.into());
        }
        let watched = KeyRange::new(words.key(1), words.end());
        let limits = PageLimits {
            revisions: 2,
            bytes: 1 << 20,
        };
        let mut out = Vec::new();
        while next <= meta.revision {
            let page =
                history_page(&*view, &watched, (next, meta.revision), words.has("prev"), limits).unwrap();
            for event in page.events {
                let kind = if event.r#type == 0 { "PUT" } else { "DELETE" };
                let before = event
                    .prev_kv
                    .map_or(String::new(), |kv| format!(" before: {}", show(&kv)));
                out.push(format!("{kind} {}{before}", show(&event.kv.unwrap())));
            }
            next = page.next_revision;
        }
        Ok(lines(out))
    }

    fn txn(&self, line: &str) -> Result<String, Error> {
        let part = |name: &str| {
            let names = ["if ", "then ", "else "];
            let padded = format!(" {line}");
            let start = padded.find(&format!(" {name}"))? + name.len() + 1;
            let rest = &padded[start..];
            let end = names
                .iter()
                .filter_map(|next| rest.find(&format!(" {next}")))
                .min();
            Some(rest[..end.unwrap_or(rest.len())].trim().to_owned())
        };
        let ops = |part: Option<String>| {
            let part = part.unwrap_or_default();
            let ops = part.split(';').map(str::trim).filter(|op| !op.is_empty());
            ops.map(|op| {
                let words = Words::of(op);
                let request = match words.verb() {
                    "put" => Request::RequestPut(words.put()),
                    "get" => Request::RequestRange(words.range()),
                    "del" => Request::RequestDeleteRange(words.delete()),
                    other => panic!("no such operation: {other}"),
                };
                RequestOp {
                    request: Some(request),
                }
            })
            .collect()
        };
        let compares = part("if ").unwrap_or_default();
        let request = TxnRequest {
            compare: compares
                .split(',')
                .filter(|c| !c.trim().is_empty())
                .map(compare)
                .collect(),
            success: ops(part("then ")),
            failure: ops(part("else ")),
        };
        check_txn(&request, 128)?;
        self.apply(Command {
            txn: Some(request),
            ..Command::default()
        })
    }
}

fn compare(line: &str) -> Compare {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [target, "of", key, result, wanted] = words[..] else {
        panic!("no comparison: {line}");
    };
    let number = || wanted.parse().unwrap();
    let (target, union) = match target {
        "version" => (CompareTarget::Version, TargetUnion::Version(number())),
        "create" => (CompareTarget::Create, TargetUnion::CreateRevision(number())),
        "mod" => (CompareTarget::Mod, TargetUnion::ModRevision(number())),
        "lease" => (CompareTarget::Lease, TargetUnion::Lease(number())),
        "value" => (CompareTarget::Value, TargetUnion::Value(bytes(wanted))),
        other => panic!("no such target: {other}"),
    };
    let result = match result {
        "=" => CompareResult::Equal,
        "!=" => CompareResult::NotEqual,
        ">" => CompareResult::Greater,
        "<" => CompareResult::Less,
        other => panic!("no such comparison: {other}"),
    };
    let (key, range_end) = match key.split_once("..") {
        Some((key, "*")) => (key, Bytes::from_static(&[0])),
        Some((key, end)) => (key, bytes(end)),
        None => (key, Bytes::new()),
    };
    Compare {
        result: result as i32,
        target: target as i32,
        key: bytes(key),
        target_union: Some(union),
        range_end,
    }
}

/// The words of a command or operation.
struct Words(Vec<String>);

impl Words {
    fn of(line: &str) -> Self {
        Self(line.split_whitespace().map(str::to_owned).collect())
    }

    fn verb(&self) -> &str {
        &self.0[0]
    }

    fn has(&self, flag: &str) -> bool {
        self.0.iter().any(|word| word == flag)
    }

    fn value<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        let found = self
            .0
            .iter()
            .find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        found.and_then(|value| value.parse().ok())
    }

    fn number(&self, at: usize) -> i64 {
        self.0[at].parse().unwrap()
    }

    fn key(&self, at: usize) -> Bytes {
        bytes(&self.0[at])
    }

    /// The second key, if the third word is one.
    fn end(&self) -> Bytes {
        const FLAGS: [&str; 4] = ["prev", "count", "keys", "desc"];
        match self.0.get(2) {
            Some(word) if word == "*" => Bytes::from_static(&[0]),
            Some(word) if !word.contains('=') && !FLAGS.contains(&word.as_str()) => bytes(word),
            _ => Bytes::new(),
        }
    }

    fn put(&self) -> PutRequest {
        let (ignore_value, ignore_lease) = (self.has("keep-value"), self.has("keep-lease"));
        PutRequest {
            key: self.key(1),
            value: self.key(2),
            lease: self.value("lease").unwrap_or(0),
            prev_kv: self.has("prev"),
            ignore_value,
            ignore_lease,
        }
    }

    fn delete(&self) -> DeleteRangeRequest {
        DeleteRangeRequest {
            key: self.key(1),
            range_end: self.end(),
            prev_kv: self.has("prev"),
        }
    }

    fn range(&self) -> RangeRequest {
        let by: Option<String> = self.value("by");
        RangeRequest {
            key: self.key(1),
            range_end: self.end(),
            limit: self.value("limit").unwrap_or(0),
            revision: self.value("rev").unwrap_or(0),
            sort_order: if self.has("desc") { 2 } else { 0 },
            sort_target: match by.as_deref() {
                None => 0,
                Some("version") => 1,
                Some("create") => 2,
                Some("mod") => 3,
                Some("value") => 4,
                Some(other) => panic!("no such target: {other}"),
            },
            serializable: false,
            keys_only: self.has("keys"),
            count_only: self.has("count"),
            min_mod_revision: self.value("min-mod").unwrap_or(0),
            max_create_revision: self.value("max-create").unwrap_or(0),
            ..RangeRequest::default()
        }
    }
}

/// `""` is nothing, `\0` and `\xff` are bytes.
fn bytes(word: &str) -> Bytes {
    let mut out = Vec::new();
    let mut rest = if word == "\"\"" { "" } else { word };
    while let Some(first) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("\\0") {
            out.push(0);
            rest = after;
        } else if let Some(after) = rest.strip_prefix("\\xff") {
            out.push(0xff);
            rest = after;
        } else {
            out.extend(first.to_string().as_bytes());
            rest = &rest[first.len_utf8()..];
        }
    }
    out.into()
}

fn text(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "\"\"".to_owned();
    }
    bytes
        .iter()
        .map(|byte| match byte {
            0 => "\\0".to_owned(),
            0xff => "\\xff".to_owned(),
            byte => char::from(*byte).to_string(),
        })
        .collect()
}

fn show(kv: &KeyValue) -> String {
    let key = text(&kv.key);
    if kv.version == 0 {
        return format!("{key} @{}", kv.mod_revision);
    }
    let lease = if kv.lease == 0 {
        String::new()
    } else {
        format!(" lease {}", kv.lease)
    };
    format!(
        "{key} = {} @{} created @{} version {}{lease}",
        text(&kv.value),
        kv.mod_revision,
        kv.create_revision,
        kv.version
    )
}

fn show_range(found: &RangeResponse) -> String {
    let revision = found.header.map_or(0, |header| header.revision);
    let more = if found.more { ", more" } else { "" };
    let kvs = found.kvs.iter().map(show);
    lines(kvs.chain([format!("count {}{more}, revision {revision}", found.count)]))
}

fn show_ops(ops: &[ResponseOp], depth: usize) -> String {
    let indent = "  ".repeat(depth);
    lines(ops.iter().map(|op| {
        let shown = match op.response.as_ref().unwrap() {
            response_op::Response::ResponsePut(put) => match &put.prev_kv {
                None => "put".to_owned(),
                Some(kv) => format!("put, before: {}", show(kv)),
            },
            response_op::Response::ResponseDeleteRange(delete) => format!("deleted {}", delete.deleted),
            response_op::Response::ResponseRange(found) => {
                show_range(found).replace('\n', &format!("\n{indent}"))
            }
            response_op::Response::ResponseTxn(nested) => show_ops(&nested.responses, depth + 1),
        };
        format!("{indent}{shown}")
    }))
}

fn lines(lines: impl IntoIterator<Item = String>) -> String {
    lines.into_iter().collect::<Vec<_>>().join("\n")
}

/// The script with the answers that its commands come to.
fn play(script: &str) -> String {
    let stage = Stage::new();
    let mut out = String::new();
    let mut in_answer = false;
    for line in script.lines() {
        if let Some(command) = line.strip_prefix("> ") {
            let _ = writeln!(out, "{line}\n{}", stage.run(command));
            in_answer = true;
        } else if line.is_empty() || line.starts_with('#') {
            in_answer = false;
            let _ = writeln!(out, "{line}");
        } else {
            assert!(in_answer, "an answer without a command: {line}");
        }
    }
    out
}

#[test]
fn scripts_tell_the_truth() {
    let folder = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("tests/scripts");
    let mut played = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let script = std::fs::read_to_string(&path).unwrap();
        let answered = play(&script);
        played += 1;
        if std::env::var("KVSTORE_SCRIPTS").is_ok_and(|wish| wish == "write") {
            std::fs::write(&path, &answered).unwrap();
            continue;
        }
        for (number, (told, true_)) in script.lines().zip(answered.lines()).enumerate() {
            assert_eq!(told, true_, "{}, line {}", path.display(), number + 1);
        }
        assert_eq!(
            script.lines().count(),
            answered.lines().count(),
            "{}",
            path.display()
        );
    }
    assert!(played > 5, "only {played} scripts");
}
