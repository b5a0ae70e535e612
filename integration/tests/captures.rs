//! Captures of real implants and of ordinary networks, which the project may not ship. They are looked for in the folder
//! that `NETD_CAPTURES` names, or beside the project in `shared/captures`, with an `INDEX.tsv` that describes them.
//!
//! `cargo test -p netd-lab --test captures -- --nocapture` prints the table.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use netd_lab::{binary, left_out};
use serde_json::Value;
use support::{Report, replay};

/// Of the fifteen labelled captures of Cobalt Strike, Empire and Covenant.
const MUST_BE_FOUND: usize = 13;

#[test]
fn implants_are_found_nothing_ordinary_is_blocked_and_every_packet_is_counted() {
    let folder = folder();
    if !folder.join("INDEX.tsv").exists() {
        left_out!("no captures (name their folder in NETD_CAPTURES)");
        return;
    }

    let rows: Vec<Row> = index(&folder).iter().map(|entry| Row::measure(&folder, entry)).collect();
    println!("{:<58} {:>8} {:>8} {:>8}  labelled beacon", "capture", "packets", "unparsed", "findings");
    rows.iter().for_each(|row| println!("{}", row.line()));
    let labelled: Vec<&Row> = rows.iter().filter(|row| row.label.is_some()).collect();
    let found = labelled.iter().filter(|row| row.found.is_some()).count();
    println!("{found} of {} labelled beacons found", labelled.len());

    let failed: Vec<&str> = rows.iter().filter_map(|row| row.error.as_deref()).collect();
    assert!(failed.is_empty(), "{failed:?}");
    let miscounted: Vec<&str> =
        rows.iter().filter(|row| row.packets != row.in_file).map(|row| row.file.as_str()).collect();
    assert!(miscounted.is_empty(), "another number of packets than the file has: {miscounted:?}");
    let blocked: Vec<&str> = rows
        .iter()
        .filter(|row| row.file.starts_with("benign/") && row.blocks > 0)
        .map(|row| row.file.as_str())
        .collect();
    assert!(blocked.is_empty(), "ordinary traffic would be blocked in {blocked:?}");
    let shells: Vec<&str> = rows
        .iter()
        .filter(|row| row.detectors.iter().any(|name| name == "reverse_shell"))
        .map(|row| &*row.file)
        .collect();
    assert!(shells.is_empty(), "no capture holds an interactive reverse shell: {shells:?}");
    let untold: Vec<&str> = rows
        .iter()
        .filter(|row| row.kind == "tunnel" && !row.detectors.iter().any(|name| name == "tunnel_tool"))
        .map(|row| &*row.file)
        .collect();
    assert!(untold.is_empty(), "tunnels that were not told: {untold:?}");
    assert!(found >= MUST_BE_FOUND.min(labelled.len()), "{found} of {} found", labelled.len());
}

#[test]
fn the_scan_the_guessing_and_the_tunnel_are_found_and_nothing_ordinary_is_above_low() {
    let folder = folder();
    if !folder.join("INDEX.tsv").exists() {
        left_out!("no captures (name their folder in NETD_CAPTURES)");
        return;
    }
    let kinds = [("scan", "port_scan"), ("bruteforce", "brute_force"), ("icmp-tunnel", "icmp_tunnel")];

    for entry in index(&folder) {
        let file = &entry["file"];
        let report = replay(&folder.join(file)).and_then(|lines| Report::read(&lines)).unwrap();
        if let Some((_, detector)) = kinds.iter().find(|(kind, _)| entry["kind"] == *kind) {
            assert!(report.findings.iter().any(|finding| finding["detector"] == *detector), "{file}: no {detector}");
        }
        let is_calm = |finding: &Value| finding["severity"] == "low" || finding["severity"] == "info";
        assert!(!file.starts_with("benign/") || report.findings.iter().all(is_calm), "{file}: {:?}", report.findings);
    }
}

/// What a capture gave.
#[derive(Default)]
struct Row {
    file: String,
    kind: String,
    in_file: i64,
    packets: i64,
    unparsed: i64,
    findings: usize,
    blocks: usize,
    /// Of each finding.
    detectors: Vec<String>,
    label: Option<Label>,
    /// The finding for the labelled pair.
    found: Option<Value>,
    error: Option<String>,
}

/// The pair that a capture is known to hold.
struct Label {
    originator: String,
    responder: String,
    port: i64,
}

impl Row {
    fn measure(folder: &Path, entry: &HashMap<String, String>) -> Self {
        let (file, kind) = (entry["file"].clone(), entry["kind"].clone());
        let in_file = entry["packets"].parse().unwrap();
        let label = Label::read(&entry["expected_finding"]);
        match replay(&folder.join(&file)).and_then(|lines| Report::read(&lines)) {
            Err(error) => {
                Self { error: Some(format!("{file}: {error}")), file, kind, in_file, label, ..Self::default() }
            }
            Ok(report) => Self {
                file,
                kind,
                in_file,
                packets: report.count("packets"),
                unparsed: report.count("unparsed"),
                findings: report.findings.len(),
                detectors: report.findings.iter().filter_map(|f| f["detector"].as_str()).map(str::to_owned).collect(),
                blocks: report.findings.iter().filter(|finding| finding["block"] == true).count(),
                found: label.as_ref().and_then(|label| report.findings.iter().find(|f| label.is_of(f)).cloned()),
                label,
                error: None,
            },
        }
    }

    fn line(&self) -> String {
        let beacon = match (&self.label, &self.found, &self.error) {
            (_, _, Some(_)) => "FAILED".to_owned(),
            (None, _, None) => String::new(),
            (Some(_), None, None) => "MISSED".to_owned(),
            (Some(_), Some(found), None) => {
                format!(
                    "found after {} turns, every {:.1} s",
                    found["turns"],
                    found["interval_s"].as_f64().unwrap_or(0.0)
                )
            }
        };
        let blocks = if self.blocks > 0 { format!(" ({} block)", self.blocks) } else { String::new() };
        format!("{:<58} {:>8} {:>8} {:>8}  {beacon}{blocks}", self.file, self.packets, self.unparsed, self.findings)
    }
}

impl Label {
    /// Reads `beacon 192.168.56.5->192.168.56.4:80/tcp, …`; anything else is no label.
    fn read(text: &str) -> Option<Self> {
        let pair = text.strip_prefix("beacon ")?.split(['/', ' ']).next()?;
        let (originator, responder) = pair.split_once("->")?;
        let (responder, port) = responder.rsplit_once(':')?;
        Some(Self { originator: originator.into(), responder: responder.into(), port: port.parse().ok()? })
    }

    fn is_of(&self, finding: &Value) -> bool {
        finding["detector"] == "beacon"
            && finding["originator"].as_str() == Some(&self.originator)
            && finding["responder"].as_str() == Some(&self.responder)
            && finding["responder_port"].as_i64() == Some(self.port)
    }
}

fn index(folder: &Path) -> Vec<HashMap<String, String>> {
    let text = std::fs::read_to_string(folder.join("INDEX.tsv")).unwrap();
    let mut lines = text.lines();
    let names: Vec<String> = lines.next().unwrap().split('\t').map(str::to_owned).collect();
    lines.map(|line| names.iter().cloned().zip(line.split('\t').map(str::to_owned)).collect()).collect()
}

fn folder() -> PathBuf {
    match std::env::var_os("NETD_CAPTURES") {
        Some(folder) => folder.into(),
        None => binary::root().join("../shared/captures"),
    }
}
