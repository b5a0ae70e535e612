//! One capture through `netd replay`: its findings, and its flows for the rivals.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::super::connection::{Connection, Log};
use crate::binary;

/// Bytes of an Ethernet header, which flow records count and RITA does not.
const ETHERNET: u64 = 14;

/// An incident as it was last told.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Finding {
    pub(super) detector: String,
    pub(super) severity: String,
    pub(super) score: f64,
    pub(super) originator: IpAddr,
    pub(super) responder: IpAddr,
    pub(super) responder_port: u16,
    pub(super) name: String,
    pub(super) block: bool,
    /// When it was first told, in seconds since the first packet.
    pub(super) after_s: f64,
    pub(super) reasons: String,
}

/// What a capture gave.
#[derive(Debug, Default)]
pub(super) struct Replayed {
    pub(super) incidents: Vec<Finding>,
    pub(super) log: Log,
    pub(super) packets: u64,
}

impl Finding {
    pub(super) fn is_above_low(&self) -> bool {
        matches!(self.severity.as_str(), "medium" | "high" | "critical")
    }
}

pub(super) fn replay(capture: &Path) -> Result<Replayed> {
    let (flows, lines) = (netd(capture, "flows")?, netd(capture, "jsonl")?);
    let mut log = Log::default();
    let mut first_s = f64::INFINITY;
    for flow in &flows {
        let start_s = time(&flow["start"])?;
        first_s = first_s.min(start_s);
        let bytes = flow["originated"]["bytes"].as_u64().unwrap_or_default();
        let packets = flow["originated"]["packets"].as_u64().unwrap_or_default();
        let bytes = bytes.saturating_sub(ETHERNET * packets);
        let pair = (address(&flow["originator"])?, address(&flow["responder"])?);
        log.add(pair, Connection { start_s, end_s: time(&flow["end"])?, bytes });
    }
    let mut incidents = BTreeMap::<u64, Finding>::new();
    let mut packets = 0;
    for line in &lines {
        if line["event"] == "summary" {
            packets = line["packets"].as_u64().unwrap_or_default();
        }
        if line["event"] != "finding" {
            continue;
        }
        let id = line["id"].as_u64().unwrap_or_default();
        let after_s = incidents.get(&id).map_or(time(&line["time"])? - first_s, |known| known.after_s);
        incidents.insert(id, finding(line, after_s)?);
    }
    Ok(Replayed { incidents: incidents.into_values().collect(), log, packets })
}

fn finding(line: &Value, after_s: f64) -> Result<Finding> {
    let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
    let reasons = line["reasons"].as_array().into_iter().flatten().map(|reason| {
        let weight = reason["weight"].as_f64().unwrap_or_default();
        let text = |key: &str| reason[key].as_str().unwrap_or_default();
        format!("{weight:+.1} {}: {}", text("evidence"), text("value"))
    });
    Ok(Finding {
        detector: text("detector"),
        severity: text("severity"),
        score: line["score"].as_f64().unwrap_or_default(),
        originator: address(&line["originator"])?,
        responder: address(&line["responder"])?,
        responder_port: line["responder_port"].as_u64().unwrap_or_default() as u16,
        name: text("name"),
        block: line["block"] == true,
        after_s,
        reasons: reasons.collect::<Vec<_>>().join("; "),
    })
}

fn netd(capture: &Path, output: &str) -> Result<Vec<Value>> {
    let ran = Command::new(binary::netd()?).args(["replay", "-o", output]).arg(capture).output()?;
    if !ran.status.success() {
        bail!("netd replay: {}: {}", ran.status, String::from_utf8_lossy(&ran.stderr));
    }
    let text = String::from_utf8(ran.stdout)?;
    text.lines().map(|line| serde_json::from_str(line).context("reading what netd replay printed")).collect()
}

fn address(value: &Value) -> Result<IpAddr> {
    value.as_str().context("an address is missing")?.parse().context("reading an address")
}

/// Reads `2026-01-05T09:00:00.123456Z` as Unix time (the calendar's days after Hinnant's `days_from_civil`).
fn time(value: &Value) -> Result<f64> {
    let text = value.as_str().context("a time is missing")?;
    let number = |range: std::ops::Range<usize>| -> Result<i64> {
        text.get(range).and_then(|digits| digits.parse().ok()).with_context(|| format!("reading the time {text}"))
    };
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let fraction: f64 = match text.get(19..).map(|rest| rest.trim_end_matches('Z')) {
        Some(rest) if rest.starts_with('.') => format!("0{rest}").parse()?,
        Some(_) | None => 0.0,
    };
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let of_era = shifted.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    Ok((days * 86_400 + hour * 3_600 + minute * 60 + second) as f64 + fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_to_the_fraction() {
        let read = |text: &str| time(&Value::from(text)).unwrap();

        assert_eq!(read("1970-01-01T00:00:00Z"), 0.0);
        // 29 February 2020 was day 18,321: 50 years of 365 days, 12 leap days before it, 31 + 28 days of its own year.
        assert_eq!(read("2020-02-29T01:02:03.5Z"), 18_321.0 * 86_400.0 + 3_723.5);
    }
}
