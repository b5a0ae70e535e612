//! Attribution under load: who owns each of many short connections, what an exec flood loses, and whether a shell that was
//! there before netd is found.

use anyhow::Result;
use serde_json::{Value, json};

mod flood;
mod owners;
mod restart;

pub use flood::Flood;
pub use owners::Owners;
pub use restart::Survivor;

/// Goal: the share of flows whose process lacks an executable.
const MOST_WITHOUT_DETAILS: f64 = 0.001;
/// Goal: the longest that netd's API is silent under a flood.
const MOST_SILENT_MS: f64 = 1_000.0;

/// What the campaign measured.
#[derive(Debug)]
pub struct Report {
    pub owners: Owners,
    pub flood: Flood,
    pub survivors: Vec<Survivor>,
}

/// Plays the campaign, a tenth of it when `short`.
///
/// # Errors
///
/// When a laboratory or netd does not start, or an agent fails.
pub fn play(short: bool) -> Result<Report> {
    let (processes, connections) = if short { (20, 50) } else { (100, 100) };
    let (owners, flood) = owners::play(processes, connections, if short { 1_000 } else { 4_000 })?;
    Ok(Report { owners, flood, survivors: restart::play()? })
}

impl Report {
    #[must_use]
    pub fn table(&self) -> String {
        let Owners { connections, ambiguous, absent, anonymous, wrong, right, without_details, .. } = self.owners;
        let share = |count: usize| 100.0 * count as f64 / connections.max(1) as f64;
        let rows: String = [
            ("in the API, with the right process", right),
            ("with another process", wrong),
            ("with no process", anonymous),
            ("not in the API", absent),
            ("right, without executable", without_details),
        ]
        .iter()
        .map(|(what, count)| format!("  {what:<36} {count:>6}  {:>6.2} %\n", share(*count)))
        .collect();
        let examples = self.owners.examples.join("\n    ");
        let survivors: String =
            self.survivors.iter().map(|survivor| format!("  {:<36} {}\n", survivor.name, survivor.words())).collect();
        format!(
            "{connections} short connections of {} processes ({ambiguous} more on ports used twice)\n{rows}    {examples}\n\
             exec flood: {}\n\
             shells older than netd:\n{survivors}",
            self.owners.processes,
            self.flood.words()
        )
    }

    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "connections": self.owners.connections, "processes": self.owners.processes, "right": self.owners.right,
            "wrong": self.owners.wrong, "anonymous": self.owners.anonymous, "absent": self.owners.absent,
            "without_details": self.owners.without_details, "ambiguous": self.owners.ambiguous,
            "flood": {
                "spawned": self.flood.spawned, "per_second": self.flood.per_second,
                "worst_answer_ms": self.flood.worst_answer_ms, "counters": self.flood.counters,
                "is_attributed_after": self.flood.is_attributed_after,
            },
            "survivors": self.survivors.iter().map(|s| json!({ "name": s.name, "found": s.words() })).collect::<Vec<_>>(),
            "missed": self.missed(),
        })
    }

    /// Returns the goals that were missed, in words.
    #[must_use]
    pub fn missed(&self) -> Vec<String> {
        let owners = &self.owners;
        let mut missed = Vec::new();
        if owners.right < owners.connections {
            missed.push(format!("attribution: {} of {} right", owners.right, owners.connections));
        }
        if owners.without_details as f64 > MOST_WITHOUT_DETAILS * owners.connections as f64 {
            missed.push(format!("attribution: {} without executable", owners.without_details));
        }
        if self.flood.worst_answer_ms > MOST_SILENT_MS {
            missed.push(format!("exec flood: an answer took {:.0} ms", self.flood.worst_answer_ms));
        }
        if !self.flood.is_attributed_after {
            missed.push("exec flood: a connection after it has no process".to_owned());
        }
        let lost = self.survivors.iter().filter(|survivor| survivor.found.is_none());
        missed.extend(lost.map(|survivor| format!("not found after a restart: {}", survivor.name)));
        missed
    }
}
