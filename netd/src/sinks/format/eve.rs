//! EVE JSON, as Suricata writes it and its readers expect it. What only netd knows stands in an object `netd`.

use std::net::IpAddr;

use netd_engine::finding::Finding;
use netd_engine::flow::{Conversation, EndReason, Protocol, Sent, protocol_name};
use netd_engine::process::Process;
use netd_engine::time::Timestamp;
use netd_engine::verdict::Target;
use serde::Serialize;

use super::catalogue::{GENERATOR, signature};
use super::id::Id;
use super::{Flow, Log, Record, Site, Stats, json_line, priority, text};
use crate::store::events::VerdictEvent;
use crate::store::view::rounded;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const ICMPV6: u8 = 58;

/// Appends a record: a flow of TLS is two events, `tls` with its names and `flow`.
pub(super) fn write(record: &Record<'_>, site: &Site, out: &mut Vec<u8>) -> Option<Log> {
    match record {
        Record::Finding(finding) => json_line(&alert(finding, site), out),
        Record::Flow(flow) => {
            if let Some(tls) = tls(flow, site) {
                json_line(&tls, out);
            }
            json_line(&flow_event(flow, site), out);
        }
        Record::Verdict { at, event } => json_line(&drop_event(event, *at, site), out),
        Record::Stats { at, stats } => json_line(&stats_event(stats, *at, site), out),
    }
    Some(Log::All)
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

#[derive(Serialize)]
struct AlertBody<'a> {
    alert: Alert<'a>,
    netd: FindingExtras<'a>,
}

#[derive(Serialize)]
struct Alert<'a> {
    /// A verdict that follows is an event of its own.
    action: &'static str,
    gid: u32,
    signature_id: u32,
    rev: u32,
    signature: String,
    category: &'static str,
    severity: u8,
    metadata: Metadata<'a>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mitre_tactic_name: Vec<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    mitre_technique_id: &'a [&'static str],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mitre_technique_name: Vec<&'a str>,
    confidence: [&'static str; 1],
}

#[derive(Serialize)]
struct FindingExtras<'a> {
    finding_id: u64,
    detector: &'static str,
    severity: &'static str,
    score: f64,
    block: bool,
    first_seen: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(flatten)]
    process: Option<Who<'a>>,
    reasons: Vec<&'a str>,
}

/// Who did it, as far as it is known.
#[derive(Serialize)]
struct Who<'a> {
    pid: u32,
    comm: &'a str,
    uid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    exe: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<Parent<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<Container<'a>>,
}

#[derive(Serialize)]
struct Parent<'a> {
    pid: u32,
    comm: &'a str,
}

#[derive(Serialize)]
struct Container<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

impl<'a> Who<'a> {
    fn of(process: &'a Process) -> Self {
        let container = process.container.as_deref();
        Self {
            pid: process.id.pid,
            comm: &process.comm,
            uid: process.uid,
            exe: process.exe.as_deref(),
            sha256: process.sha256.as_deref(),
            parent: process.parents.first().map(|parent| Parent { pid: parent.id.pid, comm: &parent.comm }),
            container: container.map(|container| Container { id: &container.id, name: container.name.as_deref() }),
        }
    }
}

fn alert<'a>(finding: &'a Finding, site: &'a Site) -> Event<'a, AlertBody<'a>> {
    let pair = &finding.pair;
    let signature = signature(finding.detector);
    let tactics = finding.techniques.iter().map(|technique| technique.tactic);
    let alert = Alert {
        action: "allowed",
        gid: GENERATOR,
        signature_id: signature.id,
        rev: 1,
        signature: format!("NETD {}: {}", finding.detector.replace('_', " "), finding.title),
        category: signature.category,
        severity: priority(finding.severity),
        metadata: Metadata {
            mitre_tactic_name: tactics.collect(),
            mitre_technique_id: &finding.attack,
            mitre_technique_name: finding.techniques.iter().map(|technique| technique.name).collect(),
            confidence: [confidence(finding.score)],
        },
    };
    let extras = FindingExtras {
        finding_id: finding.id,
        detector: finding.detector,
        severity: finding.severity.name(),
        score: rounded(finding.score),
        block: finding.block,
        first_seen: timestamp(finding.first_seen),
        name: finding.name.as_deref(),
        process: finding.process.as_ref().map(Who::of),
        reasons: finding.reasons.iter().map(|reason| reason.value.as_str()).collect(),
    };
    Event {
        timestamp: timestamp(finding.time),
        flow_id: Some(Id::of_pair(pair).flow_id()),
        in_iface: None,
        event_type: "alert",
        vlan: None,
        ends: Ends {
            src_ip: Some(pair.originator),
            dest_ip: Some(pair.responder),
            dest_port: (!is_icmp(pair.proto)).then_some(pair.responder_port),
            proto: Some(proto(pair.proto)),
            ..Ends::default()
        },
        host: &site.host,
        body: AlertBody { alert, netd: extras },
    }
}

fn confidence(score: f64) -> &'static str {
    match score {
        score if score >= 0.9 => "High",
        score if score >= 0.7 => "Medium",
        _ => "Low",
    }
}

#[derive(Serialize)]
struct FlowBody<'a> {
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

fn flow_event<'a>(flow: &Flow<'a>, site: &'a Site) -> Event<'a, FlowBody<'a>> {
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
    Event { event_type: "flow", timestamp: timestamp(conversation.end), ..of_flow(flow, site, body) }
}

/// An event about a conversation, at its start.
fn of_flow<'a, B>(flow: &Flow<'a>, site: &'a Site, body: B) -> Event<'a, B> {
    let conversation = flow.conversation;
    let port = |port| (!is_icmp(conversation.protocol)).then_some(port);
    Event {
        timestamp: timestamp(conversation.start),
        flow_id: Some(Id::of_conversation(conversation).flow_id()),
        in_iface: flow.interface,
        event_type: "tls",
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

#[derive(Serialize)]
struct TlsBody<'a> {
    tls: Tls<'a>,
}

#[derive(Serialize)]
struct Tls<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    sni: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_alpns: Option<[&'a str; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ja4: Option<&'a str>,
}

fn tls<'a>(flow: &Flow<'a>, site: &'a Site) -> Option<Event<'a, TlsBody<'a>>> {
    let conversation = flow.conversation;
    let is_tls = conversation.service == Some(Protocol::Tls);
    let is_named = conversation.name_source == netd_engine::flow::NameSource::Sni;
    let sni = conversation.name.as_deref().filter(|_| is_named);
    let ja4 = conversation.ja4.as_deref();
    if !is_tls || (sni.is_none() && ja4.is_none()) {
        return None;
    }
    let tls = Tls { sni, client_alpns: conversation.alpn.as_deref().map(|alpn| [alpn]), ja4 };
    Some(of_flow(flow, site, TlsBody { tls }))
}

#[derive(Serialize)]
struct DropBody<'a> {
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

fn drop_event<'a>(event: &'a VerdictEvent, at: Timestamp, site: &'a Site) -> Event<'a, DropBody<'a>> {
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

#[derive(Serialize)]
struct StatsBody {
    stats: StatsPart,
}

#[derive(Serialize)]
struct StatsPart {
    uptime: u64,
    capture: Capture,
    decoder: Decoder,
    flow: FlowTotals,
    detect: Detect,
}

#[derive(Serialize)]
struct Capture {
    kernel_packets: u64,
    /// Records and events that could not be kept.
    kernel_drops: u64,
}

#[derive(Serialize)]
struct Decoder {
    pkts: u64,
    bytes: u64,
    invalid: u64,
}

#[derive(Serialize)]
struct FlowTotals {
    total: u64,
    active: u64,
}

#[derive(Serialize)]
struct Detect {
    alert: u64,
}

fn stats_event<'a>(stats: &Stats, at: Timestamp, site: &'a Site) -> Event<'a, StatsBody> {
    let stats = StatsPart {
        uptime: stats.uptime_s,
        capture: Capture { kernel_packets: stats.packets, kernel_drops: stats.lost },
        decoder: Decoder { pkts: stats.packets, bytes: stats.bytes, invalid: stats.unparsed_packets },
        flow: FlowTotals { total: stats.flows, active: stats.flows_active },
        detect: Detect { alert: stats.findings },
    };
    Event {
        timestamp: timestamp(at),
        flow_id: None,
        in_iface: None,
        event_type: "stats",
        vlan: None,
        ends: Ends::default(),
        host: &site.host,
        body: StatsBody { stats },
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
