//! Answers as clients see them.

use super::{DnsOutcome, finish_chase, respond};
use crate::dns::DnsZone;
use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use serde_json::{Value, json};

fn zone() -> DnsZone {
    let mut zone = DnsZone::new("cluster.local");
    for (key, spec) in [
        (
            "default/web",
            json!({"clusterIP": "10.96.0.5", "clusterIPs": ["10.96.0.5"],
            "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}),
        ),
        (
            "default/db",
            json!({"clusterIP": "None", "clusterIPs": ["None"],
            "ports": [{"name": "sql", "port": 5432}]}),
        ),
        ("default/empty", json!({"clusterIP": "None"})),
        (
            "default/out",
            json!({"type": "ExternalName", "externalName": "example.com"}),
        ),
        (
            "default/in",
            json!({"type": "ExternalName", "externalName": "web.default.svc.cluster.local"}),
        ),
    ] {
        zone.set_service(
            key,
            &serde_json::from_value(json!({"spec": spec})).expect("a service"),
        );
    }
    set_slice(
        &mut zone,
        "default/db-1",
        "db",
        json!([
            {"addresses": ["10.244.1.2"], "hostname": "db-0", "conditions": {"ready": true}},
            {"addresses": ["10.244.1.3"], "conditions": {}},
            {"addresses": ["10.244.1.4"], "hostname": "db-2", "conditions": {"ready": false}},
        ]),
    );
    zone
}

fn set_slice(zone: &mut DnsZone, key: &str, service: &str, endpoints: Value) {
    let slice = json!({"metadata": {"namespace": "default", "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4", "endpoints": endpoints, "ports": [{"name": "sql", "port": 5432, "protocol": "TCP"}]});
    zone.set_slice(key, &serde_json::from_value(slice).expect("a slice"));
}

fn query(name: &str, kind: RecordType) -> Vec<u8> {
    let mut message = Message::query();
    message.metadata.id = 6;
    message.add_query(Query::query(Name::from_ascii(name).expect("a name"), kind));
    message.to_vec().expect("encodable")
}

/// `CODE: record data, …` in order of the data.
fn ask(zone: &DnsZone, name: &str, kind: RecordType) -> String {
    match respond(zone, &query(name, kind), true) {
        DnsOutcome::Reply(bytes) => {
            let message = Message::from_vec(&bytes).expect("decodable");
            assert_eq!(message.metadata.id, 6);
            let mut data: Vec<String> = message
                .answers
                .iter()
                .map(|record| record.data.to_string())
                .collect();
            data.sort();
            match message.metadata.response_code {
                ResponseCode::NoError => data.join(" | "),
                code => format!("{code:?}"),
            }
        }
        other => format!("{other:?}")
            .chars()
            .take_while(char::is_ascii_alphanumeric)
            .collect(),
    }
}

#[test]
fn every_kind_of_name_is_answered_by_the_specification() {
    let zone = zone();
    for (name, kind, expected) in [
        ("web.default.svc.cluster.local.", RecordType::A, "10.96.0.5"),
        ("WEB.Default.svc.cluster.LOCAL.", RecordType::A, "10.96.0.5"),
        ("web.default.svc.cluster.local.", RecordType::AAAA, ""),
        ("web.other.svc.cluster.local.", RecordType::A, "NXDomain"),
        ("default.svc.cluster.local.", RecordType::A, ""),
        ("other.svc.cluster.local.", RecordType::A, "NXDomain"),
        ("cluster.local.", RecordType::A, ""),
        (
            "_http._tcp.web.default.svc.cluster.local.",
            RecordType::SRV,
            "0 100 80 web.default.svc.cluster.local.",
        ),
        (
            "_http._udp.web.default.svc.cluster.local.",
            RecordType::SRV,
            "NXDomain",
        ),
        (
            "db.default.svc.cluster.local.",
            RecordType::A,
            "10.244.1.2 | 10.244.1.3",
        ),
        ("db-0.db.default.svc.cluster.local.", RecordType::A, "10.244.1.2"),
        (
            "10-244-1-3.db.default.svc.cluster.local.",
            RecordType::A,
            "10.244.1.3",
        ),
        ("db-2.db.default.svc.cluster.local.", RecordType::A, "NXDomain"),
        (
            "_sql._tcp.db.default.svc.cluster.local.",
            RecordType::SRV,
            "0 50 5432 10-244-1-3.db.default.svc.cluster.local. | 0 50 5432 db-0.db.default.svc.cluster.local.",
        ),
        ("empty.default.svc.cluster.local.", RecordType::A, "NXDomain"),
        (
            "5.0.96.10.in-addr.arpa.",
            RecordType::PTR,
            "web.default.svc.cluster.local.",
        ),
        (
            "2.1.244.10.in-addr.arpa.",
            RecordType::PTR,
            "db-0.db.default.svc.cluster.local.",
        ),
        ("8.8.8.8.in-addr.arpa.", RecordType::PTR, "Forward"),
        (
            "10-244-9-9.default.pod.cluster.local.",
            RecordType::A,
            "10.244.9.9",
        ),
        ("nonsense.default.pod.cluster.local.", RecordType::A, "NXDomain"),
        ("dns-version.cluster.local.", RecordType::TXT, "1.1.0"),
        (
            "out.default.svc.cluster.local.",
            RecordType::CNAME,
            "example.com.",
        ),
        ("out.default.svc.cluster.local.", RecordType::A, "Chase"),
        (
            "in.default.svc.cluster.local.",
            RecordType::A,
            "10.96.0.5 | web.default.svc.cluster.local.",
        ),
        ("example.com.", RecordType::A, "Forward"),
    ] {
        assert_eq!(ask(&zone, name, kind), expected, "{name} {kind}");
    }
}

#[test]
fn negative_answers_say_how_long_they_hold() {
    let DnsOutcome::Reply(bytes) = respond(
        &zone(),
        &query("x.default.svc.cluster.local.", RecordType::A),
        true,
    ) else {
        panic!("no reply");
    };
    let message = Message::from_vec(&bytes).expect("decodable");
    assert_eq!(message.authorities.len(), 1);
    assert!(message.metadata.authoritative);
}

#[test]
fn an_alias_ends_with_what_others_say_about_its_target() {
    let DnsOutcome::Chase { query, reply } = respond(
        &zone(),
        &query("out.default.svc.cluster.local.", RecordType::A),
        true,
    ) else {
        panic!("no chase");
    };
    let mut answer = Message::from_vec(&query).expect("decodable").into_response();
    answer.metadata.response_code = ResponseCode::NoError;
    let other = respond(
        &zone(),
        &super::tests::query("web.default.svc.cluster.local.", RecordType::A),
        true,
    );
    let DnsOutcome::Reply(other) = other else {
        panic!("no reply")
    };
    answer.add_answers(Message::from_vec(&other).expect("decodable").answers);
    let whole = finish_chase(&reply, Some(&answer.to_vec().expect("encodable")));
    assert_eq!(Message::from_vec(&whole).expect("decodable").answers.len(), 2);
    assert_eq!(finish_chase(&reply, None), reply);
}

#[test]
fn an_answer_too_large_for_udp_is_cut_and_marked() {
    let mut zone = zone();
    let many: Vec<Value> = (0..100)
        .map(|i| json!({"addresses": [format!("10.244.2.{i}")]}))
        .collect();
    set_slice(&mut zone, "default/db-2", "db", json!(many));
    let question = query("db.default.svc.cluster.local.", RecordType::A);
    let DnsOutcome::Reply(bytes) = respond(&zone, &question, true) else {
        panic!("no reply")
    };
    assert!(bytes.len() <= 512);
    assert!(Message::from_vec(&bytes).expect("decodable").metadata.truncation);
    let DnsOutcome::Reply(bytes) = respond(&zone, &question, false) else {
        panic!("no reply")
    };
    assert_eq!(Message::from_vec(&bytes).expect("decodable").answers.len(), 102);
}

#[test]
fn garbage_and_answers_get_no_conversation() {
    let zone = zone();
    assert_eq!(respond(&zone, &[1], true), DnsOutcome::Ignore);
    assert!(matches!(
        respond(&zone, &[0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 99], true),
        DnsOutcome::Reply(_)
    ));
    let mut reply = Message::from_vec(&query("a.", RecordType::A))
        .expect("decodable")
        .into_response();
    reply.metadata.id = 1;
    assert_eq!(
        respond(&zone, &reply.to_vec().expect("encodable"), true),
        DnsOutcome::Ignore
    );
}

#[test]
fn what_is_gone_is_not_answered() {
    let mut zone = zone();
    zone.remove_slice("default/db-1");
    assert_eq!(
        ask(&zone, "db.default.svc.cluster.local.", RecordType::A),
        "NXDomain"
    );
    for name in ["web", "db", "empty", "out", "in"] {
        zone.remove_service(&format!("default/{name}"));
    }
    assert_eq!(
        ask(&zone, "default.svc.cluster.local.", RecordType::A),
        "NXDomain"
    );
}
