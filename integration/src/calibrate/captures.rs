//! Cases of labelled captures: what `netd replay` follows at the end of each.

use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use netd_engine::detect::Detector;
use netd_engine::weights::Weights;
use serde_json::Value;

use super::case::{Case, Origin};
use crate::accuracy::captures::label::Label;
use crate::accuracy::parallel;
use crate::binary;

/// Reads every capture of a folder's index; nothing where there is none.
pub(super) fn cases(folder: &Path, weights: &Weights) -> Result<Option<Vec<Case>>> {
    let index = folder.join("INDEX.tsv");
    if !index.exists() {
        return Ok(None);
    }
    let index = std::fs::read_to_string(&index).context("reading INDEX.tsv")?;
    let lines: Vec<&str> = index.lines().skip(1).collect();
    let read = parallel::map(&lines, |line| of_capture(folder, line, weights));
    Ok(Some(read.into_iter().collect::<Result<Vec<_>>>()?.into_iter().flatten().collect()))
}

fn of_capture(folder: &Path, line: &str, weights: &Weights) -> Result<Vec<Case>> {
    let mut columns = line.split('\t');
    let mut column = || columns.next().unwrap_or_default();
    let (file, kind, _, expected) = (column(), column(), column(), column());
    let is_benign = file.starts_with("benign/");
    let label = if is_benign { Label::default() } else { Label::read(kind, expected) };
    let text = replayed(&folder.join(file))?;
    let mut cases = Vec::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).with_context(|| format!("reading what {file} gave"))?;
        cases.extend(case(&line, weights, &group(file, expected, is_benign), &label));
    }
    Ok(cases)
}

/// Captures of one laboratory belong together: those with the same ends, and otherwise each by itself.
fn group(file: &str, expected: &str, is_benign: bool) -> String {
    let ends = expected.split([' ', ',']).find(|word| word.contains("->"));
    match ends.and_then(|ends| ends.split(':').next()) {
        Some(ends) if !is_benign => ends.to_owned(),
        Some(_) | None => file.to_owned(),
    }
}

/// Histories with their ledger; findings of the detectors that judge no histories.
fn case(line: &Value, weights: &Weights, group: &str, label: &Label) -> Option<Case> {
    let finding = if line["event"] == "history" { &line["would_be"] } else { line };
    let detector = finding["detector"].as_str()?;
    if line["event"] == "finding" && detector == Detector::Beacon.name() {
        return None;
    }
    let address = |key: &str| finding[key].as_str()?.parse::<IpAddr>().ok();
    let (originator, responder) = (address("originator")?, address("responder")?);
    let port = finding["responder_port"].as_u64()?;
    let destination = match finding["name"].as_str() {
        Some(name) => name.to_owned(),
        None => format!("{responder} {port}"),
    };
    let is_malicious = label.is_expected() && label.is_between(originator, responder);
    let reasons = finding["reasons"].as_array()?.iter();
    let reasons = reasons.filter_map(|reason| Some((reason["evidence"].as_str()?, reason["weight"].as_f64()?)));
    Case::of(weights, detector, reasons, Origin { group, destination: &destination, is_malicious })
}

fn replayed(capture: &Path) -> Result<String> {
    let output = Command::new(binary::netd()?).args(["replay", "-o", "evidence"]).arg(capture).output()?;
    if !output.status.success() {
        bail!("netd replay {}: {}", capture.display(), String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn history(responder: &str) -> Value {
        let reasons = json!([{ "evidence": "interval_regularity", "kind": "timing", "value": "", "weight": 4.0 }]);
        json!({ "event": "history", "would_be": { "detector": "beacon", "originator": "192.0.2.5", "reasons": reasons,
            "responder": responder, "responder_port": 80, "name": null } })
    }

    #[test]
    fn the_labelled_pair_is_malicious_and_its_neighbour_is_not() {
        let label = Label::read("beacon", "beacon 192.0.2.5->192.0.2.4:80/tcp");
        let of = |responder| case(&history(responder), &Weights::default(), "g", &label).unwrap();

        assert!(of("192.0.2.4").is_malicious);
        assert!(!of("192.0.2.6").is_malicious);
    }

    #[test]
    fn a_history_without_a_ledger_and_a_beacon_told_twice_are_left_out() {
        let silent = json!({ "event": "history", "would_be": null });
        let mut told = history("192.0.2.4")["would_be"].clone();
        told["event"] = json!("finding");

        for line in [silent, told] {
            assert_eq!(case(&line, &Weights::default(), "g", &Label::default()), None);
        }
    }

    #[test]
    fn captures_of_one_laboratory_are_one_group() {
        let of = |file| group(file, "beacon 192.0.2.5->192.0.2.4:80/tcp, every 5 s", false);

        assert_eq!(of("malicious/a.pcap"), of("malicious/b.pcap"));
        assert_eq!(group("benign/a.pcap", "no finding", true), "benign/a.pcap");
    }
}
