//! A flow as it is shown, and as queries see it: alive in memory or read from a file.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;

use netd_engine::finding::Pair;
use netd_engine::flow::{Conversation, EndReason, NameSource, Sent, protocol_name};
use netd_engine::process::Process;
use netd_engine::region::Region;
use netd_engine::time::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value as Json;

use crate::query::{Field, Record, Value};
use crate::store::Row;
use crate::time;

/// The highest score of any finding, and its number, by pair.
pub type Scores = HashMap<Pair, (u64, f64)>;

/// A conversation: both directions of a five-tuple.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Flow {
    /// The flow's number; it grows with each that is begun.
    pub id: u64,
    /// When its first packet was seen.
    #[serde(serialize_with = "time::serialize")]
    #[schemars(with = "time::Rfc3339")]
    pub start: Timestamp,
    /// When its last packet was seen.
    #[serde(serialize_with = "time::serialize")]
    #[schemars(with = "time::Rfc3339")]
    pub end: Timestamp,
    /// Seconds from the first packet to the last.
    pub duration_s: f64,
    /// Who sent the first packet.
    pub originator: IpAddr,
    /// The originator's port.
    pub originator_port: u16,
    /// Who was addressed.
    pub responder: IpAddr,
    /// The responder's port.
    pub responder_port: u16,
    /// Where the responder is, or was when the flow was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Region>")]
    pub responder_region: Option<RegionView>,
    /// The transport protocol's name, or its IANA number.
    pub protocol: String,
    /// What the originator sent.
    pub originated: Sent,
    /// What the responder sent.
    pub responded: Sent,
    /// Times that a side began to speak.
    pub turns: u32,
    /// Zeek's `conn_state`, as far as flags without their order tell.
    pub state: Cow<'static, str>,
    /// Why it ended, or that it goes on.
    pub end_reason: EndReason,
    /// Community ID 1.0 of the five-tuple.
    pub community_id: Option<String>,
    /// Name of the responder: SNI, HTTP Host, or the DNS name that gave the address.
    pub name: Option<String>,
    /// Where the name comes from; not there without a name.
    #[serde(skip_serializing_if = "is_nowhere")]
    pub name_source: NameSource,
    /// Application protocol, as its first bytes tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// First protocol offered inside TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpn: Option<String>,
    /// JA4 fingerprint of the TLS client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ja4: Option<String>,
    /// How the flow asks for names in secret, and whom: `dns-over-https (Quad9)`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encrypted_dns: Option<String>,
    /// Of the end that is this host's; where both are, the originator's.
    #[schemars(with = "Option<Process>")]
    pub process: Option<Json>,
    /// The process that answers, where it is one of this host.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Process>")]
    pub responder_process: Option<Json>,
    /// VLAN tag.
    pub vlan: Option<u16>,
    /// Index of the interface that it was seen on.
    pub ifindex: u32,
    /// The kernel rule that decided its packets.
    pub rule: Option<u32>,
    /// `block`: a rule decided its packets; `alert`: there is a finding on its pair; `allow`: neither.
    #[schemars(extend("enum" = ["block", "alert", "allow"]))]
    pub verdict: &'static str,
    /// Number of the finding on its pair.
    pub finding: Option<u64>,
    /// Posterior probability of that finding, from 0 to 1.
    #[schemars(range(min = 0, max = 1))]
    pub score: Option<f64>,
}

/// Where a responder is, or was when the flow was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RegionView {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asn: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_name: Option<String>,
}

const fn is_nowhere(source: &NameSource) -> bool {
    matches!(source, NameSource::None)
}

impl From<Region> for RegionView {
    fn from(region: Region) -> Self {
        Self {
            country: region.country.map(|country| country.to_string()),
            asn: region.asn,
            as_name: region.as_name.as_deref().map(str::to_owned),
        }
    }
}

impl Flow {
    /// Returns a row as it is shown.
    #[must_use]
    pub fn of(row: &Row, region: Option<Region>, scores: &Scores) -> Self {
        let c = &row.conversation;
        let finding = scores.get(&pair(c)).copied();
        let json = |process| serde_json::to_value(process).ok();
        Self {
            id: row.sequence,
            start: c.start,
            end: c.end,
            duration_s: c.duration_s,
            originator: c.originator,
            originator_port: c.originator_port,
            responder: c.responder,
            responder_port: c.responder_port,
            responder_region: region.map(RegionView::from),
            protocol: protocol_name(c.protocol),
            originated: c.originated,
            responded: c.responded,
            turns: c.turns,
            state: Cow::Borrowed(c.state),
            end_reason: c.end_reason,
            community_id: c.community_id.clone(),
            name: c.name.clone(),
            name_source: c.name_source,
            service: c.service.map(|service| service.name().to_owned()),
            alpn: c.alpn.clone(),
            ja4: c.ja4.clone(),
            encrypted_dns: c.encrypted_dns.clone(),
            process: c.process.as_ref().and_then(json),
            responder_process: c.responder_process.as_ref().and_then(json),
            vlan: (c.vlan != 0).then_some(c.vlan),
            ifindex: c.ifindex,
            rule: (c.rule != 0).then_some(c.rule),
            verdict: verdict(c.rule, finding.is_some()),
            finding: finding.map(|(id, _)| id),
            score: finding.map(|(_, score)| score),
        }
    }
}

/// Returns whom a finding on this conversation is about.
#[must_use]
pub fn pair(c: &Conversation) -> Pair {
    Pair { originator: c.originator, responder: c.responder, responder_port: c.responder_port, proto: c.protocol }
}

pub(super) const fn verdict(rule: u32, has_finding: bool) -> &'static str {
    match (rule, has_finding) {
        (1.., _) => "block",
        (0, true) => "alert",
        (0, false) => "allow",
    }
}

/// Returns an end reason as queries write it.
pub(super) const fn reason_name(reason: EndReason) -> &'static str {
    match reason {
        EndReason::Active => "active",
        EndReason::Idle => "idle",
        EndReason::Closed => "closed",
        EndReason::Reset => "reset",
        EndReason::Reused => "reused",
        EndReason::Forced => "forced",
        EndReason::LackOfRoom => "lack_of_room",
    }
}

/// End reasons by the number under which files keep them.
pub(super) const REASONS: [EndReason; 7] = [
    EndReason::Active,
    EndReason::Idle,
    EndReason::Closed,
    EndReason::Reset,
    EndReason::Reused,
    EndReason::Forced,
    EndReason::LackOfRoom,
];

/// The same of where names come from.
pub(super) const SOURCES: [NameSource; 4] = [NameSource::None, NameSource::Dns, NameSource::Sni, NameSource::Host];

/// Returns a value's number in one of these tables.
pub(super) fn number_of<T: PartialEq>(table: &[T], value: &T) -> i64 {
    table.iter().position(|known| known == value).unwrap_or(0) as i64
}

/// Counts beyond what SQLite and JSON hold are cut.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A row in memory with what is known beside it, as a query sees it.
#[derive(Debug)]
pub struct Live<'r> {
    pub row: &'r Row,
    pub region: Option<Region>,
    pub finding: Option<(u64, f64)>,
}

impl<'r> Live<'r> {
    /// Joins a row with the finding on its pair; `region` is asked only when the query is about places.
    #[must_use]
    pub fn new(row: &'r Row, scores: &Scores, region: Option<Region>) -> Self {
        Self { row, region, finding: scores.get(&pair(&row.conversation)).copied() }
    }
}

impl Record for Live<'_> {
    fn value(&self, field: Field) -> Value<'_> {
        let c = &self.row.conversation;
        let process = c.process.as_ref();
        let container = process.and_then(|process| process.container.as_deref());
        let pod = container.and_then(|container| container.pod.as_ref());
        let number = |number: u64| Value::Number(signed(number));
        let region = self.region.as_ref();
        match field {
            Field::Src => Value::Address(c.originator),
            Field::Dst => Value::Address(c.responder),
            Field::SrcPort => number(c.originator_port.into()),
            Field::DstPort => number(c.responder_port.into()),
            Field::Protocol => number(c.protocol.into()),
            Field::Process => process.map(|process| process.comm.as_str()).into(),
            Field::Exe => process.and_then(|process| process.exe.as_deref()).into(),
            Field::Pid => process.map_or(Value::None, |process| number(process.id.pid.into())),
            Field::User => process.and_then(|process| process.user.as_deref()).into(),
            Field::Container => container.map(|c| c.name.as_deref().unwrap_or(&c.id)).into(),
            Field::Namespace => pod.and_then(|pod| pod.namespace.as_deref()).into(),
            Field::Pod => pod.and_then(|pod| pod.name.as_deref()).into(),
            Field::Name => c.name.as_deref().into(),
            Field::Sni => c.name.as_deref().filter(|_| c.name_source == NameSource::Sni).into(),
            Field::Service => c.service.map(netd_engine::flow::Protocol::name).into(),
            Field::Ja4 => c.ja4.as_deref().into(),
            Field::Country => region.and_then(|region| region.country.as_ref()).map(|c| c.as_str()).into(),
            Field::Asn => region.and_then(|region| region.asn).map_or(Value::None, |asn| number(asn.into())),
            Field::Verdict => Some(verdict(c.rule, self.finding.is_some())).into(),
            Field::Rule => number(c.rule.into()),
            Field::Score => self.finding.map_or(Value::None, |(_, score)| Value::Share(score)),
            Field::Finding => self.finding.map_or(Value::None, |(id, _)| number(id)),
            Field::CommunityId => c.community_id.as_deref().into(),
            Field::State => Some(c.state).into(),
            Field::EndReason => Some(reason_name(c.end_reason)).into(),
            Field::Bytes => number(c.originated.bytes.saturating_add(c.responded.bytes)),
            Field::BytesIn => number(c.responded.bytes),
            Field::BytesOut => number(c.originated.bytes),
            Field::Packets => number(c.originated.packets.saturating_add(c.responded.packets)),
            Field::Duration => number(c.end.0.saturating_sub(c.start.0)),
            Field::Turns => number(c.turns.into()),
            Field::Id => number(self.row.sequence),
            Field::Ip
            | Field::Port
            | Field::Detector
            | Field::Severity
            | Field::Status
            | Field::Assignee
            | Field::Technique
            | Field::Title => Value::None,
        }
    }

    fn texts(&self, field: Field) -> Vec<Cow<'_, str>> {
        let container = self.row.conversation.process.as_ref().and_then(|process| process.container.as_deref());
        match (field, container) {
            (Field::Container, Some(container)) => {
                let id = Some(container.id.as_str());
                container.name.as_deref().into_iter().chain(id).map(Cow::Borrowed).collect()
            }
            _ => Vec::new(),
        }
    }

    fn begun(&self) -> Timestamp {
        self.row.conversation.start
    }

    fn ended(&self) -> Timestamp {
        self.row.conversation.end
    }
}
