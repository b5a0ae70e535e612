//! A look-up: the question, and the answer with its records (version 2 of these events).

use std::collections::BTreeMap;

use netd_engine::lookup::{Flags, Lookup};
use netd_engine::time::Timestamp;
use serde::Serialize;

use super::{Ends, Event, proto, timestamp};
use crate::sinks::format::Site;
use crate::sinks::format::id::Id;
use crate::sinks::format::text::{rcode, rtype};

/// What an event is made of.
#[derive(Clone, Copy)]
pub(super) struct Told<'a> {
    pub(super) lookup: &'a Lookup,
    pub(super) interface: Option<&'a str>,
    pub(super) site: &'a Site,
}

#[derive(Serialize)]
pub(super) struct DnsBody<'a> {
    dns: Dns<'a>,
}

#[derive(Serialize)]
struct Dns<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u8>,
    r#type: &'static str,
    id: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    rrname: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rrtype: Option<String>,
    opcode: u8,
    #[serde(flatten)]
    answer: Option<Answer<'a>>,
}

#[derive(Serialize)]
struct Answer<'a> {
    /// Both bytes in hexadecimal.
    flags: String,
    qr: bool,
    #[serde(skip_serializing_if = "is_false")]
    aa: bool,
    #[serde(skip_serializing_if = "is_false")]
    tc: bool,
    #[serde(skip_serializing_if = "is_false")]
    rd: bool,
    #[serde(skip_serializing_if = "is_false")]
    ra: bool,
    rcode: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    answers: Vec<Resource<'a>>,
    /// Data by type.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    grouped: BTreeMap<String, Vec<&'a str>>,
}

#[derive(Serialize)]
struct Resource<'a> {
    rrname: &'a str,
    rrtype: String,
    ttl: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    rdata: Option<&'a str>,
}

pub(super) fn query<'a>(told: Told<'a>) -> Option<Event<'a, DnsBody<'a>>> {
    let (at, flags) = told.lookup.asked?;
    Some(event(told, at, question(told.lookup, "query", flags)))
}

pub(super) fn answer<'a>(told: Told<'a>) -> Option<Event<'a, DnsBody<'a>>> {
    let reply = told.lookup.reply.as_ref()?;
    let flags = reply.flags;
    let mut grouped = BTreeMap::<String, Vec<&str>>::new();
    for record in &reply.records {
        if let Some(data) = record.data.as_deref() {
            grouped.entry(rtype(record.rtype)).or_default().push(data);
        }
    }
    let answer = Answer {
        flags: format!("{:x}", flags.0),
        qr: flags.is_response(),
        aa: flags.is_authoritative(),
        tc: flags.is_truncated(),
        rd: flags.recursion_desired(),
        ra: flags.recursion_available(),
        rcode: rcode(flags.rcode()),
        answers: reply
            .records
            .iter()
            .map(|record| Resource {
                rrname: &record.owner,
                rrtype: rtype(record.rtype),
                ttl: record.ttl_s,
                rdata: record.data.as_deref(),
            })
            .collect(),
        grouped,
    };
    let dns = Dns { version: Some(2), answer: Some(answer), ..question(told.lookup, "answer", flags) };
    Some(event(told, reply.at, dns))
}

fn question<'a>(lookup: &'a Lookup, kind: &'static str, flags: Flags) -> Dns<'a> {
    Dns {
        version: None,
        r#type: kind,
        id: lookup.id,
        rrname: lookup.name.as_deref(),
        rrtype: lookup.name.as_ref().map(|_| rtype(lookup.qtype)),
        opcode: flags.opcode(),
        answer: None,
    }
}

/// Questions and answers have the ends of their conversation.
fn event<'a>(told: Told<'a>, at: Timestamp, dns: Dns<'a>) -> Event<'a, DnsBody<'a>> {
    let carrier = &told.lookup.carrier;
    Event {
        timestamp: timestamp(at),
        flow_id: Some(Id::of_carrier(carrier).flow_id()),
        in_iface: told.interface,
        event_type: "dns",
        vlan: (carrier.vlan != 0).then_some([carrier.vlan]),
        ends: Ends {
            src_ip: Some(carrier.originator),
            src_port: Some(carrier.originator_port),
            dest_ip: Some(carrier.responder),
            dest_port: Some(carrier.responder_port),
            icmp_type: None,
            proto: Some(proto(carrier.protocol)),
            community_id: carrier.community_id.as_deref(),
        },
        host: &told.site.host,
        body: DnsBody { dns },
    }
}

const fn is_false(value: &bool) -> bool {
    !*value
}
