//! A verdict that came or went.

use netd_engine::time::Timestamp;
use netd_engine::verdict::Target;
use serde::Serialize;

use super::{Ends, Event, proto, timestamp};
use crate::sinks::format::{Site, text};
use crate::store::events::VerdictEvent;

#[derive(Serialize)]
pub(super) struct DropBody<'a> {
    drop: Drop<'a>,
    netd: VerdictExtras<'a>,
}

#[derive(Serialize)]
struct Drop<'a> {
    reason: &'a str,
}

#[derive(Serialize)]
struct VerdictExtras<'a> {
    verdict_id: u64,
    change: &'static str,
    action: &'static str,
    shadow: bool,
    target: &'a Target,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    packets: u64,
    bytes: u64,
}

pub(super) fn event<'a>(event: &'a VerdictEvent, at: Timestamp, site: &'a Site) -> Event<'a, DropBody<'a>> {
    let verdict = &event.entry.verdict;
    let ends = match verdict.target {
        Target::FiveTuple { source, source_port, destination, destination_port, proto: number } => Ends {
            src_ip: Some(source),
            src_port: Some(source_port),
            dest_ip: Some(destination),
            dest_port: Some(destination_port),
            proto: Some(proto(number)),
            ..Ends::default()
        },
        Target::Endpoint { address, port, proto: number } => {
            Ends { dest_ip: Some(address), dest_port: Some(port), proto: Some(proto(number)), ..Ends::default() }
        }
        Target::Host { address } => Ends { dest_ip: Some(address), ..Ends::default() },
        Target::Prefix { .. } => Ends::default(),
    };
    let extras = VerdictExtras {
        verdict_id: event.entry.id,
        change: text::change(event.change),
        action: text::action(&verdict.response),
        shadow: verdict.shadow,
        target: &verdict.target,
        until: verdict.until.map(timestamp),
        packets: event.entry.hits.packets,
        bytes: event.entry.hits.bytes,
    };
    Event {
        timestamp: timestamp(at),
        flow_id: None,
        in_iface: None,
        event_type: "drop",
        vlan: None,
        ends,
        host: &site.host,
        body: DropBody { drop: Drop { reason: &verdict.reason }, netd: extras },
    }
}
