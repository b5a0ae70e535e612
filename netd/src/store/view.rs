//! A finding in JSON: the same words from the API and from a replayed capture.

use std::net::IpAddr;

use netd_engine::finding::{Beats, Finding, Process, Reason, Severity};
use netd_engine::flow::protocol_name;
use netd_engine::time::Timestamp;
use serde::Serialize;

use crate::time;

#[derive(Debug, Serialize)]
pub struct FindingView<'a> {
    #[serde(serialize_with = "time::serialize")]
    time: Timestamp,
    id: u64,
    detector: &'static str,
    title: &'a str,
    severity: Severity,
    score: f64,
    originator: IpAddr,
    responder: IpAddr,
    responder_port: u16,
    protocol: String,
    name: &'a Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    process: &'a Option<Process>,
    block: bool,
    /// `interval_s`, `jitter`, `turns`: of findings about a rhythm.
    #[serde(flatten)]
    rhythm: Option<Beats>,
    #[serde(serialize_with = "time::serialize")]
    first_seen: Timestamp,
    reasons: &'a [Reason],
    considered: &'a [String],
    attack: &'a [&'static str],
}

impl<'a> From<&'a Finding> for FindingView<'a> {
    fn from(finding: &'a Finding) -> Self {
        let pair = &finding.pair;
        Self {
            time: finding.time,
            id: finding.id,
            detector: finding.detector,
            title: &finding.title,
            severity: finding.severity,
            score: rounded(finding.score),
            originator: pair.originator,
            responder: pair.responder,
            responder_port: pair.responder_port,
            protocol: protocol_name(pair.proto),
            name: &finding.name,
            process: &finding.process,
            block: finding.block,
            rhythm: finding.rhythm.map(|beats| Beats {
                interval_s: rounded(beats.interval_s),
                jitter: rounded(beats.jitter),
                ..beats
            }),
            first_seen: finding.first_seen,
            reasons: &finding.reasons,
            considered: &finding.considered,
            attack: &finding.attack,
        }
    }
}

/// Six decimals: more would be noise, and would differ between machines' mathematical libraries.
pub(crate) fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}
