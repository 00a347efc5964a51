//! From the bytes of a query to the bytes of an answer.

use super::lookup::Found;
use super::zone::DnsZone;
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use std::net::IpAddr;

/// Seconds that clients may keep a record (CoreDNS: 5).
const TTL: u32 = 5;
/// The largest answer over UDP that we send or say we take: what passes everywhere unfragmented.
pub const MAX_UDP_MESSAGE: u16 = 1232;
/// What a client without EDNS takes over UDP.
const PLAIN_UDP_MESSAGE: usize = 512;

/// What to do about a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DnsOutcome {
    Reply(Vec<u8>),
    /// Not ours: ask the node's own resolvers, and hand their answer back as it is.
    Forward,
    /// The answer is an alias of a name that isn't ours: ask the node's resolvers `query`, then [`finish_chase`].
    Chase {
        query: Vec<u8>,
        reply: Vec<u8>,
    },
    /// Not a query: say nothing, so that two servers never talk to each other for ever.
    Ignore,
}

/// Answers `query`. `over_udp` limits the size to what the client takes.
pub fn respond(zone: &DnsZone, query: &[u8], over_udp: bool) -> DnsOutcome {
    let Ok(request) = Message::from_vec(query) else {
        return malformed(query);
    };
    if request.metadata.message_type != MessageType::Query {
        return DnsOutcome::Ignore;
    }
    let mut reply = reply_to(&request);
    let [question] = request.queries.as_slice() else {
        return finish(reply, ResponseCode::FormErr, &request, over_udp);
    };
    if request.metadata.op_code != OpCode::Query || question.query_class() != DNSClass::IN {
        return finish(reply, ResponseCode::NotImp, &request, over_udp);
    }
    let text = question.name().to_ascii().to_ascii_lowercase();
    let labels: Vec<&str> = text
        .trim_end_matches('.')
        .split('.')
        .filter(|label| !label.is_empty())
        .collect();
    let found = zone.find(&labels);
    if found == Found::Foreign {
        return DnsOutcome::Forward;
    }
    reply.metadata.authoritative = true;
    if let Found::Alias(target) = &found {
        return alias(zone, reply, &request, question, target, over_udp);
    }
    let code = answer(&mut reply, question, &found, request.metadata.id);
    if reply.answers.is_empty()
        && let Some(authority) = authority(zone)
    {
        reply.add_authority(authority);
    }
    finish(reply, code, &request, over_udp)
}

/// Completes an alias with what the node's resolvers say about its target; `None` when they don't answer.
pub fn finish_chase(reply: &[u8], answer: Option<&[u8]>) -> Vec<u8> {
    let (Ok(mut whole), Some(Ok(answer))) = (Message::from_vec(reply), answer.map(Message::from_vec)) else {
        return reply.to_vec();
    };
    whole.add_answers(answer.answers);
    whole.metadata.response_code = answer.metadata.response_code;
    whole.to_vec().unwrap_or_else(|_| reply.to_vec())
}

/// The answer when nobody can be asked.
pub fn server_failure(query: &[u8]) -> Option<Vec<u8>> {
    let request = Message::from_vec(query).ok()?;
    let mut reply = reply_to(&request);
    reply.metadata.response_code = ResponseCode::ServFail;
    reply.to_vec().ok()
}

fn malformed(query: &[u8]) -> DnsOutcome {
    // Only something that has an id can be answered.
    let [high, low, flags, ..] = query else {
        return DnsOutcome::Ignore;
    };
    if flags & 0x80 != 0 {
        return DnsOutcome::Ignore;
    }
    let id = u16::from_be_bytes([*high, *low]);
    match Message::error_msg(id, OpCode::Query, ResponseCode::FormErr).to_vec() {
        Ok(bytes) => DnsOutcome::Reply(bytes),
        Err(_) => DnsOutcome::Ignore,
    }
}

fn reply_to(request: &Message) -> Message {
    let mut reply = Message::response(request.metadata.id, request.metadata.op_code);
    reply.metadata.recursion_desired = request.metadata.recursion_desired;
    reply.metadata.recursion_available = true;
    for question in &request.queries {
        reply.add_query(question.clone());
    }
    if request.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(MAX_UDP_MESSAGE);
        reply.set_edns(edns);
    }
    reply
}

fn finish(mut reply: Message, code: ResponseCode, request: &Message, over_udp: bool) -> DnsOutcome {
    reply.metadata.response_code = code;
    let Ok(mut bytes) = reply.to_vec() else {
        return DnsOutcome::Ignore;
    };
    if over_udp {
        let takes = request.edns.as_ref().map_or(PLAIN_UDP_MESSAGE, |edns| {
            usize::from(edns.max_payload().min(MAX_UDP_MESSAGE)).max(PLAIN_UDP_MESSAGE)
        });
        if bytes.len() > takes {
            // Empty and marked: the client comes again over TCP.
            let mut short = reply.truncate();
            short.metadata.truncation = true;
            match short.to_vec() {
                Ok(short) => bytes = short,
                Err(_) => return DnsOutcome::Ignore,
            }
        }
    }
    DnsOutcome::Reply(bytes)
}

fn answer(reply: &mut Message, question: &Query, found: &Found, id: u16) -> ResponseCode {
    let (name, kind) = (question.name(), question.query_type());
    let mut answers: Vec<Record> = Vec::new();
    let mut extra: Vec<Record> = Vec::new();
    match found {
        Found::Addresses(addresses) => {
            answers.extend(
                addresses
                    .iter()
                    .filter_map(|address| address_record(name, *address, kind)),
            );
        }
        Found::Text(text) if matches!(kind, RecordType::TXT | RecordType::ANY) => {
            answers.push(Record::from_rdata(
                name.clone(),
                TTL,
                RData::TXT(TXT::new(vec![text.clone()])),
            ));
        }
        Found::Names(names) if matches!(kind, RecordType::PTR | RecordType::ANY) => {
            let targets = names.iter().filter_map(|target| full_name(target));
            answers
                .extend(targets.map(|target| Record::from_rdata(name.clone(), TTL, RData::PTR(PTR(target)))));
        }
        Found::Locations(locations) if matches!(kind, RecordType::SRV | RecordType::ANY) => {
            // As CoreDNS does: equal shares of a hundred.
            let weight = u16::try_from(100 / locations.len().max(1)).unwrap_or(1).max(1);
            for location in locations {
                let Some(target) = full_name(&location.target) else {
                    continue;
                };
                for address in &location.addresses {
                    extra.extend(address_record(&target, *address, RecordType::ANY));
                }
                let data = RData::SRV(SRV::new(0, weight, location.port, target));
                answers.push(Record::from_rdata(name.clone(), TTL, data));
            }
        }
        Found::Unknown => return ResponseCode::NXDomain,
        _ => {}
    }
    // Another first answer for each query: most clients take the first.
    if !answers.is_empty() {
        let first = usize::from(id) % answers.len();
        answers.rotate_left(first);
    }
    reply.add_answers(answers);
    reply.add_additionals(extra);
    ResponseCode::NoError
}

fn alias(
    zone: &DnsZone,
    mut reply: Message,
    request: &Message,
    question: &Query,
    target: &str,
    over_udp: bool,
) -> DnsOutcome {
    let Some(target_name) = full_name(target) else {
        return finish(reply, ResponseCode::ServFail, request, over_udp);
    };
    let data = RData::CNAME(CNAME(target_name.clone()));
    reply.add_answer(Record::from_rdata(question.name().clone(), TTL, data));
    if question.query_type() == RecordType::CNAME {
        return finish(reply, ResponseCode::NoError, request, over_udp);
    }
    let text = target.trim_end_matches('.').to_ascii_lowercase();
    let labels: Vec<&str> = text.split('.').collect();
    match zone.find(&labels) {
        Found::Foreign => {}
        // An alias of an alias is given as it is: following further could go round in circles.
        found => {
            let next = Query::query(target_name, question.query_type());
            let code = answer(&mut reply, &next, &found, request.metadata.id);
            return finish(reply, code, request, over_udp);
        }
    }
    let mut chase = Message::query();
    chase.metadata.id = request.metadata.id;
    chase.metadata.recursion_desired = true;
    chase.add_query(Query::query(target_name, question.query_type()));
    match (chase.to_vec(), reply.to_vec()) {
        (Ok(query), Ok(reply)) => DnsOutcome::Chase { query, reply },
        _ => DnsOutcome::Ignore,
    }
}

fn address_record(name: &Name, address: IpAddr, kind: RecordType) -> Option<Record> {
    let data = match (address, kind) {
        (IpAddr::V4(address), RecordType::A | RecordType::ANY) => RData::A(A(address)),
        (IpAddr::V6(address), RecordType::AAAA | RecordType::ANY) => RData::AAAA(AAAA(address)),
        _ => return None,
    };
    Some(Record::from_rdata(name.clone(), TTL, data))
}

/// How long "no" may be kept, for resolvers that ask.
fn authority(zone: &DnsZone) -> Option<Record> {
    let domain = zone.domain.join(".");
    let soa = SOA::new(
        full_name(&format!("ns.dns.{domain}"))?,
        full_name(&format!("hostmaster.{domain}"))?,
        1,
        7200,
        1800,
        86400,
        TTL,
    );
    Some(Record::from_rdata(full_name(&domain)?, TTL, RData::SOA(soa)))
}

fn full_name(text: &str) -> Option<Name> {
    let mut name = Name::from_ascii(text).ok()?;
    name.set_fqdn(true);
    Some(name)
}

#[cfg(test)]
mod tests;
