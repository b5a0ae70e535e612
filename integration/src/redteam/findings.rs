//! What netd found, as its API tells it.

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde_json::Value;

use super::SHELL_DETECTORS;
use crate::api::Api;

/// Severities, least first; a finding counts from `medium` on.
const SEVERITIES: [&str; 5] = ["info", "low", "medium", "high", "critical"];
const COUNTS_FROM: usize = 2;

/// A finding.
#[derive(Clone, Debug)]
pub struct Found {
    pub detector: String,
    pub title: String,
    pub severity: String,
    /// Nanoseconds since 1970 at which it first had a severity that counts; if it never had, at which it was raised.
    pub when_ns: u64,
    pub counts: bool,
    /// Nanoseconds since 1970 at which its conversation was cut, if it was.
    pub cut_ns: Option<u64>,
    /// Seconds from the exec to the finding, where it says so itself.
    pub since_exec_s: Option<f64>,
    pub originator: String,
    pub responder: String,
    pub responder_port: u16,
    /// The network namespace of its process, where known.
    pub netns: Option<u64>,
}

impl Found {
    /// Returns whether one of the detectors that are about shells raised it.
    #[must_use]
    pub fn is_about_shells(&self) -> bool {
        SHELL_DETECTORS.contains(&self.detector.as_str())
    }
}

/// Reads all findings.
///
/// # Errors
///
/// When the API does not answer, or a finding lacks what every finding has.
pub fn read(api: &Api) -> Result<Vec<Found>> {
    api.items("/api/v1/findings")?.iter().map(found).collect()
}

fn found(finding: &Value) -> Result<Found> {
    let text = |name: &str| finding[name].as_str().map(str::to_owned).with_context(|| format!("no {name}: {finding}"));
    let severity = text("severity")?;
    let counting = |value: &Value| {
        let severity = value["severity"].as_str()?;
        SEVERITIES.iter().position(|known| *known == severity).filter(|rank| *rank >= COUNTS_FROM)
    };
    let rises = finding["history"].as_array().into_iter().flatten();
    let first = rises.filter(|rise| counting(rise).is_some()).filter_map(|rise| moment(&rise["time"])).min();
    let raised = moment(&finding["time"]).with_context(|| format!("no time: {finding}"))?;
    let port = finding["responder_port"].as_u64().and_then(|port| u16::try_from(port).ok());
    Ok(Found {
        detector: text("detector")?,
        title: text("title")?,
        severity,
        when_ns: first.unwrap_or(raised),
        counts: counting(finding).is_some() || first.is_some(),
        cut_ns: moment(&finding["response"]["at"]).filter(|_| is_cut(&finding["response"])),
        since_exec_s: finding.pointer("/host/latency_s").and_then(Value::as_f64),
        originator: text("originator")?,
        responder: text("responder")?,
        responder_port: port.with_context(|| format!("no port: {finding}"))?,
        netns: finding.pointer("/process/netns").and_then(Value::as_u64).filter(|inode| *inode != 0),
    })
}

fn is_cut(response: &Value) -> bool {
    let actions = response["actions"].as_array();
    actions.into_iter().flatten().any(|done| done["action"] == "cut" && done["result"] == "done")
}

fn moment(time: &Value) -> Option<u64> {
    let time: Timestamp = time.as_str()?.parse().ok()?;
    u64::try_from(time.as_nanosecond()).ok()
}
