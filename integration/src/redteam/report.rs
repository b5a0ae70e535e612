//! The table of the matrix, its totals, and whether its goals are met.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::benign::{self, Verdict};
use super::matrix::{Outcome, Played, Row};
use super::published::Published;

/// Goals: milliseconds from the exec to the finding.
const MEDIAN_MS: f64 = 50.0;
const WORST_MS: f64 = 1_000.0;

/// What all rows come to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Totals {
    pub played: usize,
    pub found: usize,
    pub left_out: usize,
    pub broken: usize,
    pub median_ms: Option<f64>,
    pub worst_ms: Option<f64>,
    pub worst_bytes_after: usize,
    pub worst_bytes_leaked: usize,
}

impl Played {
    /// Returns milliseconds from the exec to the finding: the finding's own measure, or else from the moment that the
    /// attacker knows, which is never later than the exec or redirection that it is about.
    #[must_use]
    pub fn latency_ms(&self) -> Option<f64> {
        let found = self.found.as_ref()?;
        let since_decisive = millis(found.when_ns.saturating_sub(self.decisive_ns));
        Some(found.since_exec_s.map_or(since_decisive, |seconds| seconds * 1e3))
    }
}

/// Sums the rows up.
#[must_use]
pub fn totals(rows: &[Row]) -> Totals {
    let mut totals = Totals::default();
    let mut latencies = Vec::new();
    for row in rows {
        match &row.outcome {
            Outcome::LeftOut(_) => totals.left_out += 1,
            Outcome::Broken(_) => totals.broken += 1,
            Outcome::Played(played) => {
                totals.played += 1;
                totals.found += usize::from(played.found.is_some());
                totals.worst_bytes_after = totals.worst_bytes_after.max(played.bytes_after);
                totals.worst_bytes_leaked = totals.worst_bytes_leaked.max(played.bytes_leaked);
                latencies.extend(played.latency_ms());
            }
        }
    }
    latencies.sort_by(f64::total_cmp);
    totals.median_ms = latencies.get(latencies.len() / 2).copied();
    totals.worst_ms = latencies.last().copied();
    totals
}

/// Returns the goals that were missed, in words.
#[must_use]
pub fn missed(rows: &[Row], verdicts: &[Verdict]) -> Vec<String> {
    let totals = totals(rows);
    let mut missed = Vec::new();
    if totals.found < totals.played {
        missed.push(format!("found: {} of {}", totals.found, totals.played));
    }
    if totals.broken > 0 {
        missed.push(format!("variants that are no shell here: {}", totals.broken));
    }
    for (what, seen, most) in [("median", totals.median_ms, MEDIAN_MS), ("worst", totals.worst_ms, WORST_MS)] {
        missed.extend(seen.filter(|ms| *ms > most).map(|ms| format!("{what} latency: {ms:.1} ms, at most {most} ms")));
    }
    if totals.worst_bytes_leaked > 0 {
        missed.push(format!("output after the cut: {} bytes", totals.worst_bytes_leaked));
    }
    missed.extend(benign::missed(verdicts));
    missed
}

/// Writes the table of the matrix.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{:<34} {:<3} {:<44} {:>8} {:>6} {:>6}  {:<26} Tracee\n",
        "variant", "ip", "found", "ms", "after", "leaked", "Falco"
    );
    for row in rows {
        let (found, latency, after, leaked) = cells(&row.outcome);
        let version = if row.is_v6 { "v6" } else { "v4" };
        let (falco, tracee) = Published::cells(row.published.as_ref());
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{:<34} {version:<3} {found:<44} {latency:>8} {after:>6} {leaked:>6}  {falco:<26} {tracee}",
            row.variant.name
        );
    }
    text + &summary(rows)
}

fn summary(rows: &[Row]) -> String {
    let totals = totals(rows);
    let ms = |value: Option<f64>| value.map_or("-".to_owned(), |ms| format!("{ms:.1} ms"));
    let others = |said: fn(&Row) -> bool| rows.iter().filter(|row| is_played(row) && said(row)).count();
    let falco = others(|row| row.published.as_ref().is_some_and(|published| !published.falco.is_empty()));
    let tracee = others(|row| row.published.as_ref().is_some_and(|published| !published.tracee.is_empty()));
    format!(
        "\nfound {} of {} (Falco's rules {falco}, Tracee's {tracee}); left out {}, no shell here {}\n\
         latency: median {}, worst {}; most output after the finding: {} bytes, after the cut: {} bytes\n",
        totals.found,
        totals.played,
        totals.left_out,
        totals.broken,
        ms(totals.median_ms),
        ms(totals.worst_ms),
        totals.worst_bytes_after,
        totals.worst_bytes_leaked
    )
}

fn cells(outcome: &Outcome) -> (String, String, String, String) {
    let dash = || "-".to_owned();
    match outcome {
        Outcome::LeftOut(why) => (format!("left out: {why}"), dash(), dash(), dash()),
        Outcome::Broken(why) => (format!("no shell: {why}"), dash(), dash(), dash()),
        Outcome::Played(played) => match (&played.found, played.latency_ms()) {
            (Some(found), Some(ms)) => (
                format!("{} ({})", found.detector, found.severity),
                format!("{ms:.1}"),
                played.bytes_after.to_string(),
                played.bytes_leaked.to_string(),
            ),
            (None, _) | (_, None) if played.others.is_empty() => ("NOT FOUND".to_owned(), dash(), dash(), dash()),
            (None, _) | (_, None) => (format!("NOT FOUND; {}", played.others.join(", ")), dash(), dash(), dash()),
        },
    }
}

/// Returns the same as JSON.
#[must_use]
pub fn json(rows: &[Row], verdicts: &[Verdict]) -> Value {
    let totals = totals(rows);
    json!({
        "rows": rows.iter().map(row_json).collect::<Vec<_>>(),
        "benign": verdicts.iter().map(Verdict::json).collect::<Vec<_>>(),
        "totals": {
            "played": totals.played, "found": totals.found, "left_out": totals.left_out, "broken": totals.broken,
            "median_ms": totals.median_ms, "worst_ms": totals.worst_ms, "worst_bytes_after": totals.worst_bytes_after, "worst_bytes_leaked": totals.worst_bytes_leaked,
        },
        "missed": missed(rows, verdicts),
    })
}

fn row_json(row: &Row) -> Value {
    let mut value = json!({
        "variant": row.variant.name,
        "class": format!("{:?}", row.variant.class).to_lowercase(),
        "ip": if row.is_v6 { 6 } else { 4 },
        "falco": row.published.as_ref().map(|published| &published.falco),
        "tracee": row.published.as_ref().map(|published| &published.tracee),
    });
    match &row.outcome {
        Outcome::LeftOut(why) => value["left_out"] = json!(why),
        Outcome::Broken(why) => value["broken"] = json!(why),
        Outcome::Played(played) => {
            value["bytes"] = json!(played.bytes);
            value["bytes_after"] = json!(played.bytes_after);
            value["bytes_leaked"] = json!(played.bytes_leaked);
            value["others"] = json!(played.others);
            value["found"] = played.found.as_ref().map_or(Value::Null, |found| {
                json!({
                    "detector": found.detector, "title": found.title, "severity": found.severity,
                    "latency_ms": played.latency_ms(),
                    "since_exec_ms": found.since_exec_s.map(|seconds| seconds * 1e3),
                    "since_connection_ms": millis(found.when_ns.saturating_sub(played.decisive_ns)),
                    "since_spawn_ms": millis(found.when_ns.saturating_sub(played.spawned_ns)),
                })
            });
        }
    }
    value
}

fn is_played(row: &Row) -> bool {
    matches!(row.outcome, Outcome::Played(_))
}

fn millis(ns: u64) -> f64 {
    ns as f64 / 1e6
}
