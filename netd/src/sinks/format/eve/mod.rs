//! EVE JSON, as Suricata writes it and its readers expect it. What only netd knows stands in an object `netd`.

mod alert;
mod dns;
mod drop;
mod flow;
mod process;
mod stats;
mod tls;

use std::net::IpAddr;

use netd_engine::flow::protocol_name;
use netd_engine::time::Timestamp;
use serde::Serialize;

use super::id::Id;
use super::{Flow, Record, Site, json_line};

const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// Appends a record: a flow of TLS is two events, `tls` with its names and `flow`, and so is a look-up that was answered.
pub(super) fn write(record: &Record<'_>, site: &Site, out: &mut Vec<u8>) {
    match record {
        Record::Finding(finding) => json_line(&alert::event(finding, site), out),
        Record::Flow(flow) => {
            if let Some(tls) = tls::event(flow, site) {
                json_line(&tls, out);
            }
            json_line(&flow::event(flow, site), out);
        }
        Record::Lookup { lookup, interface } => {
            let told = dns::Told { lookup, interface: *interface, site };
            for event in [dns::query(told), dns::answer(told)].into_iter().flatten() {
                json_line(&event, out);
            }
        }
        Record::Verdict { at, event } => json_line(&drop::event(event, *at, site), out),
        Record::Stats { at, stats } => json_line(&stats::event(stats, *at, site), out),
    }
}

/// What every event begins with, and the one part that makes it of its type.
#[derive(Serialize)]
struct Event<'a, B> {
    timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    flow_id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    in_iface: Option<&'a str>,
    event_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    vlan: Option<[u16; 1]>,
    #[serde(flatten)]
    ends: Ends<'a>,
    #[serde(skip_serializing_if = "str::is_empty")]
    host: &'a str,
    #[serde(flatten)]
    body: B,
}

#[derive(Default, Serialize)]
struct Ends<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    src_ip: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    src_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dest_ip: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dest_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icmp_type: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proto: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    community_id: Option<&'a str>,
}

/// An event about a conversation, at its start.
fn of_flow<'a, B>(flow: &Flow<'a>, site: &'a Site, event_type: &'static str, body: B) -> Event<'a, B> {
    let conversation = flow.conversation;
    let port = |port| (!is_icmp(conversation.protocol)).then_some(port);
    Event {
        timestamp: timestamp(conversation.start),
        flow_id: Some(Id::of_conversation(conversation).flow_id()),
        in_iface: flow.interface,
        event_type,
        vlan: (conversation.vlan != 0).then_some([conversation.vlan]),
        ends: Ends {
            src_ip: Some(conversation.originator),
            src_port: port(conversation.originator_port),
            dest_ip: Some(conversation.responder),
            dest_port: port(conversation.responder_port),
            icmp_type: is_icmp(conversation.protocol).then_some(conversation.originated.flags),
            proto: Some(proto(conversation.protocol)),
            community_id: conversation.community_id.as_deref(),
        },
        host: &site.host,
        body,
    }
}

/// `2026-11-21T06:14:02.123456+0000`: no colon in the offset.
fn timestamp(time: Timestamp) -> String {
    let micros = i64::try_from(time.0 / 1_000).unwrap_or(i64::MAX);
    jiff::Timestamp::from_microsecond(micros)
        .unwrap_or(jiff::Timestamp::MAX)
        .strftime("%Y-%m-%dT%H:%M:%S%.6f+0000")
        .to_string()
}

const fn is_icmp(proto: u8) -> bool {
    matches!(proto, ICMP | ICMPV6)
}

fn proto(number: u8) -> String {
    match number {
        ICMPV6 => "IPv6-ICMP".to_owned(),
        other => protocol_name(other).to_uppercase(),
    }
}
