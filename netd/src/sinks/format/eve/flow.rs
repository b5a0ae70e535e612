//! A conversation that ended.

use netd_engine::flow::{Conversation, EndReason, Protocol, Sent};
use serde::Serialize;

use super::process::Who;
use super::{Event, of_flow, timestamp};
use crate::sinks::format::{Flow, Site};

const TCP: u8 = 6;

#[derive(Serialize)]
pub(super) struct FlowBody<'a> {
    app_proto: &'static str,
    flow: FlowPart,
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp: Option<TcpPart>,
    netd: FlowExtras<'a>,
}

#[derive(Serialize)]
struct FlowPart {
    pkts_toserver: u64,
    pkts_toclient: u64,
    bytes_toserver: u64,
    bytes_toclient: u64,
    start: String,
    end: String,
    /// Whole seconds.
    age: u64,
    state: &'static str,
    reason: &'static str,
}

#[derive(Serialize)]
struct TcpPart {
    tcp_flags: String,
    tcp_flags_ts: String,
    tcp_flags_tc: String,
    syn: bool,
    fin: bool,
    rst: bool,
    psh: bool,
    ack: bool,
    state: &'static str,
}

#[derive(Serialize)]
struct FlowExtras<'a> {
    turns: u32,
    conn_state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(flatten)]
    process: Option<Who<'a>>,
}

pub(super) fn event<'a>(flow: &Flow<'a>, site: &'a Site) -> Event<'a, FlowBody<'a>> {
    let conversation = flow.conversation;
    let Conversation { originated, responded, .. } = conversation;
    let body = FlowBody {
        app_proto: conversation.service.map_or("failed", app_proto),
        flow: FlowPart {
            pkts_toserver: originated.packets,
            pkts_toclient: responded.packets,
            bytes_toserver: originated.bytes,
            bytes_toclient: responded.bytes,
            start: timestamp(conversation.start),
            end: timestamp(conversation.end),
            age: conversation.end.0.saturating_sub(conversation.start.0) / 1_000_000_000,
            state: flow_state(conversation),
            reason: match conversation.end_reason {
                EndReason::Active => "unknown",
                EndReason::Idle | EndReason::Closed | EndReason::Reset => "timeout",
                EndReason::Reused => "tcp_reuse",
                EndReason::Forced => "shutdown",
                EndReason::LackOfRoom => "forced",
            },
        },
        tcp: (conversation.protocol == TCP).then(|| tcp(originated, responded)),
        netd: FlowExtras {
            turns: conversation.turns,
            conn_state: conversation.state,
            name: conversation.name.as_deref(),
            process: conversation.process.as_ref().map(Who::of),
        },
    };
    Event { timestamp: timestamp(conversation.end), ..of_flow(flow, site, "flow", body) }
}

/// Suricata's name of an application protocol, where it differs.
fn app_proto(protocol: Protocol) -> &'static str {
    match protocol.name() {
        "kerberos" => "krb5",
        "postgres" => "pgsql",
        "vnc" => "rfb",
        "bittorrent" => "bittorrent-dht",
        other => other,
    }
}

fn flow_state(conversation: &Conversation) -> &'static str {
    if matches!(conversation.end_reason, EndReason::Closed | EndReason::Reset) {
        "closed"
    } else if conversation.responded.packets > 0 {
        "established"
    } else {
        "new"
    }
}

fn tcp(originated: &Sent, responded: &Sent) -> TcpPart {
    const FIN: u8 = 0x01;
    const SYN: u8 = 0x02;
    const RST: u8 = 0x04;
    const PSH: u8 = 0x08;
    const ACK: u8 = 0x10;
    let (to_server, to_client) = (originated.flags, responded.flags);
    let all = to_server | to_client;
    let state = if all & (FIN | RST) != 0 {
        "closed"
    } else if to_server & SYN != 0 && to_client & SYN == 0 {
        "syn_sent"
    } else {
        "established"
    };
    TcpPart {
        tcp_flags: format!("{all:02x}"),
        tcp_flags_ts: format!("{to_server:02x}"),
        tcp_flags_tc: format!("{to_client:02x}"),
        syn: all & SYN != 0,
        fin: all & FIN != 0,
        rst: all & RST != 0,
        psh: all & PSH != 0,
        ack: all & ACK != 0,
        state,
    }
}
