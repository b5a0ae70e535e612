//! netd's own words: a JSON object a line, `event` first. The API and `netd replay` use the same.

use std::net::IpAddr;

use netd_engine::finding::Finding;
use netd_engine::flow::{EndReason, Sent, protocol_name};
use netd_engine::lookup::{Lookup, Record as Answer};
use netd_engine::region::Region;
use netd_engine::time::Timestamp;
use netd_engine::verdict::{Origin, Target, Verdict};
use serde::Serialize;

use super::{Flow, Record, Stats, json_line, text};
use crate::store::events::VerdictEvent;
use crate::store::view::{FindingView, rounded};
use crate::time;

/// Appends a record.
pub(super) fn write(record: &Record<'_>, out: &mut Vec<u8>) {
    match record {
        Record::Finding(finding) => json_line(&FindingLine::of(finding), out),
        Record::Flow(flow) => json_line(&FlowLine::of(flow), out),
        Record::Lookup { lookup, .. } => json_line(&LookupLine::of(lookup), out),
        Record::Verdict { at, event } => json_line(&VerdictLine::of(event, *at), out),
        Record::Stats { at, stats } => json_line(&StatsLine { event: "stats", time: *at, stats }, out),
    }
}

#[derive(Serialize)]
pub(crate) struct FindingLine<'a> {
    event: &'static str,
    #[serde(flatten)]
    finding: FindingView<'a>,
}

impl<'a> FindingLine<'a> {
    pub(crate) fn of(finding: &'a Finding) -> Self {
        Self { event: "finding", finding: FindingView::from(finding) }
    }
}

#[derive(Serialize)]
pub(crate) struct FlowLine<'a> {
    event: &'static str,
    #[serde(serialize_with = "time::serialize")]
    start: Timestamp,
    #[serde(serialize_with = "time::serialize")]
    end: Timestamp,
    duration_s: f64,
    originator: IpAddr,
    originator_port: u16,
    responder: IpAddr,
    responder_port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    responder_region: Option<&'a Region>,
    protocol: String,
    community_id: &'a Option<String>,
    originated: Sent,
    responded: Sent,
    turns: u32,
    state: &'static str,
    end_reason: EndReason,
    name: &'a Option<String>,
    #[serde(skip_serializing_if = "is_zero")]
    vlan: u16,
}

impl<'a> FlowLine<'a> {
    pub(crate) fn of(flow: &Flow<'a>) -> Self {
        let conversation = flow.conversation;
        Self {
            event: "flow",
            start: conversation.start,
            end: conversation.end,
            duration_s: rounded(conversation.duration_s),
            originator: conversation.originator,
            originator_port: conversation.originator_port,
            responder: conversation.responder,
            responder_port: conversation.responder_port,
            responder_region: flow.region,
            protocol: protocol_name(conversation.protocol),
            community_id: &conversation.community_id,
            originated: conversation.originated,
            responded: conversation.responded,
            turns: conversation.turns,
            state: conversation.state,
            end_reason: conversation.end_reason,
            name: &conversation.name,
            vlan: conversation.vlan,
        }
    }
}

fn is_zero(vlan: &u16) -> bool {
    *vlan == 0
}

#[derive(Serialize)]
struct LookupLine<'a> {
    event: &'static str,
    #[serde(serialize_with = "time::serialize")]
    time: Timestamp,
    originator: IpAddr,
    originator_port: u16,
    responder: IpAddr,
    responder_port: u16,
    protocol: String,
    community_id: &'a Option<String>,
    id: u16,
    name: &'a Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<String>,
    round_trip_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rcode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answers: Option<Vec<AnswerPart<'a>>>,
}

#[derive(Serialize)]
struct AnswerPart<'a> {
    name: &'a str,
    r#type: String,
    ttl_s: u32,
    data: &'a Option<String>,
}

impl<'a> LookupLine<'a> {
    fn of(lookup: &'a Lookup) -> Self {
        let (carrier, reply) = (&lookup.carrier, lookup.reply.as_ref());
        let part = |record: &'a Answer| AnswerPart {
            name: &record.owner,
            r#type: text::rtype(record.rtype),
            ttl_s: record.ttl_s,
            data: &record.data,
        };
        Self {
            event: "dns",
            time: lookup.begun(),
            originator: carrier.originator,
            originator_port: carrier.originator_port,
            responder: carrier.responder,
            responder_port: carrier.responder_port,
            protocol: protocol_name(carrier.protocol),
            community_id: &carrier.community_id,
            id: lookup.id,
            name: &lookup.name,
            r#type: lookup.name.as_ref().map(|_| text::rtype(lookup.qtype)),
            round_trip_s: lookup.round_trip_ns().map(|ns| rounded(ns as f64 / 1e9)),
            rcode: reply.map(|reply| text::rcode(reply.flags.rcode())),
            answers: reply.map(|reply| reply.records.iter().map(part).collect()),
        }
    }
}

#[derive(Serialize)]
struct VerdictLine<'a> {
    event: &'static str,
    #[serde(serialize_with = "time::serialize")]
    time: Timestamp,
    change: &'static str,
    id: u64,
    #[serde(serialize_with = "time::serialize")]
    created: Timestamp,
    action: &'static str,
    #[serde(serialize_with = "time::serialize_option")]
    until: Option<Timestamp>,
    packets: u64,
    target: &'a Target,
    origin: &'a Origin,
    reason: &'a str,
    shadow: bool,
}

impl<'a> VerdictLine<'a> {
    fn of(event: &'a VerdictEvent, at: Timestamp) -> Self {
        let Verdict { target, response, until, origin, reason, shadow } = &event.entry.verdict;
        Self {
            event: "verdict",
            time: at,
            change: text::change(event.change),
            id: event.entry.id,
            created: event.entry.created,
            action: text::action(response),
            until: *until,
            packets: event.entry.hits.packets,
            target,
            origin,
            reason,
            shadow: *shadow,
        }
    }
}

#[derive(Serialize)]
struct StatsLine<'a> {
    event: &'static str,
    #[serde(serialize_with = "time::serialize")]
    time: Timestamp,
    #[serde(flatten)]
    stats: &'a Stats,
}
