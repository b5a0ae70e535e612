//! A conversation as it is shown: both directions, who began, what it carried.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use super::entry::{Entry, Phase};
use super::tls::Tls;
use crate::detect::dns::encrypted::encrypted;
use crate::finding::Pair;
use crate::name::NameSource;
use crate::opening::{Facts, Protocol};
use crate::process::Process;
use crate::time::Timestamp;

/// Why a conversation ended, after IPFIX `flowEndReason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// Still going on.
    Active,
    /// 1: silent for longer than the idle timeout.
    Idle,
    /// 3: FIN from both sides.
    Closed,
    /// 3: RST.
    Reset,
    /// 3: the five-tuple began anew.
    Reused,
    /// 4: the source ended (end of the capture, shutdown).
    Forced,
    /// 5: the table was full.
    LackOfRoom,
}

/// What one side sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Sent {
    /// Packets on the wire.
    pub packets: u64,
    /// Bytes on the wire, link layer included.
    pub bytes: u64,
    /// Bytes of transport payload, retransmissions left out.
    pub payload: u64,
    /// TCP flags seen, added up, or the first ICMP type.
    pub flags: u8,
}

/// Both directions of a five-tuple.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Conversation {
    pub start: Timestamp,
    pub end: Timestamp,
    pub duration_s: f64,
    pub originator: IpAddr,
    pub originator_port: u16,
    pub responder: IpAddr,
    pub responder_port: u16,
    #[serde(serialize_with = "protocol")]
    pub protocol: u8,
    pub originated: Sent,
    pub responded: Sent,
    pub turns: u32,
    /// Zeek's `conn_state`, as far as flags without their order tell.
    pub state: &'static str,
    pub end_reason: EndReason,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub community_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "NameSource::is_none")]
    pub name_source: NameSource,
    /// Application protocol by the first bytes (Zeek's `service`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<Protocol>,
    /// First protocol offered inside TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpn: Option<String>,
    /// JA4 fingerprint of the TLS client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ja4: Option<String>,
    #[serde(skip)]
    pub tls: Tls,
    /// How the flow asks for names in secret, and whom: `dns-over-https (Quad9)`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encrypted_dns: Option<String>,
    /// Of the end that is this host's; where both are, the originator's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<Process>,
    /// The responder's, where that is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub responder_process: Option<Process>,
    #[serde(skip_serializing_if = "is_zero")]
    pub vlan: u16,
    pub ifindex: u32,
    /// Rule that decided the conversation's packets, 0 for none.
    pub rule: u32,
}

impl Conversation {
    pub(crate) fn of(entry: &Entry, end_reason: EndReason) -> Self {
        let flow = entry.key.flow(entry.originator());
        let sent = |end: usize| Sent {
            packets: entry.totals.packets[end],
            bytes: entry.totals.bytes[end],
            payload: entry.totals.payload[end],
            flags: entry.flags[end],
        };
        let (orig, resp) = (entry.originator() as usize, entry.originator().opposite() as usize);
        let last_ns = entry.last_ns.max(entry.first_ns);
        Self {
            start: Timestamp(entry.first_ns),
            end: Timestamp(last_ns),
            duration_s: (last_ns - entry.first_ns) as f64 / 1e9,
            originator: flow.src.ip(),
            originator_port: flow.src_port(),
            responder: flow.dst.ip(),
            responder_port: flow.dst_port(),
            protocol: entry.key.proto,
            originated: sent(orig),
            responded: sent(resp),
            turns: entry.turns,
            state: entry.conn_state(),
            end_reason: match (end_reason, entry.phase) {
                (_, Phase::Ended) if entry.was_reset() => EndReason::Reset,
                (_, Phase::Ended) => EndReason::Closed,
                (reason, Phase::Alive | Phase::Reported) => reason,
            },
            community_id: entry.community_id(),
            name: entry.name.as_deref().map(str::to_owned),
            name_source: entry.name_source,
            service: service(entry),
            alpn: entry.opening.as_ref().and_then(|opening| opening.alpn.as_deref().map(str::to_owned)),
            ja4: entry.opening.as_ref().and_then(|opening| opening.ja4.as_deref().map(str::to_owned)),
            tls: entry.opening.as_deref().map(Tls::of).unwrap_or_default(),
            encrypted_dns: encrypted_dns(entry),
            process: entry.own_process().map(|process| (**process).clone()),
            responder_process: entry.responder_process.as_deref().filter(|_| entry.process.is_some()).cloned(),
            vlan: entry.vlan,
            ifindex: entry.ifindex,
            rule: entry.rule,
        }
    }
}

fn service(entry: &Entry) -> Option<Protocol> {
    let opening = entry.opening.as_ref().map(|opening| opening.protocol).filter(|protocol| protocol.is_known());
    opening.or_else(|| entry.facts.has(Facts::DNS).then_some(Protocol::Dns))
}

fn encrypted_dns(entry: &Entry) -> Option<String> {
    let flow = entry.key.flow(entry.originator());
    let pair = Pair {
        originator: flow.src.ip(),
        responder: flow.dst.ip(),
        responder_port: flow.dst_port(),
        proto: entry.key.proto,
    };
    let found = encrypted(&pair, entry.name.as_deref())?;
    Some(found.operator.map_or_else(|| found.transport.to_owned(), |whom| format!("{} ({whom})", found.transport)))
}

/// Returns the name of an IP protocol, or its number in decimal.
#[must_use]
pub fn protocol_name(number: u8) -> String {
    match number {
        1 => "icmp".to_owned(),
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        58 => "icmpv6".to_owned(),
        132 => "sctp".to_owned(),
        other => other.to_string(),
    }
}

fn protocol<S: Serializer>(number: &u8, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&protocol_name(*number))
}

fn is_zero(vlan: &u16) -> bool {
    *vlan == 0
}
