//! A finding in JSON: the same words from the API and from a replayed capture.

use std::net::IpAddr;

use netd_engine::attack::Entry;
use netd_engine::engine::{Explanation, Followed};
use netd_engine::finding::{Beats, Finding, HostEvidence, Pair, Reason, Severity};
use netd_engine::flow::protocol_name;
use netd_engine::policy::Decision;
use netd_engine::process::Process;
use netd_engine::region::Region;
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
    #[serde(skip_serializing_if = "Option::is_none")]
    responder_region: &'a Option<Region>,
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
    techniques: &'a [Entry],
    #[serde(skip_serializing_if = "Option::is_none")]
    host: &'a Option<HostEvidence>,
    /// Which policy decided what, and why no more than that.
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: &'a Option<Decision>,
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
            responder_region: &finding.responder_region,
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
            techniques: &finding.techniques,
            host: &finding.host,
            policy: &finding.decision,
        }
    }
}

/// Six decimals: more would be noise, and would differ between machines' mathematical libraries.
pub(crate) fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

/// What the engine says of an address or a name.
#[derive(Debug, Serialize)]
pub struct ExplanationView<'a> {
    /// Strongest first.
    followed: Vec<FollowedView<'a>>,
    silenced: Vec<SilencedView<'a>>,
    /// Whether there was more than is told.
    is_cut: bool,
}

#[derive(Debug, Serialize)]
struct Ends {
    originator: IpAddr,
    responder: IpAddr,
    responder_port: u16,
    protocol: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct FollowedView<'a> {
    #[serde(flatten)]
    ends: Ends,
    name: &'a Option<String>,
    originator_turns: u32,
    responder_turns: u32,
    ln_e: f64,
    is_finding: bool,
    /// Number of the finding that was raised.
    raised: Option<u64>,
    /// What it amounts to, sufficient or not.
    would_be: Option<FindingView<'a>>,
}

#[derive(Debug, Serialize)]
struct SilencedView<'a> {
    #[serde(flatten)]
    ends: Ends,
    name: &'a Option<String>,
    conversations: u32,
    why: &'a str,
}

impl From<&Pair> for Ends {
    fn from(pair: &Pair) -> Self {
        Self {
            originator: pair.originator,
            responder: pair.responder,
            responder_port: pair.responder_port,
            protocol: protocol_name(pair.proto),
        }
    }
}

impl<'a> From<&'a Followed> for FollowedView<'a> {
    fn from(followed: &'a Followed) -> Self {
        Self {
            ends: Ends::from(&followed.pair),
            name: &followed.name,
            originator_turns: followed.turns[0],
            responder_turns: followed.turns[1],
            ln_e: rounded(followed.ln_e),
            is_finding: followed.is_finding,
            raised: followed.raised,
            would_be: followed.would_be.as_ref().map(FindingView::from),
        }
    }
}

impl<'a> From<&'a Explanation> for ExplanationView<'a> {
    fn from(explanation: &'a Explanation) -> Self {
        let followed = explanation.followed.iter().map(FollowedView::from);
        let silenced = explanation.silenced.iter().map(|silenced| SilencedView {
            ends: Ends::from(&silenced.pair),
            name: &silenced.name,
            conversations: silenced.conversations,
            why: &silenced.why,
        });
        Self { followed: followed.collect(), silenced: silenced.collect(), is_cut: explanation.is_cut }
    }
}
