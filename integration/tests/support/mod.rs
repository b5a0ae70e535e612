//! What the tests over captures share.

use std::path::Path;
use std::process::Command;

use netd_lab::binary;
use serde_json::Value;

/// Replays a capture; returns the lines that replay printed, or what it said when it failed.
pub(crate) fn replay(capture: &Path) -> Result<Vec<String>, String> {
    let netd = binary::netd().unwrap();
    let output = Command::new(netd).args(["replay", "-o", "jsonl"]).arg(capture).output().unwrap();
    if !output.status.success() {
        return Err(format!("replay failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr)));
    }
    Ok(String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect())
}

/// What replay said of a capture.
pub(crate) struct Report {
    pub(crate) findings: Vec<Value>,
    pub(crate) summary: Value,
}

impl Report {
    /// Reads the lines of a replay.
    pub(crate) fn read(lines: &[String]) -> Result<Self, String> {
        let mut events: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        let summary = events.pop().filter(|event| event["event"] == "summary");
        let summary = summary.ok_or("the last line is no summary")?;
        events.retain(|event| event["event"] == "finding");
        Ok(Self { findings: events, summary })
    }

    /// Returns a number of the summary; what is told by reason counts by its sum. -1 when it is not there.
    pub(crate) fn count(&self, key: &str) -> i64 {
        match self.summary[key].as_object() {
            Some(reasons) => reasons.values().filter_map(Value::as_i64).sum(),
            None => self.summary[key].as_i64().unwrap_or(-1),
        }
    }
}
