//! A finding read back from the JSON that it was kept as.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use netd_engine::attack::{self, Attack, Technique};
use netd_engine::finding::{Beats, Finding, HostEvidence, Kind, Pair, Reason, Severity};
use netd_engine::policy::Decision;
use netd_engine::process::Process;
use netd_engine::region::Region;
use netd_engine::time::Timestamp;
use serde::Deserialize;
use serde_json::Value;

/// Names of detectors and evidence are constants of the program; those of another version are remembered for good, so
/// they are bounded.
const MOST_NAMES: usize = 1_024;
const LONGEST_NAME: usize = 64;

#[derive(Deserialize)]
struct Saved {
    id: u64,
    time: Timestamp,
    first_seen: Timestamp,
    detector: String,
    title: String,
    severity: Severity,
    score: f64,
    pair: Pair,
    name: Option<String>,
    process: Option<Process>,
    responder_region: Option<Region>,
    block: bool,
    rhythm: Option<Beats>,
    reasons: Vec<SavedReason>,
    considered: Vec<String>,
    attack: Vec<String>,
    #[serde(default)]
    host: Option<HostEvidence>,
    #[serde(default)]
    decision: Value,
}

#[derive(Deserialize)]
struct SavedReason {
    evidence: String,
    kind: Kind,
    value: String,
    weight: f64,
}

/// Returns the finding, or `None` when the text is none that this version understands.
pub(super) fn finding(text: &str) -> Option<Finding> {
    let saved: Saved = serde_json::from_str(text).ok()?;
    let reasons = saved.reasons.into_iter().map(|reason| {
        let SavedReason { evidence, kind, value, weight } = reason;
        Some(Reason { evidence: name(&evidence)?, kind, value, weight })
    });
    let techniques: Vec<attack::Entry> = saved.attack.iter().filter_map(|id| technique(id)).collect();
    Some(Finding {
        id: saved.id,
        time: saved.time,
        first_seen: saved.first_seen,
        detector: name(&saved.detector)?,
        title: saved.title,
        severity: saved.severity,
        score: saved.score,
        pair: saved.pair,
        name: saved.name,
        process: saved.process,
        responder_region: saved.responder_region,
        block: saved.block,
        rhythm: saved.rhythm,
        reasons: reasons.collect::<Option<_>>()?,
        considered: saved.considered,
        attack: techniques.iter().map(|entry| entry.id).collect(),
        techniques,
        host: saved.host,
        // What was decided then, whatever policies there are now. A reason of another version costs no finding.
        decision: Decision::deserialize(saved.decision).ok(),
    })
}

fn technique(id: &str) -> Option<attack::Entry> {
    static MATRIX: std::sync::LazyLock<Attack> = std::sync::LazyLock::new(Attack::default);
    Technique::ALL.iter().map(|technique| MATRIX.entry(*technique)).find(|entry| entry.id == id)
}

/// Returns a name that lives as long as the program.
fn name(text: &str) -> Option<&'static str> {
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(text) {
        return Some(known);
    }
    if names.len() >= MOST_NAMES || text.len() > LONGEST_NAME {
        return None;
    }
    let kept: &'static str = Box::leak(text.into());
    names.insert(kept);
    Some(kept)
}
