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
use schemars::JsonSchema;
use serde::Serialize;

use crate::time;

/// A finding, as its detector reported it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "FindingFacts")]
pub struct FindingView<'a> {
    /// When it was reported, or last rose or fell.
    #[serde(serialize_with = "time::serialize")]
    #[schemars(with = "time::Rfc3339")]
    time: Timestamp,
    /// The finding's number; it grows with each incident.
    id: u64,
    /// Who found it.
    detector: &'static str,
    /// What was found, in one line.
    title: &'a str,
    /// How urgent it is.
    severity: Severity,
    /// Posterior probability, from 0 to 1.
    #[schemars(range(min = 0, max = 1))]
    score: f64,
    /// Who began.
    originator: IpAddr,
    /// Who was addressed.
    responder: IpAddr,
    /// The responder's port.
    responder_port: u16,
    /// Where the responder is, if a database says.
    #[serde(skip_serializing_if = "Option::is_none")]
    responder_region: &'a Option<Region>,
    /// The transport protocol's name, or its IANA number.
    protocol: String,
    /// Name of the responder: SNI, HTTP Host, or the DNS name that gave the address.
    name: &'a Option<String>,
    /// Whose doing it is, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    process: &'a Option<Process>,
    /// Whether the evidence suffices for an automatic block.
    block: bool,
    /// `interval_s`, `jitter`, `turns`: of findings about a rhythm.
    #[serde(flatten)]
    rhythm: Option<Beats>,
    /// When what it is about began.
    #[serde(serialize_with = "time::serialize")]
    #[schemars(with = "time::Rfc3339")]
    first_seen: Timestamp,
    /// What speaks for and against it, strongest first.
    reasons: &'a [Reason],
    /// Benign classes considered, and why each was rejected.
    considered: &'a [String],
    /// Ids of MITRE ATT&CK techniques.
    attack: &'a [&'static str],
    /// The same with names and tactics.
    techniques: &'a [Entry],
    /// What the host itself told, where it did.
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
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ExplanationFacts")]
pub struct ExplanationView<'a> {
    /// Pairs that the engine follows, strongest first.
    followed: Vec<FollowedView<'a>>,
    /// Pairs that are not followed, and why.
    silenced: Vec<SilencedView<'a>>,
    /// Whether there was more than is told.
    is_cut: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Ends {
    /// Who began.
    originator: IpAddr,
    /// Who was addressed.
    responder: IpAddr,
    /// The responder's port.
    responder_port: u16,
    /// The transport protocol's name, or its IANA number.
    protocol: String,
}

/// A pair that the engine follows.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Followed")]
pub(crate) struct FollowedView<'a> {
    #[serde(flatten)]
    ends: Ends,
    /// Name of the responder.
    name: &'a Option<String>,
    /// Turns of the originator in its history.
    originator_turns: u32,
    /// Turns of the responder in its history.
    responder_turns: u32,
    /// Evidence of the rhythm alone, in nats.
    ln_e: f64,
    /// Whether all evidence suffices for a finding.
    is_finding: bool,
    /// Number of the finding that was raised.
    raised: Option<u64>,
    /// What it amounts to, sufficient or not.
    would_be: Option<FindingView<'a>>,
}

/// A pair that the engine does not follow.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Silenced")]
struct SilencedView<'a> {
    #[serde(flatten)]
    ends: Ends,
    /// Name of the responder.
    name: &'a Option<String>,
    /// Conversations that were seen.
    conversations: u32,
    /// Why the pair is not followed, in words.
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
