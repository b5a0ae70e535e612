//! A finding as an alert.

use netd_engine::finding::Finding;
use serde::Serialize;

use super::process::Who;
use super::{Ends, Event, is_icmp, proto, timestamp};
use crate::sinks::format::catalogue::{GENERATOR, signature};
use crate::sinks::format::id::Id;
use crate::sinks::format::{Site, priority};
use crate::store::view::rounded;

#[derive(Serialize)]
pub(super) struct AlertBody<'a> {
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

pub(super) fn event<'a>(finding: &'a Finding, site: &'a Site) -> Event<'a, AlertBody<'a>> {
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
