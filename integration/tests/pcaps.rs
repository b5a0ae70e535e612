//! The shipped captures: they are what their generators make, each has its sidecar, and replay finds in each what the
//! sidecar says, nothing more.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::path::PathBuf;

use netd_lab::{binary, pcaps};
use serde_json::Value;
use support::{Report, replay};
use toml::Table;

#[test]
fn every_capture_has_its_sidecar_and_the_reverse() {
    assert_eq!(pcaps::orphans(&folder()).unwrap(), Vec::<String>::new());
}

#[test]
fn every_capture_is_what_its_generator_makes() {
    assert_eq!(pcaps::differences(&folder()).unwrap(), Vec::<String>::new());
}

#[test]
fn replay_finds_in_every_capture_what_its_sidecar_says() {
    let wrong: Vec<String> = pcaps::all().iter().flat_map(|capture| check(&capture.file_name())).collect();

    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn replay_says_the_same_every_time() {
    for name in ["beacon-tls.pcap", "people.pcap"] {
        let capture = folder().join(name);

        assert_eq!(replay(&capture).unwrap(), replay(&capture).unwrap(), "{name}");
    }
}

/// Replays a capture; returns a line for each thing that is not as its sidecar says.
fn check(name: &str) -> Vec<String> {
    let stem = name.split('.').next().unwrap();
    let sidecar: Table = std::fs::read_to_string(folder().join(format!("{stem}.toml"))).unwrap().parse().unwrap();
    let report = match replay(&folder().join(name)).and_then(|lines| Report::read(&lines)) {
        Ok(report) => report,
        Err(wrong) => return vec![format!("{name}: {wrong}")],
    };

    let counts = sidecar["summary"].as_table().unwrap().iter();
    let differing = counts.filter(|(key, value)| value.as_integer() != Some(report.count(key)));
    let mut wrong: Vec<String> =
        differing.map(|(key, value)| format!("{key} is {}, not {value}", report.count(key))).collect();
    let wanted = sidecar.get("find").and_then(toml::Value::as_array).cloned().unwrap_or_default();
    for wanted in &wanted {
        wrong.extend(found(wanted, &report.findings));
    }
    for finding in report.findings.iter().filter(|finding| !wanted.iter().any(|wanted| is_about(finding, wanted))) {
        if sidecar["others"].as_str() != Some("unblocked") || finding["block"] == true {
            wrong.push(format!("must not be found: {finding}"));
        }
    }
    wrong.iter().map(|wrong| format!("{name}: {wrong}")).collect()
}

fn found(wanted: &toml::Value, findings: &[Value]) -> Vec<String> {
    let raised: Vec<&Value> = findings.iter().filter(|finding| is_about(finding, wanted)).collect();
    let (Some(first), Some(last)) = (raised.first(), raised.last()) else {
        return vec![format!("not found: {wanted}")];
    };
    let mut wrong = Vec::new();
    if wanted.get("interval_s").is_some() {
        wrong.extend(rhythm(wanted, first, last));
    }
    if let Some(block) = wanted.get("block").and_then(toml::Value::as_bool)
        && last["block"] != block
    {
        wrong.push(format!("block is {}: {wanted}", last["block"]));
    }
    if last["reasons"].as_array().is_none_or(Vec::is_empty) {
        wrong.push(format!("a finding without reasons: {wanted}"));
    }
    wrong
}

fn rhythm(wanted: &toml::Value, first: &Value, last: &Value) -> Vec<String> {
    let number = |key: &str| wanted[key].as_integer().unwrap();
    let mut wrong = Vec::new();
    if first["turns"].as_i64().is_none_or(|turns| turns < number("min_turns") || turns > number("by_turn")) {
        wrong.push(format!("found after {} turns: {wanted}", first["turns"]));
    }
    let [low, high] = [0, 1].map(|index| wanted["interval_s"][index].as_integer().unwrap() as f64);
    if last["interval_s"].as_f64().is_none_or(|interval| interval < low || interval > high) {
        wrong.push(format!("an interval of {} s is none of {low} to {high} s", last["interval_s"]));
    }
    wrong
}

/// Whether a finding is about the pair that a sidecar names, by the detector that it names.
fn is_about(finding: &Value, wanted: &toml::Value) -> bool {
    let texts = ["detector", "originator", "responder", "protocol"];
    texts.iter().all(|key| finding[key].as_str() == wanted[*key].as_str())
        && finding["responder_port"].as_i64() == wanted["responder_port"].as_integer()
}

fn folder() -> PathBuf {
    binary::root().join("pcaps")
}
