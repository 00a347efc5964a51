//! Stories of users and roles. A line is `who: action => outcome`; `who` is a user at the auth revision of
//! now, `user@revision`, or `-` for nobody.

use super::{Gate, Identity, RightsCache, auth_state};
use crate::apply::Response;
use crate::command::Command;
use crate::overlay::Overlay;
use crate::read::{Cursor, Read, ReadError, Space};
use crate::refusal::Error;
use bytes::Bytes;
use proto::authpb::{Permission, UserAddOptions, permission::Type};
use proto::etcdserverpb::alarm_request::AlarmAction;
use proto::etcdserverpb::request_op::Request as Op;
use proto::etcdserverpb::{
    AlarmRequest, AlarmType, AuthDisableRequest, AuthEnableRequest, AuthRoleAddRequest,
    AuthRoleDeleteRequest, AuthRoleGrantPermissionRequest, AuthRoleRevokePermissionRequest,
    AuthUserAddRequest, AuthUserChangePasswordRequest, AuthUserDeleteRequest, AuthUserGrantRoleRequest,
    AuthUserRevokeRoleRequest, Compare, DeleteRangeRequest, InternalAuthenticateRequest, LeaseGrantRequest,
    LeaseRevokeRequest, PutRequest, RangeRequest, RequestHeader, RequestOp, TxnRequest,
};

/// A store with nothing in it.
struct Nothing;

impl Read for Nothing {
    fn get(&self, _: Space, _: &[u8]) -> Result<Option<Bytes>, ReadError> {
        Ok(None)
    }
    fn cursor(&self, _: Space) -> Box<dyn Cursor + '_> {
        Box::new(Nothing)
    }
}

impl Cursor for Nothing {
    fn seek(&mut self, _: &[u8]) -> Result<(), ReadError> {
        Ok(())
    }
    fn seek_back(&mut self, _: &[u8]) -> Result<(), ReadError> {
        Ok(())
    }
    fn retreat(&mut self) -> Result<(), ReadError> {
        Ok(())
    }
    fn advance(&mut self) -> Result<(), ReadError> {
        Ok(())
    }
    fn entry(&self) -> Option<(&[u8], &[u8])> {
        None
    }
}

fn bytes(word: &str) -> Bytes {
    Bytes::copy_from_slice(word.replace("\\0", "\0").as_bytes())
}

/// `key` or `key..end`.
fn range(word: &str) -> (Bytes, Bytes) {
    match word.split_once("..") {
        Some((key, end)) => (bytes(key), bytes(end)),
        None => (bytes(word), Bytes::new()),
    }
}

fn put(words: &[&str]) -> PutRequest {
    PutRequest {
        key: bytes(words[0]),
        lease: words
            .iter()
            .find_map(|word| word.strip_prefix("lease="))
            .map_or(0, |id| id.parse().unwrap()),
        prev_kv: words.contains(&"prev"),
        ..PutRequest::default()
    }
}

fn delete(words: &[&str]) -> DeleteRangeRequest {
    let (key, range_end) = range(words[0]);
    DeleteRangeRequest {
        key,
        range_end,
        prev_kv: words.contains(&"prev"),
    }
}

/// `if:range`, `then:operation`, `else:operation`; an operation is `put`, `get` or `del` of a range.
fn txn(words: &[&str]) -> TxnRequest {
    let mut request = TxnRequest::default();
    for word in words {
        let (part, rest) = word.split_once(':').unwrap();
        if part == "if" {
            let (key, range_end) = range(rest);
            request.compare.push(Compare {
                key,
                range_end,
                ..Compare::default()
            });
            continue;
        }
        let (verb, target) = rest.split_once(':').unwrap();
        let (key, range_end) = range(target);
        let op = match verb {
            "put" => Op::RequestPut(put(&[target])),
            "get" => Op::RequestRange(RangeRequest {
                key,
                range_end,
                ..RangeRequest::default()
            }),
            "del" => Op::RequestDeleteRange(delete(&[target])),
            "nested" => Op::RequestTxn(txn(&[format!("then:put:{target}").as_str()])),
            other => panic!("{other}"),
        };
        let op = RequestOp { request: Some(op) };
        match part {
            "then" => request.success.push(op),
            "else" => request.failure.push(op),
            other => panic!("{other}"),
        }
    }
    request
}

fn command(words: &[&str]) -> Command {
    let mut command = Command::default();
    let name = |at: usize| words[at].to_owned();
    match words[0] {
        "put" => command.put = Some(put(&words[1..])),
        "del" => command.delete_range = Some(delete(&words[1..])),
        "txn" => command.txn = Some(txn(&words[1..])),
        "lease" => {
            command.lease_grant = Some(LeaseGrantRequest {
                id: words[1].parse().unwrap(),
                ttl: 60,
            });
        }
        "alarm" => {
            command.alarm = Some(AlarmRequest {
                action: AlarmAction::Activate.into(),
                member_id: 1,
                alarm: AlarmType::Nospace.into(),
            });
        }
        "revoke-lease" => {
            command.lease_revoke = Some(LeaseRevokeRequest {
                id: words[1].parse().unwrap(),
            });
        }
        "enable" => command.auth_enable = Some(AuthEnableRequest {}),
        "disable" => command.auth_disable = Some(AuthDisableRequest {}),
        "login" => {
            command.authenticate = Some(InternalAuthenticateRequest {
                name: name(1),
                ..InternalAuthenticateRequest::default()
            });
        }
        "add-user" => {
            command.auth_user_add = Some(AuthUserAddRequest {
                name: words.get(1).copied().unwrap_or_default().to_owned(),
                hashed_password: "aGFzaA==".to_owned(),
                options: Some(UserAddOptions {
                    no_password: words.contains(&"no-password"),
                }),
                ..AuthUserAddRequest::default()
            });
        }
        "delete-user" => command.auth_user_delete = Some(AuthUserDeleteRequest { name: name(1) }),
        "password" => {
            command.auth_user_change_password = Some(AuthUserChangePasswordRequest {
                name: name(1),
                hashed_password: name(2),
                ..AuthUserChangePasswordRequest::default()
            });
        }
        "grant" => {
            command.auth_user_grant_role = Some(AuthUserGrantRoleRequest {
                user: name(1),
                role: name(2),
            });
        }
        "revoke" => {
            command.auth_user_revoke_role = Some(AuthUserRevokeRoleRequest {
                name: name(1),
                role: name(2),
            });
        }
        "add-role" => {
            command.auth_role_add = Some(AuthRoleAddRequest {
                name: words.get(1).copied().unwrap_or_default().to_owned(),
            });
        }
        "delete-role" => command.auth_role_delete = Some(AuthRoleDeleteRequest { role: name(1) }),
        "allow" => {
            let perm = words.get(2).map(|kind| {
                let (key, range_end) = range(words[3]);
                let kind = match *kind {
                    "r" => Type::Read,
                    "w" => Type::Write,
                    _ => Type::Readwrite,
                };
                Permission {
                    perm_type: kind as i32,
                    key,
                    range_end,
                }
            });
            command.auth_role_grant_permission = Some(AuthRoleGrantPermissionRequest { name: name(1), perm });
        }
        "forbid" => {
            let (key, range_end) = range(words[2]);
            command.auth_role_revoke_permission = Some(AuthRoleRevokePermissionRequest {
                role: name(1),
                key,
                range_end,
            });
        }
        other => panic!("{other}"),
    }
    command
}

fn outcome<T>(result: Result<T, Error>) -> String {
    match result {
        Ok(_) => "ok".to_owned(),
        Err(Error::Refused(refusal)) => {
            let text = refusal.to_string();
            text.trim_start_matches("etcdserver: ").to_owned()
        }
        Err(error) => panic!("{error}"),
    }
}

fn tell(story: &str) {
    let mut state = Overlay::new(&Nothing);
    let mut gate = Gate::open(&state).unwrap();
    let mut cache = RightsCache::default();
    for line in story.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (who, rest) = line.split_once(": ").unwrap();
        let (action, expected) = rest.split_once(" => ").unwrap();
        let auth = auth_state(&state).unwrap();
        assert_eq!(gate.state(), auth, "{line}");
        let identity = match who.split_once('@') {
            _ if who == "-" => Identity::default(),
            Some((name, revision)) => Identity {
                username: name.to_owned(),
                revision: revision.parse().unwrap(),
            },
            None => Identity {
                username: who.to_owned(),
                revision: auth.revision,
            },
        };
        let words: Vec<&str> = action.split_whitespace().collect();
        let got = match words[0] {
            "revision" => auth.revision.to_string(),
            "get" => {
                let (key, range_end) = range(words[1]);
                if auth.enabled {
                    let judge = cache.judge(&state, auth, identity).unwrap();
                    outcome(judge.read(&key, &range_end).map_err(Error::from))
                } else {
                    "ok".to_owned()
                }
            }
            "see-user" | "see-role" | "see-lease" => {
                let judge = cache.judge(&state, auth, identity).unwrap();
                outcome(match words[0] {
                    "see-user" => judge.see_user(words[1]).map_err(Error::from),
                    "see-role" => judge.see_role(words[1]).map_err(Error::from),
                    _ => judge.lease_reads(&state, words[1].parse().unwrap()),
                })
            }
            _ => {
                let command = Command {
                    header: Some(RequestHeader {
                        id: 0,
                        username: identity.username,
                        auth_revision: identity.revision,
                    }),
                    ..command(&words)
                };
                let applied = gate.apply(&mut state, &command).unwrap();
                if applied.reply.is_err() {
                    assert_eq!(applied.events, [], "{line}");
                }
                if let Ok(Response::Authenticate(answer)) = &applied.reply {
                    assert_eq!(answer.token, "", "{line}");
                }
                outcome(applied.reply.map_err(Error::from))
            }
        };
        assert_eq!(got, expected, "{line}");
    }
}

/// Auth enabled; `alice` has `role`, which may do nothing yet.
const PROLOGUE: &str = "
    -: add-user root => ok
    -: add-user alice => ok
    -: add-role role => ok
    -: grant alice role => ok
    -: grant root root => ok
    -: enable => ok
";

fn tell_after_prologue(story: &str) {
    tell(&format!("{PROLOGUE}\n{story}"));
}

#[test]
fn enabling_needs_a_root_user_with_the_root_role() {
    tell(
        "-: revision x => 1
         -: enable => root user does not exist
         -: login root => authentication is not enabled
         -: add-user root => ok
         -: enable => root user does not have root role
         -: grant root root => ok
         -: revision x => 3
         -: enable => ok
         -: revision x => 3
         root: enable => ok
         root: login root => ok
         -: put a => user name is empty
         root: disable => ok
         -: revision x => 4
         -: disable => ok
         -: revision x => 4
         -: put a => ok",
    );
}

#[test]
fn a_full_store_says_so_before_it_asks_who_wants_to_write() {
    tell_after_prologue(
        "alice: put a => permission denied
         root: alarm nospace => ok
         alice: put a => mvcc: database space exceeded
         -: lease 7 => mvcc: database space exceeded
         alice: txn then:put:a => mvcc: database space exceeded
         alice: txn then:get:a => permission denied
         alice: del a => permission denied",
    );
}

#[test]
fn users_and_roles_come_and_go() {
    tell(
        "-: add-user  => user name is empty
         -: add-user a => ok
         -: add-user a => user name already exists
         -: password b aGFzaA== => user name not found
         -: password a aGFzaA== => ok
         -: password a ??? => auth: authentication failed, password was given for no password user
         -: add-role  => role name is empty
         -: add-role r => ok
         -: add-role r => role name already exists
         -: grant b r => user name not found
         -: grant a s => role name not found
         -: grant a r => ok
         -: revision x => 5
         -: grant a r => ok
         -: revision x => 5
         -: revoke a s => role is not granted to the user
         -: revoke b r => user name not found
         -: allow r => permission not given
         -: allow s rw k => role name not found
         -: allow r rw b..a => invalid auth management
         -: allow r rw b..b => invalid auth management
         -: allow r rw ..a => invalid auth management
         -: allow r rw b..\\0 => ok
         -: allow r r b..\\0 => ok
         -: revision x => 7
         -: forbid r b => permission is not granted to the role
         -: forbid s b => role name not found
         -: forbid r b..\\0 => ok
         -: delete-role r => ok
         -: delete-role r => role name not found
         -: revoke a r => role is not granted to the user
         -: delete-user a => ok
         -: delete-user a => user name not found",
    );
}

#[test]
fn root_and_its_role_stay_while_auth_is_enabled() {
    tell_after_prologue(
        "root: delete-user root => invalid auth management
         root: delete-role root => invalid auth management
         root: revoke root root => invalid auth management
         root: revoke alice root => role is not granted to the user
         root: disable => ok
         -: revoke root root => ok
         -: delete-user root => ok",
    );
}

#[test]
fn only_root_manages() {
    tell_after_prologue(
        "-: add-user bob => user name is empty
         nobody: add-user bob => user name not found
         alice: add-user bob => permission denied
         alice: disable => permission denied
         alice: password alice aGFzaA== => permission denied
         alice: allow role rw k => permission denied
         alice: see-user alice => ok
         alice: see-user root => permission denied
         alice: see-role role => ok
         alice: see-role other => permission denied
         -: see-user alice => user name is empty
         root: see-user alice => ok
         root: add-user bob => ok
         root: grant bob root => ok
         bob: add-role more => ok",
    );
}

#[test]
fn a_user_without_a_password_can_not_log_in() {
    tell_after_prologue(
        "root: add-user cert no-password => ok
         root: login cert => authentication failed, invalid user ID or password
         root: login nobody => authentication failed, invalid user ID or password
         -: login alice => ok
         root: password cert aGFzaA== => ok
         -: login cert => authentication failed, invalid user ID or password",
    );
}

#[test]
fn kinds_of_permission_are_kept_apart() {
    tell_after_prologue(
        "root: put key => ok
         alice: get key => permission denied
         root: allow role r key => ok
         alice: get key => ok
         alice: get key..key\\0\\0 => permission denied
         alice: put key => permission denied
         alice: del key => permission denied
         root: allow role w key => ok
         alice: get key => permission denied
         alice: put key => ok
         alice: put key prev => permission denied
         alice: del key prev => permission denied
         alice: del key => ok
         root: allow role rw key => ok
         alice: put key prev => ok
         alice: del key prev => ok
         root: forbid role key => ok
         alice: get key => permission denied",
    );
}

#[test]
fn ranges_are_covered_by_all_grants_of_a_user_together() {
    tell_after_prologue(
        "root: add-role second => ok
         root: grant alice second => ok
         root: allow role rw a..c => ok
         root: allow second rw c..e => ok
         alice: get a..e => ok
         alice: del b..d prev => ok
         alice: get a..f => permission denied
         alice: get a..\\0 => permission denied
         root: allow second rw e..\\0 => ok
         alice: get a..\\0 => ok
         alice: get z => ok
         alice: get \\0..\\0 => permission denied
         root: allow role rw \\0..\\0 => ok
         alice: get \\0..\\0 => ok
         root: revoke alice role => ok
         alice: get a..e => permission denied
         alice: get c..e => ok",
    );
}

#[test]
fn a_transaction_needs_all_that_it_might_do() {
    tell_after_prologue(
        "root: allow role r r..s => ok
         root: allow role w w..x => ok
         alice: txn if:r then:put:w else:get:r1 => ok
         alice: txn if:w then:put:w => permission denied
         alice: txn if:r then:put:r => permission denied
         alice: txn if:r else:put:r => permission denied
         alice: txn if:r..t then:put:w => permission denied
         alice: txn if:r then:get:w => permission denied
         alice: txn if:r else:del:r => permission denied
         alice: txn if:r then:nested:w1 => ok
         alice: txn if:r else:nested:r1 => permission denied
         -: txn if:r then:put:w => user name is empty",
    );
}

#[test]
fn a_lease_is_used_and_revoked_by_who_may_write_its_keys() {
    tell_after_prologue(
        "root: allow role rw mine => ok
         root: allow role r theirs => ok
         alice: lease 7 => ok
         alice: put mine lease=7 => ok
         root: put theirs lease=7 => ok
         alice: put mine lease=7 => permission denied
         alice: revoke-lease 7 => permission denied
         alice: see-lease 7 => ok
         root: put secret lease=7 => ok
         alice: see-lease 7 => permission denied
         -: revoke-lease 7 => user name is empty
         alice: revoke-lease 8 => requested lease not found
         alice: put mine lease=8 => requested lease not found
         root: revoke-lease 7 => ok",
    );
}

#[test]
fn requests_of_an_older_auth_revision_are_refused() {
    tell_after_prologue(
        "root: allow role rw key => ok
         root: revision x => 7
         alice@7: put key => ok
         root: add-role more => ok
         alice@7: put key => revision of auth store is old
         alice@7: get key => revision of auth store is old
         root@7: put key => revision of auth store is old
         root@7: add-role evenmore => ok
         alice@9: put key => ok
         root: delete-user alice => ok
         alice: put key => permission denied",
    );
}
